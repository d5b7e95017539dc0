"""How well a run is forecast: the settings in params.yaml, forecast, and then run.

    python -m benchmarks.forecast [--json FILE]

Runs `dvc repro` in this project, where nothing must have been run yet: what is in .cache would not be computed again.
Memory is that of the largest process of a stage, sampled ten times a second.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks.rerun import STAGE
from darkroom.commands.forecast import contents
from darkroom.commands.forecast.command import of_run
from darkroom.core.errors import size
from darkroom.pipeline import params

FOLDERS = ("data", "models", "exports", "reports", ".cache", ".dvc/cache")
SECONDS = 0.1  # between two looks at the memory


def measured() -> dict[str, dict[str, float]]:
    """Run the pipeline: seconds and bytes of memory of each stage."""
    stages: dict[str, dict[str, float]] = {}
    log = Path("forecast.log")
    with log.open("w") as stream, subprocess.Popen(["dvc", "repro"], stdout=stream, stderr=subprocess.STDOUT) as run:
        name, begun = "", time.perf_counter()
        while run.poll() is None:
            time.sleep(SECONDS)
            now, begun_stages = time.perf_counter(), STAGE.findall(log.read_text(encoding="utf-8"))
            if begun_stages and begun_stages[-1] != name:
                name, begun = begun_stages[-1], now
            if name:
                stage = stages.setdefault(name, {"memory": 0.0})
                stage |= {"seconds": now - begun, "memory": max(stage["memory"], memory(run.pid))}
    if run.returncode:
        raise SystemExit(f"dvc repro failed: see {log}")
    log.unlink()
    return stages


def memory(pid: int) -> float:
    """Bytes of the largest process that a process has started."""
    used = [0]
    for process in psutil.Process(pid).children(recursive=True):
        try:
            used.append(process.memory_info().rss)
        except psutil.Error:  # it has ended
            continue
    return max(used)


def disk() -> float:
    """Bytes of the project's files, those of git and of the environment aside."""
    folders = [folder for folder in FOLDERS if Path(folder).exists()]
    done = subprocess.run(["du", "-sk", *folders], capture_output=True, check=True, text=True)
    return 1024 * sum(int(line.split()[0]) for line in done.stdout.splitlines())


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="where to write the raw figures")
    arguments = parser.parse_args()
    sections = params.current()
    if (found := contents.of_source(sections)) is None:
        sys.exit("what this source holds is only known after download")
    started = time.perf_counter()
    forecast = of_run(sections, found)
    print(f"The forecast took {time.perf_counter() - started:.1f} s.\n")
    before = disk()
    stages = measured()
    used = disk() - before
    print("| stage | forecast, s | took, s | ratio | memory, forecast | used |\n| --- | --- | --- | --- | --- | --- |")
    rows: list[dict[str, Any]] = []
    for stage in forecast:
        took = stages[stage.name]
        rows.append({"stage": stage.name, "forecast": stage.seconds, "took": took["seconds"]})
        print(
            f"| {stage.name} | {stage.seconds:.1f} | {took['seconds']:.1f} | {stage.seconds / took['seconds']:.2f} | "
            f"{size(stage.memory)} | {size(took['memory'])} |"
        )
    whole, took_whole = (sum(row[key] for row in rows) for key in ("forecast", "took"))
    print(f"| in all | {whole:.1f} | {took_whole:.1f} | {whole / took_whole:.2f} | | |")
    print(f"\nDisk: forecast {size(sum(stage.disk for stage in forecast))}, used {size(used)}.")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows))


if __name__ == "__main__":
    main()
