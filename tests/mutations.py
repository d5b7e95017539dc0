"""Check the tests: put small faults into the code, one at a time; each must make a test fail.

    python -m tests.mutations            # all of them, each against the tests that should notice it
    python -m tests.mutations 3 17       # some of them
    python -m tests.mutations --all 3    # against everything that `make test` runs

The faults are those in `mutations.toml`. They go into a copy of the project; the working tree is not touched.
Exit code 1 if a fault goes unnoticed.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import NamedTuple

from tests.helpers.project import ROOT, commit


class Mutation(NamedTuple):
    """A fault: `old` in `file`, which occurs once, becomes `new`.

    `tests` are those that should notice, and options of pytest.
    """

    fault: str
    file: str
    old: str
    new: str
    tests: str


MUTATIONS = [
    Mutation(**entry)
    for entry in tomllib.loads((ROOT / "tests/mutations.toml").read_text(encoding="utf-8"))["mutations"]
]


def copied(folder: Path) -> Path:
    """A copy of the project's files, without what git ignores."""
    names = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    for name in names:
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    commit(folder, "as it is")
    return folder


def noticed(mutation: Mutation, folder: Path, everything: bool) -> tuple[bool, str]:
    """Whether a test fails with the fault in the copy at `folder`, and the line that says which."""
    path = folder / mutation.file
    text = path.read_text(encoding="utf-8")
    if text.count(mutation.old) != 1:
        raise SystemExit(f"{mutation.file} holds {mutation.old!r} {text.count(mutation.old)} times, not once.")
    path.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
    tests = ["-n", "2"] if everything else mutation.tests.split()
    try:
        result = subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider", *tests],
            cwd=folder,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        path.write_text(text, encoding="utf-8")
    failures = [line for line in result.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    if result.returncode not in (0, 1):  # usage, no tests, or a crash: nothing was tested
        failures = []
        print(result.stdout[-2000:], result.stderr[-2000:])
    return bool(failures), failures[0] if failures else "not noticed"


def main() -> int:
    """Run the faults that the command line names, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("numbers", nargs="*", type=int, metavar="N", help="of the faults to try; all without one")
    parser.add_argument("--all", action="store_true", help="run all tests of `make test` against each")
    arguments = parser.parse_args()
    missed = 0
    with tempfile.TemporaryDirectory(prefix="darkroom-mutations-") as folder:
        project = copied(Path(folder))
        for number, mutation in enumerate(MUTATIONS, start=1):
            if arguments.numbers and number not in arguments.numbers:
                continue
            result, line = noticed(mutation, project, arguments.all)
            missed += not result
            print(f"{number:2} {'ok    ' if result else 'MISSED'} {mutation.fault}: {line}", flush=True)
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main())
