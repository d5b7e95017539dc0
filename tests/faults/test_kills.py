"""Any command may be killed at any moment, with all its children: the same command finishes with the same bytes."""

import contextlib
import random
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest

from darkroom.core.files import write_csv
from tests.helpers.archive_files import seven_zipped, tarred
from tests.helpers.kills import Workplace, campaign
from tests.helpers.project import ROOT, copy_project, run, set_param, set_params
from tests.helpers.small_sets import files_in, write_layout
from tests.helpers.source_files import rows_of, write_idx_pair, write_tfds
from tests.helpers.source_files import write_csv as write_rows
from tests.helpers.stores import new_store
from tests.helpers.table_files import plain
from tests.helpers.tiny import LAYOUT, MODES, remove_outputs

REPRO = ("dvc", "repro")
SAFELY = ("bash", "-c", "python -m darkroom check && dvc repro")  # as `make run`
SWEEP = ("python", "-m", "darkroom", "sweep", "mine", "--trials", "3", "--heads", "knn,dense")
RECIPE = ("python", "-m", "darkroom", "recipe", "fashion_cnn")


INCOMING = Path("data/incoming")


class Row(NamedTuple):
    """A stage in a mode, and how often it is killed."""

    stage: str
    kills: int
    changes: Mapping[str, Any] = MappingProxyType({})
    again: tuple[str, ...] = ()  # the stages to run first
    source: Callable[[], Any] | None = None  # writes the files of another source to data/incoming


def pixels():
    """`(class number, grey pixels)` of the layout's pictures."""
    write_layout(Path("pictures"), LAYOUT)
    return rows_of({folder.name: sorted(folder.iterdir()) for folder in sorted(Path("pictures").iterdir())})


ROWS = {
    "download": Row("download", 4),
    "download of a tar": Row(
        "download",
        3,
        {"download.source": "archive", "download.path": "data/incoming/a.tar"},
        source=lambda: tarred(INCOMING / "a.tar", files_in(LAYOUT)),
    ),
    "download of a 7z": Row(
        "download",
        2,
        {"download.source": "archive", "download.path": "data/incoming/a.7z"},
        source=lambda: seven_zipped(INCOMING / "a.7z", files_in(LAYOUT)),
    ),
    "download of a table": Row(
        "download",
        2,
        {"download.source": "table", "download.path": "data/incoming/labels.csv"},
        source=lambda: plain(LAYOUT)(INCOMING),
    ),
    "download of rows": Row(
        "download",
        2,
        {"download.source": "csv", "download.csv.shape": [16, 16]},
        source=lambda: write_rows(INCOMING / "train.csv", pixels()),
    ),
    "download of IDX files": Row(
        "download", 2, {"download.source": "idx"}, source=lambda: write_idx_pair(INCOMING, "train", pixels())
    ),
    "download of a TFDS set": Row(
        "download",
        2,
        {"download.source": "tfds", "download.name": "own:1.0.0", "download.data_dir": "data/incoming"},
        source=lambda: write_tfds(INCOMING, "own", {"train": pixels()}, ("cat", "dog", "owl"), (16, 16, 1)),
    ),
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


def test_a_killed_split_ends_with_the_same_bytes(workspace, tmp_path_factory, seed, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    write_layout(workspace / "data/raw/train", LAYOUT)
    names = sorted(path.relative_to(workspace / "data/raw").as_posix() for path in workspace.rglob("*.png"))
    write_csv(
        workspace / "reports/groups.csv",
        ("picture", "md5", "hash", "group", "source_group", "decision", "source"),
        [(name, f"{row:032x}", f"{row:016x}", "", "", "", "") for row, name in enumerate(names)],
    )
    campaign(
        Workplace(workspace, tmp_path_factory.mktemp("kills") / "spare", ("python", "-m", "stages.split")), 3, seed
    )


@pytest.mark.full
@pytest.mark.table
@pytest.mark.parametrize("name", ROWS)
def test_a_killed_stage_ends_with_the_same_bytes(name, done, tmp_path, seed):
    row = ROWS[name]
    set_params(done, row.changes)
    if row.source:
        with contextlib.chdir(done):
            shutil.rmtree(INCOMING)
            INCOMING.mkdir()
            row.source()
    for stage in row.again:
        run("python", "-m", f"stages.{stage}", cwd=done)
    remove_outputs(done, row.stage)
    campaign(Workplace(done, tmp_path / "spare", ("python", "-m", f"stages.{row.stage}")), row.kills, seed)


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
