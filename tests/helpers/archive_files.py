"""Archives made for tests, and where they are unpacked."""

import io
import random
import tarfile
import zipfile

import pytest

from darkroom.core.errors import UserError
from darkroom.download.archives import Limits, unpack

LIMITS = Limits(10**7, 1000)
NOISE = random.Random(1).randbytes(300_000)  # does not get smaller by compression, as pictures don't
NAMES = [f"{label}/{number}.jpg" for label in ("cat", "dog") for number in range(5)]
TREE = {name: NOISE[number * 1000 :][: 700 + number] for number, name in enumerate(NAMES)}


def zipped(path, files, compression=zipfile.ZIP_DEFLATED, **attributes):
    """A zip of `files`, by name; a list of pairs may hold a name twice."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in files.items() if isinstance(files, dict) else files:
            info = zipfile.ZipInfo(name)
            info.compress_type = compression
            for key, value in attributes.items():
                setattr(info, key, value)
            archive.writestr(info, data)
    return path


def tarred(path, files, mode="w", **attributes):
    with tarfile.open(path, mode) as archive:
        for name, data in files.items() if isinstance(files, dict) else files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            for key, value in attributes.items():
                setattr(info, key, value)
            archive.addfile(info, io.BytesIO(data))
    return path


def make(path, files):
    """An archive of the kind that its name says."""
    modes = {".gz": "w:gz", ".tgz": "w:gz", ".bz2": "w:bz2", ".xz": "w:xz"}
    return zipped(path, files) if path.suffix == ".zip" else tarred(path, files, modes.get(path.suffix, "w"))


def under(folder):
    """All files below a folder, with what is in them; links are not followed."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def folder(tmp_path):
    """Where to unpack; the folder around it holds files that must stay as they are."""
    (tmp_path / "around").mkdir()
    (tmp_path / "around/x").write_text("as it was")
    (tmp_path / "around/in").mkdir()
    yield tmp_path / "around/in"
    outside = {name: data for name, data in under(tmp_path / "around").items() if not name.startswith("in/")}
    assert outside == {"x": b"as it was"}
    assert not any(path.is_symlink() for path in (tmp_path / "around").rglob("*"))


@pytest.fixture
def refused(folder):
    """Unpack, and return what the UserError says."""

    def unpacked(archive, limits=LIMITS):
        with pytest.raises(UserError) as caught:
            unpack(archive, folder, limits)
        assert archive.name in str(caught.value)
        return str(caught.value)

    return unpacked


KINDS = ["x.zip", "x.tar", "x.tar.gz", "x.tgz", "x.tar.bz2", "x.tar.xz"]
EVERY = pytest.mark.parametrize("kind", KINDS)
BOTH = pytest.mark.parametrize("kind", ["x.zip", "x.tar"])
