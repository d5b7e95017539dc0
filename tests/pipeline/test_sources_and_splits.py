"""Every source and every method to split, through the three data stages on real pictures."""

import functools
import http.server
import json
import os
import subprocess
import sys
import threading
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from shutil import copy

import pytest

from darkroom.core import parallel
from darkroom.core.files import read_csv
from darkroom.core.hashing import sha256
from darkroom.download import sources
from darkroom.images.decode import decode
from darkroom.images.folders import PARTS
from darkroom.split.methods import METHODS
from tests.helpers.pictures import bytes_by_name
from tests.helpers.project import ROOT, clone, commit, run, set_params
from tests.helpers.source_files import (
    rows_of,
    write_archive,
    write_csv,
    write_folder,
    write_idx_pair,
    write_tfds,
)
from tests.helpers.stages import run_stages
from tests.helpers.table_files import write_csv as write_table
from tests.helpers.table_files import write_parquet

pytestmark = pytest.mark.usefixtures("tensorflow")
CLASSES = ("Bag", "Coat", "Sandal")
NUMBERED = {str(number): label for number, label in enumerate(CLASSES)}
INCOMING = Path("data/incoming")
STAGES = ("download", "split", "augment")


@pytest.fixture(scope="module")
def chosen(fashion):
    """Part to class to real pictures: 24, 40 and 40 for training, 6 of each class as an official val and test."""
    train, test = ({label: sorted((fashion / part / label).iterdir()) for label in CLASSES} for part in PARTS[::2])
    return {
        "train": {label: paths[: 24 if label == "Bag" else 40] for label, paths in train.items()},
        "val": {label: paths[40:46] for label, paths in train.items()},
        "test": {label: paths[:6] for label, paths in test.items()},
    }


@contextmanager
def served(folder):
    """A web server on the loopback interface for the files of a folder."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


# Each writes files to data/incoming and returns the params of the download stage that go with them.


def folder(chosen):
    write_folder(INCOMING, chosen["train"])
    return {}


def folder_with_parts(chosen):
    for part in PARTS:
        write_folder(INCOMING / part, chosen[part])
    return {}


def zip_file(chosen):
    for part in ("train", "test"):
        write_folder(INCOMING / "pictures" / part, chosen[part])
    archive = write_archive(INCOMING / "set.zip", INCOMING / "pictures", "pictures")
    return {"path": str(archive), "sha256": sha256(archive)}


def tar_file(chosen):
    write_folder(INCOMING / "pictures", chosen["train"])
    archive = write_archive(INCOMING / "set.tar.gz", INCOMING / "pictures", "outer")
    return {"path": str(archive), "sha256": sha256(archive)}


def url(chosen):
    return tar_file(chosen) | {"path": str(INCOMING), "url": "{server}/set.tar.gz"}


def csv(chosen):
    for part in ("train", "test"):
        write_csv(INCOMING / f"rows/{part}.csv", rows_of(chosen[part]), header=28 * 28)
    params = {"csv": {"shape": [28, 28], "header": True}, "classes": NUMBERED}
    return params | {"path": str(INCOMING / "rows")}


def csv_in_tar(chosen):
    return csv(chosen) | {"path": str(write_archive(INCOMING / "rows.tar.gz", INCOMING / "rows", "rows"))}


def idx(chosen):
    for part, stem in (("train", "train"), ("test", "t10k")):
        write_idx_pair(INCOMING, stem, rows_of(chosen[part]))
    return {"classes": NUMBERED}


def table(chosen):
    """A table beside a flat folder; it says which pictures are official."""
    rows, pictures = [], INCOMING / "jpegs"
    pictures.mkdir()
    for part in ("train", "test"):
        for label, paths in chosen[part].items():
            rows += [(f"{part}-{sha256(path)[:12]}.png", label, part) for path in paths]
            for path, (name, *_) in zip(paths, rows[-len(paths) :], strict=True):
                copy(path, pictures / name)
    write_table(INCOMING / "labels.csv", ("filename", "class", "split"), rows)
    return {"path": str(INCOMING / "labels.csv")}


def parquet(chosen):
    """The pictures' bytes in the table."""
    paths = [(path, label) for label, group in chosen["train"].items() for path in group]
    rows = [({"bytes": path.read_bytes(), "path": f"{sha256(path)[:12]}.png"}, label) for path, label in paths]
    write_parquet(INCOMING / "train.parquet", ("image", "label"), rows)
    return {"path": str(INCOMING)}


def tfds(chosen):
    write_tfds(Path("tfds"), "own_clothes", {part: rows_of(chosen[part]) for part in ("train", "test")}, CLASSES)
    return {"name": "own_clothes:1.0.0", "data_dir": "tfds", "path": "tfds/own_clothes"}


# source, its files, params of split, pictures of each part (before near-duplicates are left out)
TABLE = [
    ("folder", folder, {"method": "ratio"}, (72, 10, 22)),
    ("folder", folder, {"method": "fixed", "fixed": [4, 5]}, (77, 12, 15)),
    ("folder", folder, {"method": "kfold", "folds": 4, "fold": 3}, (62, 21, 21)),
    ("folder", folder, {"method": "ordered"}, (73, 10, 21)),
    ("folder", folder, {"method": "stable"}, None),
    ("folder", folder_with_parts, {"method": "ratio"}, (104, 18, 18)),
    ("folder", folder_with_parts, {"method": "stable"}, (104, 18, 18)),
    ("archive", zip_file, {"method": "ratio"}, (91, 13, 18)),
    ("archive", tar_file, {"method": "ratio", "group": "^[0-9a-f]"}, None),
    ("archive", url, {"method": "ratio"}, (72, 10, 22)),
    ("csv", csv, {"method": "ordered", "fixed": [30, 1], "hold_out": "last"}, (74, 30, 18)),
    ("csv", csv_in_tar, {"method": "kfold", "folds": 2}, (52, 52, 18)),
    ("idx", idx, {"method": "fixed", "fixed": [5, 1]}, (89, 15, 18)),
    ("table", table, {"method": "ratio"}, (91, 13, 18)),
    ("table", parquet, {"method": "ratio"}, (72, 10, 22)),
    ("tfds", tfds, {"method": "stable"}, (None, None, 18)),
]


@pytest.fixture
def data(workspace, monkeypatch):
    """An empty project in which all work is done by this process."""
    monkeypatch.setattr(parallel, "ALONE_SECONDS", float("inf"))
    monkeypatch.setenv("NO_PROXY", "*")
    INCOMING.mkdir(parents=True)
    return workspace


def prepare(data, source, files, chosen, split):
    """Write the source's files, and params.yaml."""
    download = {"source": source, "on_bad": "fail", "limit_per_class": None, "near_duplicates": 0.95} | files(chosen)
    sections = {"download": download, "split": split}
    set_params(data, {f"{name}.{key}": value for name, keys in sections.items() for key, value in keys.items()})


@pytest.mark.parametrize(
    ("source", "files", "split", "sizes"), TABLE, ids=[f"{row[1].__name__}, {row[2]['method']}" for row in TABLE]
)
def test_sources_and_splits(source, files, split, sizes, data, chosen):
    prepare(data, source, files, chosen, split)
    with served(INCOMING) as address:
        if files is url:
            set_params(data, {"download.url": f"{address}/set.tar.gz"})
        run_stages(STAGES)

    report = json.loads((data / "reports/dataset.json").read_text())
    assert report["found"] == report["kept"] + len(report["dropped"])
    assert report["dropped"] == []
    assert set(report["classes"]) == set(CLASSES)
    # Whatever the source, the same pictures arrive.
    raw = Counter(sha256(path) for path in (data / "data/raw").rglob("*.png"))
    parts = [part for part in PARTS if (data / "data/raw" / part).is_dir()]
    expected = [path for part in parts for paths in chosen[part].values() for path in paths]
    assert len(expected) == report["kept"] == raw.total()
    pixels = {decode(path).tobytes() for path in (data / "data/raw").rglob("*.png")}
    assert pixels == {decode(path).tobytes() for path in expected}
    sheets = {path.name for path in (data / "reports/dataset").iterdir()}
    assert sheets == {"classes.png", "sizes.png", *(f"{label}.jpg" for label in CLASSES)}

    summary = json.loads((data / "reports/split.json").read_text())
    rows = read_csv(data / "reports/split.csv")
    left_out = len(summary["left_out"])
    assert len(rows) + left_out == report["kept"]
    assert not Counter(sha256(data / "data/split" / row["picture"]) for row in rows) - raw
    counts = Counter(row["split"] for row in rows)
    if sizes:
        pairs = zip(PARTS, sizes, strict=True)
        assert sum(abs(counts[part] - size) for part, size in pairs if size is not None) <= left_out
    groups = {row["picture"]: row["group"] for row in read_csv(data / "reports/groups.csv") if row["group"]}
    assert set(report["classes"]) == set(summary["classes"])
    assert len(set(groups.values())) == report["near_duplicate_groups"]

    augmented = json.loads((data / "reports/augment.json").read_text())
    totals = {row["pictures"] + row["added"] for row in augmented.values()}
    assert totals == {max(row["pictures"] for row in augmented.values())}
    new = Counter(path.parent.name for path in (data / "data/augmented").rglob("*.png"))
    assert new == {label: row["added"] for label, row in augmented.items() if row["added"]}
    assert (data / "reports/augment.jpg").stat().st_size > 1000


def test_every_source_and_every_method_has_a_row():
    """A new source or method needs a row in the table."""
    assert {source for source, *_ in TABLE} == set(sources.NAMES)
    assert {split["method"] for _, _, split, _ in TABLE} == set(METHODS)


def test_the_number_of_cores_changes_nothing(data, chosen, monkeypatch):
    """This process uses all cores; another one has a single core, with one thread for each operation."""
    prepare(data, "folder", folder, chosen, {"method": "ratio"})
    set_params(data, {"augment.noise": 0.1, "augment.contrast": 0.2})
    results = []
    for single in (False, True):
        if single:
            command = ["taskset", "-c", str(min(os.sched_getaffinity(0))), sys.executable, "-m", "tests.helpers.stages"]
            environment = {**os.environ, "PYTHONPATH": str(ROOT)}
            subprocess.run([*command, *STAGES], cwd=data, env=environment, check=True, capture_output=True)
        else:
            run_stages(STAGES)
        files = {top: bytes_by_name(data / top) for top in ("data", "reports")}
        results.append({(top, name): content for top in files for name, content in files[top].items()})
    assert len(results[0]) > 300
    assert results[0] == results[1]


def test_pictures_that_another_project_versions(chosen, tmp_path):
    """`dvc import` brings them; the stage depends on the folder as on any other."""
    from dvc.repo import Repo

    project = clone(tmp_path / "darkroom")
    other = tmp_path / "pictures"
    write_folder(other / "pets", chosen["train"])
    run("git", "init", "-q", cwd=other)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        patch.chdir(other)
        with Repo.init(str(other)) as repo:
            repo.add("pets")
        commit(other, "pictures")
        patch.chdir(project)
        set_params(project, {"download.source": "folder", "download.path": "data/pets"})
        with Repo(str(project)) as repo:
            repo.imp(str(other), "pets", "data/pets")
            repo.reproduce("download")
            assert repo.status(["download"]) == {}
    assert json.loads((project / "reports/dataset.json").read_text())["kept"] == 104
    assert "data/pets" in (project / "dvc.lock").read_text()
