"""Any command may be killed at any moment, with all its children: the same command finishes with the same bytes."""

import random
import shutil
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest

from darkroom.core.files import write_csv
from tests.helpers.archive_files import seven_zipped, tarred
from tests.helpers.kills import Workplace, campaign
from tests.helpers.project import ROOT, copy_project, run, set_param, set_params
from tests.helpers.small_sets import files_in, write_layout
from tests.helpers.stores import new_store
from tests.helpers.tiny import LAYOUT, MODES

ORDER = ("download", "split", "augment", "extract", "train", "evaluate", "export")
# The outputs of each stage, which DVC deletes before it runs one.
OUTPUTS = {
    "download": ("data/raw", "reports/dataset", "reports/dataset.json", "reports/groups.csv", "reports/issues.csv"),
    "split": ("data/split", "reports/split.csv", "reports/split.json"),
    "augment": ("data/augmented", "reports/augment.json", "reports/augment.jpg"),
    "extract": ("data/features", "reports/extract.json", ".cache/features"),
    "train": ("models", "reports/history.csv", "reports/model.txt", "reports/train.json", ".cache/training"),
    "evaluate": ("reports/metrics.json", "reports/predictions.csv", "reports/plots", "reports/report.html"),
    "export": ("exports", "reports/export.json"),
}
REPRO = ("dvc", "repro")
SAFELY = ("bash", "-c", "python -m darkroom check && dvc repro")  # as `make run`
SWEEP = ("python", "-m", "darkroom", "sweep", "mine", "--trials", "3", "--heads", "knn,dense")
RECIPE = ("python", "-m", "darkroom", "recipe", "fashion_cnn")


class Row(NamedTuple):
    """A stage in a mode, and how often it is killed."""

    stage: str
    kills: int
    changes: Mapping[str, Any] = MappingProxyType({})
    again: tuple[str, ...] = ()  # the stages to run first


ROWS = {
    "download": Row("download", 4),
    "download of a tar": Row("download", 3, {"download.source": "archive", "download.path": "data/incoming/a.tar"}),
    "download of a 7z": Row("download", 2, {"download.source": "archive", "download.path": "data/incoming/a.7z"}),
    "split": Row("split", 3),
    "split into folds": Row("split", 2, {"split.method": "kfold", "split.folds": 3}),
    "split by content": Row("split", 2, {"split.method": "stable"}),
    "augment": Row("augment", 3),
    "augment to a number": Row("augment", 2, {"augment.target": 20, "augment.undersample": True}),
    "extract": Row("extract", 4),
    "extract two layers": Row("extract", 2, {"extract.layers": ["block_1_expand_relu", "block_2_add"]}),
    "train": Row("train", 4),
    "train a classical head": Row("train", 3, MODES["classical"]),
    "fine-tune": Row("train", 4, MODES["fine_tune"], ("extract",)),
    "train from scratch": Row("train", 4, MODES["scratch"], ("extract",)),
    "evaluate": Row("evaluate", 4),
    "export": Row("export", 3),
    "export every format": Row("export", 3, {"export.formats": ["keras", "saved_model", "onnx", "litert"]}),
}


@pytest.fixture
def seed():
    """Of the moments; another one each time."""
    return random.SystemRandom().randrange(10**6)


def remove_outputs(folder, first):
    """Remove what a stage and those after it have written."""
    for stage in ORDER[ORDER.index(first) :]:
        for output in OUTPUTS[stage]:
            target = folder / output
            shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)


def kill_stage(name, finished, tmp_path, seed):
    """Kill a stage in a project whose stages before have run."""
    row, folder = ROWS[name], copy_project(finished, tmp_path / "darkroom")
    set_params(folder, row.changes)
    if path := row.changes.get("download.path"):
        shutil.rmtree(folder / "data/incoming")
        (folder / "data/incoming").mkdir()
        (seven_zipped if path.endswith("7z") else tarred)(folder / path, files_in(LAYOUT))
    for stage in row.again:
        run("python", "-m", f"stages.{stage}", cwd=folder)
    remove_outputs(folder, row.stage)
    campaign(Workplace(folder, tmp_path / "spare", ("python", "-m", f"stages.{row.stage}")), row.kills, seed)


def test_a_killed_split_ends_with_the_same_bytes(workspace, tmp_path_factory, seed, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    write_layout(workspace / "data/raw/train", LAYOUT)
    names = sorted(path.relative_to(workspace / "data/raw").as_posix() for path in workspace.rglob("*.png"))
    write_csv(
        workspace / "reports/groups.csv",
        ("picture", "hash", "group", "source_group"),
        [(name, f"{row:016x}", "", "") for row, name in enumerate(names)],
    )
    campaign(
        Workplace(workspace, tmp_path_factory.mktemp("kills") / "spare", ("python", "-m", "stages.split")), 3, seed
    )


@pytest.mark.full
@pytest.mark.table
@pytest.mark.parametrize("name", ROWS)
def test_a_killed_stage_ends_with_the_same_bytes(name, finished, tmp_path, seed):
    kill_stage(name, finished, tmp_path, seed)


@pytest.mark.full
@pytest.mark.table
def test_a_killed_pipeline_ends_with_the_same_bytes(fresh, tmp_path, seed):
    place = Workplace(copy_project(fresh, tmp_path / "darkroom"), tmp_path / "spare", SAFELY)
    campaign(place, 4, seed)


@pytest.mark.full
@pytest.mark.table
def test_a_killed_sweep_ends_with_the_same_recipe(done, tmp_path, seed):
    campaign(Workplace(done, tmp_path / "spare", SWEEP), 4, seed)


@pytest.mark.full
@pytest.mark.table
def test_a_killed_track_is_finished_by_the_next(done, tmp_path, seed):
    new_store(done / "mlflow.db")
    campaign(Workplace(done, tmp_path / "spare", ("python", "-m", "darkroom", "track")), 3, seed)


@pytest.mark.full
@pytest.mark.table
@pytest.mark.parametrize("kills", [12])
def test_dvc_with_nothing_to_do_may_be_killed(kills, cheap_copy, tmp_path, seed):
    campaign(Workplace(cheap_copy, tmp_path / "spare", REPRO), kills, seed, SAFELY)


@pytest.mark.full
@pytest.mark.table
@pytest.mark.parametrize("key", ["download.limit_per_class", "base.seed", "train.learning_rate"])
def test_dvc_may_be_killed_between_its_stages(key, cheap_copy, tmp_path, seed):
    set_param(cheap_copy, key, 7)
    campaign(Workplace(cheap_copy, tmp_path / "spare", REPRO), 4, seed, SAFELY)


@pytest.mark.full
@pytest.mark.table
def test_a_killed_recipe_is_finished_by_the_same_command(cheap_copy, tmp_path, seed):
    set_params(cheap_copy, {"download.limit_per_class": 9})
    ended = "recipe: experiment fashion_cnn exists already"  # it was killed after all was done
    campaign(Workplace(cheap_copy, tmp_path / "spare", RECIPE), 5, seed, ended=ended)
