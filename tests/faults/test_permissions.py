"""A missing permission is one sentence with the path; with the permission, the same command finishes."""

import subprocess
from typing import NamedTuple

import pytest

from tests.faults.test_kills import remove_outputs
from tests.helpers.ordinary import give, owned_copy, run_as_user

CLOSED = "chmod a-rwx {path}"
READ_ONLY = "chmod -R a-w {path}"
ROOTS = "chown -R root: {path}; chmod -R go-w {path}"


class Row(NamedTuple):
    """What is closed, to which command."""

    close: str
    path: str
    command: str
    first: str = ""  # the stage whose outputs are removed before


ROWS = [
    Row(CLOSED, "data/incoming/cat/1.png", "darkroom check"),
    Row(CLOSED, "data/incoming/cat", "darkroom check"),
    Row(CLOSED, "data/incoming", "darkroom check"),
    Row(CLOSED, "data/incoming/cat", "stages.download"),
    Row(CLOSED, "params.yaml", "stages.split"),
    Row(CLOSED, "params.yaml", "darkroom summary"),
    Row(CLOSED, "data/raw/train/cat", "stages.split"),
    Row(CLOSED, "data/raw", "stages.split"),
    Row(CLOSED, "reports/groups.csv", "stages.split"),
    Row(CLOSED, "data/split/train/cat", "stages.augment"),
    Row(CLOSED, "dvc.lock", "stages.train", "train"),
    Row(CLOSED, "data/features/train.csv", "stages.train", "train"),
    Row(CLOSED, "models/model.json", "stages.evaluate", "evaluate"),
    Row(CLOSED, "exports", "darkroom predict data/raw/train/cat"),
    Row(CLOSED, "exports/model.onnx", "darkroom predict data/raw/train/cat"),
    Row(READ_ONLY, ".", "stages.split"),
    Row(READ_ONLY, "data", "stages.split"),
    Row(READ_ONLY, "data/split", "stages.split"),
    Row(READ_ONLY, "reports", "stages.split"),
    Row(READ_ONLY, "reports/split.csv", "stages.split"),
    Row(READ_ONLY, "data/features", "stages.extract"),
    Row(READ_ONLY, ".cache", "stages.extract", "extract"),
    Row(READ_ONLY, ".cache", "stages.train", "train"),
    Row(READ_ONLY, "mlflow.db", "stages.train", "train"),
    Row(READ_ONLY, "mlartifacts", "stages.evaluate", "evaluate"),
    Row(READ_ONLY, "exports", "stages.export"),
    Row(READ_ONLY, "recipes", "darkroom sweep mine --trials 1 --heads knn"),
    Row(ROOTS, "data/split", "stages.split"),
    Row(ROOTS, "reports/split.csv", "stages.split"),
    Row(ROOTS, "models", "stages.train"),
    Row(ROOTS, "mlflow.db", "darkroom track"),
]


@pytest.fixture(scope="module")
def owned(finished):
    """A tiny project that belongs to an ordinary user."""
    with owned_copy(finished) as folder:
        yield folder


def sentence(done, name):
    """The only thing that a command has to say about it."""
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    assert done.returncode == 1, done.stdout + done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"{name}: "), done.stderr
    return last


@pytest.mark.full
@pytest.mark.table
@pytest.mark.parametrize(
    "row", ROWS, ids=lambda row: f"{row.close.split()[0]} {row.close.split()[-2]} {row.path} {row.command}"
)
def test_a_missing_permission_is_named(row, owned):
    program, *arguments = row.command.split()
    command = ["python", "-m", program, *arguments]
    name = program.partition(".")[2] or arguments[0]
    if row.first:
        remove_outputs(owned, row.first)
    subprocess.run(["bash", "-c", row.close.format(path=row.path)], cwd=owned, check=True)
    done = run_as_user(command, owned)
    print(done.returncode, (done.stderr or done.stdout).strip().splitlines()[-1:], flush=True)
    subprocess.run(["chmod", "-R", "u+rwX", row.path], cwd=owned, check=True)
    give(owned / row.path)
    again = run_as_user(command, owned)
    assert again.returncode == 0, again.stderr
    if not (row.path in ("mlartifacts", "reports/split.csv") and done.returncode == 0):
        assert row.path in sentence(done, name)
