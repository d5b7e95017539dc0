"""What the tests of the review page share: reports on few pictures, and the page as a real process."""

import contextlib
import hashlib
import os
import re
import subprocess
import sys

from darkroom.core.files import write_csv
from tests.helpers.pictures import CLASSES
from tests.helpers.project import ROOT, interruptible


def md5(path):
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def report(folder, wrong=()):
    """The reports that the page reads, on the pictures of data/split; those in `wrong` look like another class."""
    paths = sorted((folder / "data/split").glob("*/*/*.png"))
    names = [path.relative_to(folder / "data/split").as_posix() for path in paths]
    rows = [(name, name.split("/")[1], name.split("/")[0], md5(path)) for name, path in zip(names, paths, strict=True)]
    write_csv(folder / "reports/split.csv", ("picture", "class", "split", "md5"), rows)
    twins = {names[0], next(name for name in names if name.split("/")[1] != names[0].split("/")[1])}
    write_csv(
        folder / "reports/groups.csv",
        ("picture", "md5", "group"),
        [(name, row[3], "1" if name in twins else "") for name, row in zip(names, rows, strict=True)],
    )
    issues = [(f"data/split/{name}", *name.split("/")[:2], wrong[name], 0.012, 0.9) for name in wrong]
    header = ("path", "split", "label", "suggested", "quality", "suggested_quality")
    write_csv(folder / "reports/label_issues.csv", header, issues)
    others = [(f"data/split/{name}", *name.split("/")[:2], "Sandal", 0.3, 0.25) for name in names[40:43]]
    write_csv(folder / "reports/label_quality.csv", header, others)
    test = [name for name in names if name.startswith("test/")]
    predictions = [
        (f"data/split/{name}", name.split("/")[1], CLASSES[number % 3], 0.4 + number / 100, 0.1)
        for number, name in enumerate(test)
    ]
    header = ("path", "label", "predicted", "probability", "label_probability")
    write_csv(folder / "reports/predictions.csv", header, predictions)
    return names


@contextlib.contextmanager
def served(folder, port="0"):
    """The real process, and its address."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    program = [sys.executable, "-m", "darkroom", "review", "--port", port, "--author", "Ada"]
    process = subprocess.Popen(
        program, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, preexec_fn=interruptible
    )
    try:
        assert "labelled pictures" in process.stdout.readline()
        found = None
        while not found:
            line = process.stdout.readline()
            assert line, "the page did not start"
            found = re.match(r"review: (http://127\.0\.0\.1:\d+) ", line)
        yield process, found[1]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
