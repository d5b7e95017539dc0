import hashlib
import shutil

import numpy as np
import pytest
from dvc.repo import Repo

from darkroom.core import hashing
from darkroom.core.hashing import (
    PACKAGE,
    arrays_sha256,
    code_digest,
    code_files,
    folder_sha256,
    listing_md5,
    md5s,
    sha256,
)
from tests.helpers.project import ROOT, run


def test_the_hash_of_a_folder_is_that_of_a_stated_list_of_its_files(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b/a.txt").write_text("one")
    (tmp_path / "b.txt").write_text("two")
    one, two = (hashlib.sha256(text).hexdigest() for text in (b"one", b"two"))
    assert sha256(tmp_path / "b/a.txt") == one
    assert folder_sha256(tmp_path) == hashlib.sha256(f"{two}  b.txt\n{one}  b/a.txt\n".encode()).hexdigest()
    expected = run("bash", "-c", "LC_ALL=C sha256sum b.txt b/a.txt | sha256sum", cwd=tmp_path).stdout.split()[0]
    assert folder_sha256(tmp_path) == expected
    shutil.copytree(tmp_path, tmp_path / "b/copy", ignore=shutil.ignore_patterns("copy"))
    assert folder_sha256(tmp_path / "b/copy") == expected
    (tmp_path / "b/copy/b/a.txt").rename(tmp_path / "b/copy/b/c.txt")
    assert folder_sha256(tmp_path / "b/copy") != expected


def test_the_hash_of_arrays_depends_on_values_shapes_and_order():
    first, second = np.arange(6, dtype=np.float32).reshape(2, 3), np.ones(2, np.float32)
    digest = arrays_sha256([first, second])
    assert arrays_sha256([np.asfortranarray(first), second.astype(">f4")]) == digest
    others = ([second, first], [first], [first.reshape(3, 2), second], [first, second * 2], [first.T, second])
    assert len({digest, *map(arrays_sha256, others)}) == 6


def test_the_md5_of_a_folder_is_dvcs(tmp_path):
    run("git", "init", "-q", cwd=tmp_path)
    run("dvc", "init", "-q", cwd=tmp_path)
    for name in ("data/cat/1.png", "data/cat/10.png", "data/Dog/ä.png", "data/.hidden.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    with Repo(str(tmp_path)) as repository:
        (stage,) = repository.add(str(tmp_path / "data"))
    digest = listing_md5(md5s(tmp_path / "data"))
    assert digest == stage.outs[0].hash_info.value
    assert digest.endswith(".dir")


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the library, whose code is hashed in place of this one's."""
    shutil.copytree(PACKAGE, tmp_path / "darkroom", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(hashing, "PACKAGE", tmp_path / "darkroom")
    return tmp_path / "darkroom"


def test_code_is_that_of_a_room_and_of_the_rooms_it_imports(package):
    digest = code_digest("extract")
    assert digest == code_digest("extract")
    rooms = {path.relative_to(package).parts[0] for path in code_files("extract")}
    assert rooms == {"__init__.py", "core", "images", "backbones", "extract"}
    for changed in (
        "extract/forward.py",
        "core/seeds.py",
        "backbones/keras_apps.py",
        "extract/new.py",
        "core/page.html",
    ):
        path = package / changed
        before = path.read_bytes() if path.exists() else None
        path.write_bytes((before or b"") + b"\n")
        assert code_digest("extract") != digest, changed
        if before is None:
            path.unlink()
        else:
            path.write_bytes(before)
        assert code_digest("extract") == digest, changed
    for unrelated in ("tracking/store.py", "pipeline/params.py", "train/loop.py", "commands/summary.py"):
        (package / unrelated).write_text("")
    (package / "core/__pycache__").mkdir()
    (package / "core/__pycache__/seeds.pyc").touch()
    assert code_digest("extract") == digest


def test_a_command_is_a_room_of_its_own(package):
    digest = code_digest("commands/sweep")
    (package / "commands/summary.py").write_text("")
    (package / "commands/compare/paired.py").write_text("")
    assert code_digest("commands/sweep") == digest
    (package / "commands/sweep/search.py").write_text("")
    assert code_digest("commands/sweep") != digest
    (package / "commands/alone.py").write_text("from darkroom.core import seeds\n")
    assert {path.name for path in code_files("commands/alone")} >= {"alone.py", "seeds.py"}


def test_the_imports_of_a_room_are_found_wherever_they_are(package):
    (package / "extract/new.py").write_text("def f():\n    from darkroom.augment import params\n    return params\n")
    assert package / "augment/transforms.py" in code_files("extract")


def test_the_package_is_this_projects():
    assert PACKAGE == ROOT / "darkroom"
