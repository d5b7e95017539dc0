"""A missing permission is one sentence with the path; with the permission, the same command finishes."""

import subprocess
from typing import NamedTuple

import pytest

from tests.helpers.kills import differences, outputs
from tests.helpers.ordinary import give, owned_copy, run_as_user
from tests.helpers.tiny import remove_outputs

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
    Row(READ_ONLY, "exports", "stages.export"),
    Row(READ_ONLY, "recipes", "darkroom sweep mine --trials 1 --heads knn"),
    Row(ROOTS, "data/split", "stages.split"),
    Row(ROOTS, "reports/split.csv", "stages.split"),
    Row(ROOTS, "models", "stages.train"),
]
HOMELESS = ("stages.download", "stages.augment", "stages.extract", "stages.train", "stages.evaluate", "stages.export")


@pytest.fixture
def owned(finished):
    """A tiny project that belongs to an ordinary user."""
    with owned_copy(finished) as folder:
        yield folder


def words(row):
    """A row as the name of its test."""
    return f"{row.close.partition('{')[0].strip()} {row.path}, {row.command}"


def closed(row, folder):
    """Run a row's command with the permission missing, and then with it: what came of both."""
    program, *arguments = row.command.split()
    command = ["dvc", *arguments] if program == "dvc" else ["python", "-m", program, *arguments]
    if row.first:
        remove_outputs(folder, row.first)
    subprocess.run(["bash", "-c", row.close.format(path=row.path)], cwd=folder, check=True)
    done = run_as_user(command, folder)
    print(row.path, done.returncode, (done.stderr or done.stdout).strip().splitlines()[-1:], flush=True)
    subprocess.run(["chmod", "-R", "u+rwX", row.path], cwd=folder, check=True)
    give(folder / row.path)
    return done, run_as_user(command, folder)


@pytest.mark.full
@pytest.mark.table
@pytest.mark.parametrize("row", ROWS, ids=words)
def test_a_missing_permission_is_named(row, owned):
    before = outputs(owned)
    done, again = closed(row, owned)
    output = done.stdout + done.stderr
    assert again.returncode == 0, again.stderr
    assert differences(before, outputs(owned)) == [] or row.first or "sweep" in row.command
    assert "Traceback" not in output, output
    if row.path == "reports/split.csv" and row.close != CLOSED:  # its folder may be written, so it can be replaced
        assert done.returncode == 0, output
        return
    assert done.returncode == 1, output
    name = row.command.removeprefix("stages.").removeprefix("darkroom ").partition(" ")[0]
    assert done.stderr.strip().splitlines()[-1].startswith(f"{name}: "), output
    assert row.path in done.stderr.strip().splitlines()[-1] or row.path == "."
    assert any(word in done.stderr for word in ("no permission for", "may not be read", "only be read"))


@pytest.mark.full
@pytest.mark.table
def test_dvc_names_its_own_folder(owned):
    done, again = closed(Row(READ_ONLY, ".dvc", "dvc repro"), owned)
    assert done.returncode, done.stdout
    assert ".dvc" in done.stderr
    assert "Traceback" not in done.stderr
    assert again.returncode == 0, again.stderr


@pytest.mark.full
@pytest.mark.table
@pytest.mark.parametrize("stage", HOMELESS)
def test_no_stage_needs_a_home(stage, owned):
    """Keras, MLflow, DVC and matplotlib would like to write there."""
    before = outputs(owned)
    (owned.parent / "home").chmod(0o555)
    give(owned.parent / "home", "root")
    done = run_as_user(("python", "-m", stage), owned)
    assert done.returncode == 0, done.stderr
    assert differences(before, outputs(owned)) == []
