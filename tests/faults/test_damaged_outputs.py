"""Outputs that a disk, an editor or a killed copy has damaged, behind DVC's back: no stage takes them for good.

Each is refused in one sentence that names the file, and the command in that sentence restores the very bytes.
"""

import importlib
import os
import re
import shutil

import pytest

from darkroom.commands.promote import command as promote
from darkroom.commands.sweep import command as sweep
from darkroom.core.errors import UserError
from darkroom.core.hashing import sha256
from darkroom.core.paths import FEATURES
from darkroom.images.folders import listed
from darkroom.models.inputs import Features
from darkroom.pipeline import params
from tests.helpers.project import copy_project, run

LAYERS = ("block3_pool",)


def stage(name):
    """Run a stage, which refuses before its work begins."""
    sections = params.current()
    importlib.import_module(f"stages.{name}").main(sections.base, getattr(sections, name))


READERS = {
    "split": lambda: stage("split"),
    "train": lambda: stage("train"),
    "evaluate": lambda: stage("evaluate"),
    "export": lambda: stage("export"),
    "sweep": lambda: sweep.main("mine", 1, None, None, "dense", False),
    "promote": lambda: promote.main("animals", False),
    "pictures": lambda: listed("train"),
    "features of train": lambda: Features(FEATURES, "train", LAYERS),
    "features of test": lambda: Features(FEATURES, "test", LAYERS),
}
PIPE = b"a pipe"
TEXTS = {
    "empty": lambda content: b"",
    "cut off in a line": lambda content: content[: content.index(b"\n", len(content) // 2) - 2],
    "not UTF-8": lambda content: content[:20] + b"\xff" + content[20:],
    "binary": lambda content: bytes(range(256)),
    "a folder": lambda content: None,
    "a pipe": lambda content: PIPE,
    "gone": lambda content: ...,
}
TABLES = TEXTS | {
    "cut off after a line": lambda content: content[: content.index(b"\n", len(content) // 2) + 1],
    "one row less": lambda content: b"".join(content.splitlines(keepends=True)[:-1]),
    "one row twice": lambda content: content + content.splitlines(keepends=True)[-1],
    "another header": lambda content: b"x" + content,
    "the header alone": lambda content: content.splitlines(keepends=True)[0],
    "a quote": lambda content: content[:-30] + b'"' + content[-30:],
}
JSON = TEXTS | {
    "a list": lambda content: b"[]\n",
    "an empty object": lambda content: b"{}\n",
    "null": lambda content: b"null\n",
}
BINARY = {
    "empty": lambda content: b"",
    "cut off": lambda content: content[: len(content) // 2],
    "a folder": lambda content: None,
    "a pipe": lambda content: PIPE,
    "gone": lambda content: ...,
}
ANY_BIT = BINARY | {
    "the first bit": lambda content: bytes([content[0] ^ 1]) + content[1:],
    "a bit in the middle": lambda content: flipped(content, len(content) // 2),
    "the last bit": lambda content: flipped(content, len(content) - 1),
    "one byte more": lambda content: content + b"\0",
}
# Each file with the reader that must notice it, what is done to it, and what is no damage: valid for a real project.
FILES = [
    ("reports/groups.csv", "split", TABLES, ()),
    ("data/augmented/.left_out.csv", "pictures", TABLES, ("cut off in a line", "cut off after a line", "one row less",
     "the header alone", "a quote")),  # it has no rows
    ("reports/augment.json", "pictures", JSON, ("an empty object",)),
    ("data/features/train.csv", "features of train", TABLES, ()),
    ("data/features/test.csv", "features of test", TABLES, ()),
    ("data/features/train.block3_pool.npy", "features of train", BINARY, ()),
    ("reports/extract.json", "train", JSON, ()),
    ("reports/history.csv", "evaluate", TABLES, ()),
    ("reports/train.json", "evaluate", JSON, ()),
    ("models/model.json", "evaluate", ANY_BIT, ()),
    ("models/classes.json", "export", ANY_BIT, ()),
    ("models/head.weights.h5", "sweep", ANY_BIT, ()),
    ("models/backbone.weights.h5", "promote", ANY_BIT, ()),
    ("reports/dataset.json", "export", JSON, ()),
    ("reports/split.csv", "export", TABLES, ()),
    ("reports/split.json", "export", JSON, ()),
    ("reports/metrics.json", "export", JSON, ()),
    ("reports/per_class.csv", "export", TABLES, ()),
    ("reports/predictions.csv", "export", TABLES, ()),
]  # fmt: skip
# In `make test`, one or two for each file.
QUICK = ("empty", "a pipe", "cut off after a line", "a bit in the middle", "one row twice")
CASES = [
    pytest.param(
        name, reader, damages[damage], id=f"{name}, {damage}",
        marks=[] if damage in QUICK else [pytest.mark.full, pytest.mark.table],
    )
    for name, reader, damages, harmless in FILES
    for damage in damages
    if damage not in harmless
]  # fmt: skip


def flipped(content, place):
    return content[:place] + bytes([content[place] ^ 16]) + content[place + 1 :]


def test_the_table_is_long():
    assert len(CASES) >= 60


@pytest.fixture(scope="module")
def whole(project, tmp_path_factory):
    """A copy of the small project."""
    return copy_project(project, tmp_path_factory.mktemp("damaged") / "project")


@pytest.fixture
def here(whole, monkeypatch):
    monkeypatch.chdir(whole)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return whole


def damage(path, change):
    """Replace a file, whose copies elsewhere may be links to it, and return the way back."""
    content = path.read_bytes()
    path.unlink()
    if (new := change(content)) is None:
        path.mkdir()
    elif new is PIPE:
        os.mkfifo(path)
    elif new is not ...:
        path.write_bytes(new)

    def restore():
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        path.write_bytes(content)

    return restore


def refusal(name, reader):
    """The sentence with which a reader refuses a damaged file."""
    with pytest.raises(UserError) as error:
        READERS[reader]()
    (sentence,) = str(error.value).splitlines()
    assert sentence.startswith((name, name.split("/")[0])), sentence
    return sentence


@pytest.mark.parametrize(("name", "reader", "change"), CASES)
def test_a_damaged_output_is_refused(name, reader, change, here):
    restore = damage(here / name, change)
    try:
        assert re.search(r"`dvc (repro|pull)", refusal(name, reader))
    finally:
        restore()


@pytest.mark.parametrize("reader", ["evaluate", "export", "sweep", "promote"])
def test_a_model_that_was_changed_is_refused(reader, here):
    restore = damage(here / "models/head.weights.h5", lambda content: flipped(content, 3000))
    try:
        sentence = refusal("models", reader)
    finally:
        restore()
    assert sentence == (
        "models is damaged or was changed (it does not match model_sha256 in reports/train.json): run `dvc repro -f -s "
        "train`, which writes it anew."
    )


def digests(folder):
    """The SHA-256 of every output."""
    places = [folder / name for name in ("data", "models", "exports", "reports")]
    return {path: sha256(path) for place in places for path in place.rglob("*") if path.is_file()}


@pytest.mark.full
@pytest.mark.table
@pytest.mark.parametrize(
    ("name", "reader", "change"), [(file, reader, next(iter(kinds.values()))) for file, reader, kinds, _ in FILES]
)
def test_the_remedy_restores_every_byte(name, reader, change, copy, monkeypatch):
    """By DVC, as the sentence says."""
    monkeypatch.chdir(copy)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    before = digests(copy)
    damage(copy / name, change)
    command = re.search(r"`(dvc repro [^`]+)`", refusal(name, reader))[1]
    run(*command.split(), cwd=copy)
    assert digests(copy) == before
