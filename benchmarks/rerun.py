"""How long `dvc repro` takes in this project where nothing has changed, and where only the head has.

    python -m benchmarks.rerun [--rounds 3] [--json FILE]

Needs a finished `dvc repro` with `train.head.type: logistic`, whose `C` is changed a little for each round and set back
at the end. `dvc version` is what DVC needs to start.
"""

import re
import statistics
import subprocess
import time

from benchmarks import rounds
from darkroom.core.paths import PARAMS

STAGE = re.compile(r"Running stage '(\w+)'")


def seconds(*command: str) -> tuple[float, dict[str, float]]:
    """Run DVC; the time, and that of each stage with DVC's own work for it."""
    started = time.perf_counter()
    stages: dict[str, float] = {}
    last = ""
    with subprocess.Popen(["dvc", *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for line in process.stdout or ():
            if match := STAGE.search(line):
                last = match[1]
                stages[last] = -time.perf_counter()
            elif last and line.startswith(("Updating lock file", "To track")):
                stages[last] += time.perf_counter() if stages[last] < 0 else 0
    if process.returncode:
        raise SystemExit(f"dvc {' '.join(command)} failed: run `dvc repro` first")
    return time.perf_counter() - started, stages


def main() -> None:
    """Print a Markdown table."""
    arguments = rounds.parser(__doc__).parse_args()
    params = PARAMS.read_text(encoding="utf-8")
    results: rounds.Figures = {}
    try:
        for number in range(arguments.rounds):
            results.setdefault("`dvc version`", []).append(seconds("version")[0])
            results.setdefault("nothing has changed", []).append(seconds("repro")[0])
            PARAMS.write_text(re.sub(r"(\n    C: \[)[^,\]]*", rf"\g<1>0.{51 + number}{time.time_ns() % 1000}", params))
            whole, stages = seconds("repro")
            results.setdefault("another head", []).append(whole)
            for name, value in stages.items():
                results.setdefault(f"of it {name}", []).append(value)
    finally:
        PARAMS.write_text(params)
    rounds.header("`dvc repro`", "seconds, median", "least", "most")
    for name, values in results.items():
        rounds.row(name, *(f"{value:.1f}" for value in (statistics.median(values), min(values), max(values))))
    rounds.save(arguments.json, results)


if __name__ == "__main__":
    main()
