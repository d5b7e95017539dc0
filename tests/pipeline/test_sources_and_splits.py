"""Every source and every way to split, through `dvc repro` up to the augmented pictures, on real pictures."""

import functools
import http.server
import json
import shutil
import tarfile
import threading
import zipfile
from collections import Counter
from contextlib import contextmanager

import numpy as np
import pytest
import yaml

from darkroom.core.files import read_csv
from darkroom.core.hashing import sha256
from darkroom.images.decode import decode
from darkroom.images.folders import PARTS
from tests.download.test_sources import idx, write_csv
from tests.helpers.project import clone, commit, run

CLASSES = ("Bag", "Coat", "Sandal")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A clone of the project in which only the data stages run."""
    return clone(tmp_path_factory.mktemp("data") / "darkroom")


@pytest.fixture(scope="module")
def chosen(fashion):
    """Part to class to real pictures: 24, 40 and 40 to train, 6 of each class as an official val and test."""
    train, test = ({label: sorted((fashion[0] / part / label).iterdir()) for label in CLASSES} for part in PARTS[::2])
    return {
        "train": {label: paths[: 24 if label == "Bag" else 40] for label, paths in train.items()},
        "val": {label: paths[40:46] for label, paths in train.items()},
        "test": {label: paths[:6] for label, paths in test.items()},
    }


def folder(target, chosen, parts=("train",)):
    """Class folders, inside a folder a part if there are several; the names' order mixes the classes."""
    for part in parts:
        for label, paths in chosen[part].items():
            place = target / part / label if len(parts) > 1 else target / label
            place.mkdir(parents=True)
            for path in paths:
                shutil.copy(path, place / f"{sha256(path)[:12]}.png")
    return target


def matrix(chosen, part):
    """`(labels, pixels)` in an order that mixes the classes."""
    pairs = [(label, path) for label, paths in chosen[part].items() for path in paths]
    order = np.random.default_rng(1).permutation(len(pairs))
    return [CLASSES.index(pairs[row][0]) for row in order], np.stack([decode(pairs[row][1])[..., 0] for row in order])


def tar(target, source):
    with tarfile.open(target, "w:gz") as archive:
        archive.add(source, "outer")
    return target


@contextmanager
def served(folder_):
    """A web server on the loopback interface for the files of a folder."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder_)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def make(source, data, chosen):
    """Put the source's files into data/incoming; the params of the download stage that go with them."""
    place = data / "data/incoming"
    for entry in place.iterdir():
        if entry.name != ".gitkeep":
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    if source == "folder":
        folder(place, chosen)
        return {"source": "folder"}
    if source == "folder with parts":
        folder(place, chosen, PARTS)
        return {"source": "folder"}
    if source == "zip":
        folder(place / "pictures", chosen, ("train", "test"))
        with zipfile.ZipFile(place / "set.zip", "w") as archive:
            for path in sorted((place / "pictures").rglob("*.png")):
                archive.write(path, path.relative_to(place))
        shutil.rmtree(place / "pictures")
        return {"source": "archive", "path": "data/incoming/set.zip", "sha256": sha256(place / "set.zip")}
    if source in ("tar.gz", "url"):
        archive = tar(place / "set.tar.gz", folder(place / "pictures", chosen))
        shutil.rmtree(place / "pictures")
        return {"source": "archive", "path": "data/incoming/set.tar.gz", "sha256": sha256(archive)}
    if source in ("csv", "csv in tar.gz"):
        for part in ("train", "test"):
            labels, pixels = matrix(chosen, part)
            write_csv(place / f"rows/{part}.csv", zip(labels, pixels, strict=True), header=True)
        names = {str(number): label for number, label in enumerate(CLASSES)}
        params = {"source": "csv", "csv": {"shape": [28, 28], "header": True}, "classes": names}
        if source == "csv":
            return params | {"path": "data/incoming/rows"}
        tar(place / "rows.tar.gz", place / "rows")
        shutil.rmtree(place / "rows")
        return params | {"path": "data/incoming/rows.tar.gz"}
    if source == "idx":
        for part, stem in (("train", "train"), ("test", "t10k")):
            labels, pixels = matrix(chosen, part)
            idx(place / f"{stem}-images-idx3-ubyte.gz", pixels, True)
            idx(place / f"{stem}-labels-idx1-ubyte.gz", np.array(labels), True)
        return {"source": "idx", "classes": {str(number): label for number, label in enumerate(CLASSES)}}
    return {"source": "tfds", "classes": list(CLASSES), "limit_per_class": 40}


# source, params of split, pictures of each part (before twins go)
TABLE = [
    ("folder", {"method": "ratio"}, (72, 10, 22)),
    ("folder", {"method": "fixed", "fixed": [4, 5]}, (77, 12, 15)),
    ("folder", {"method": "kfold", "folds": 4, "fold": 3}, (62, 21, 21)),
    ("folder", {"method": "ordered"}, (73, 10, 21)),
    ("folder", {"method": "stable"}, None),
    ("folder with parts", {"method": "ratio"}, (104, 18, 18)),
    ("folder with parts", {"method": "stable"}, (104, 18, 18)),
    ("zip", {"method": "ratio"}, (91, 13, 18)),
    ("tar.gz", {"method": "ratio", "group": "^[0-9a-f]"}, None),
    ("url", {"method": "ratio"}, (72, 10, 22)),
    ("csv", {"method": "ordered", "fixed": [30, 1], "hold_out": "last"}, (74, 30, 18)),
    ("csv in tar.gz", {"method": "kfold", "folds": 2}, (52, 52, 18)),
    ("idx", {"method": "fixed", "fixed": [5, 1]}, (89, 15, 18)),
    ("tfds", {"method": "stable"}, None),
]


@pytest.mark.parametrize(("source", "how", "sizes"), TABLE, ids=[f"{row[0]}, {row[1]['method']}" for row in TABLE])
def test_sources_and_splits(source, how, sizes, data, chosen):
    params = yaml.safe_load((data / "params.yaml").read_text())
    defaults = {"url": None, "sha256": None, "classes": None, "limit_per_class": None, "path": "data/incoming"}
    params["download"] |= defaults | {"on_bad": "fail"} | make(source, data, chosen)
    params["split"] |= {"fixed": None, "group": None, "folds": 5, "fold": 1, "hold_out": "last"} | how
    with served(data / "data/incoming") as address:
        if source == "url":
            params["download"] |= {"url": f"{address}/set.tar.gz", "path": "data/incoming"}
        (data / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
        run("dvc", "repro", "augment", cwd=data)

    report = json.loads((data / "reports/dataset.json").read_text())
    assert report["found"] == report["kept"] + len(report["dropped"])
    assert report["dropped"] == []
    assert set(report["classes"]) == set(CLASSES)
    raw = Counter(sha256(path) for path in (data / "data/raw").rglob("*.png"))
    if source != "tfds":
        # Whatever the source, it is the same pictures that arrive.
        expected = [
            path
            for part in PARTS
            if (data / "data/raw" / part).is_dir()
            for paths in chosen[part].values()
            for path in paths
        ]
        assert len(expected) == report["kept"] == raw.total()
        pixels = {decode(path).tobytes() for path in (data / "data/raw").rglob("*.png")}
        assert pixels == {decode(path).tobytes() for path in expected}

    split = json.loads((data / "reports/split.json").read_text())
    rows = read_csv(data / "reports/split.csv")
    gone = len(split["left_out"])
    assert len(rows) + gone == report["kept"]
    placed = Counter(sha256(data / "data/split" / row["picture"]) for row in rows)
    assert not placed - raw
    counts = Counter(row["split"] for row in rows)
    if sizes:
        assert sum(abs(counts[part] - size) for part, size in zip(PARTS, sizes, strict=True)) <= gone
    groups = {row["picture"]: row["group"] for row in read_csv(data / "reports/groups.csv") if row["group"]}
    assert set(report["classes"]) == set(split["classes"])
    assert len(set(groups.values())) == report["near_duplicate_groups"]

    augmented = json.loads((data / "reports/augment.json").read_text())
    totals = {row["pictures"] + row["added"] for row in augmented.values()}
    assert totals == {max(row["pictures"] for row in augmented.values())}
    made = Counter(path.parent.name for path in (data / "data/augmented").rglob("*.png"))
    assert made == {label: row["added"] for label, row in augmented.items() if row["added"]}


def test_the_number_of_cores_changes_nothing(data):
    before = (data / "dvc.lock").read_text()
    run("taskset", "-c", "0", "dvc", "repro", "--force", "augment", cwd=data)
    assert (data / "dvc.lock").read_text() == before


def test_pictures_that_another_project_versions(data, chosen, tmp_path):
    """`dvc import` brings them; the stage depends on the folder as on any other."""
    other = tmp_path / "pictures"
    folder(other / "pets", chosen)
    for command in (["git", "init", "-q"], ["dvc", "init", "-q"], ["dvc", "add", "-q", "pets"]):
        run(*command, cwd=other)
    commit(other, "pictures")
    run("dvc", "import", "-q", str(other), "pets", "-o", "data/pets", cwd=data)
    params = yaml.safe_load((data / "params.yaml").read_text())
    params["download"] |= {"source": "folder", "path": "data/pets", "classes": None, "url": None, "sha256": None}
    params["split"] |= {"method": "ratio", "fixed": None, "group": None}
    (data / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    run("dvc", "repro", "augment", cwd=data)
    assert json.loads((data / "reports/dataset.json").read_text())["kept"] == 104
    assert "data/pets" in (data / "dvc.lock").read_text()


def test_the_sheets_are_there_for_dvc_to_keep(data):
    assert run("dvc", "status", "augment", cwd=data).stdout.strip() == "Data and pipelines are up to date."
    names = {path.name for path in (data / "reports/dataset").iterdir()}
    assert names == {"classes.png", "sizes.png", *(f"{label}.jpg" for label in CLASSES)}
    assert (data / "reports/augment.jpg").stat().st_size > 1000
