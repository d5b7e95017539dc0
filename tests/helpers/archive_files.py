"""Archives for tests, and the folder that they are unpacked into."""

import io
import random
import tarfile
import zipfile

import pytest

from darkroom.download.archives.members import Limits

LIMITS = Limits(10**7, 1000)
NOISE = random.Random(1).randbytes(300_000)  # incompressible, like pictures
NAMES = [f"{label}/{number}.jpg" for label in ("cat", "dog") for number in range(5)]
TREE = {name: NOISE[number * 1000 :][: 700 + number] for number, name in enumerate(NAMES)}


def zipped(path, files, compression=zipfile.ZIP_DEFLATED, **attributes):
    """A zip of `files`, by name; a list of pairs may contain a name twice."""
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


def seven_zipped(path, files, attributes=None, **options):
    """A 7z archive; names and attributes are written as they are, even where py7zr would refuse them."""
    import py7zr

    with py7zr.SevenZipFile(path, "w", **options) as archive:
        for name, data in files.items() if isinstance(files, dict) else files:
            archive.writestr(data, "x")
            info = archive.header.files_info.files[-1]
            info["filename"] = name
            if attributes is not None:
                info["attributes"] = attributes
    return path


def make(path, files):
    """An archive of the kind in its name."""
    modes = {".gz": "w:gz", ".bz2": "w:bz2", ".xz": "w:xz"}
    if path.suffix == ".zip":
        return zipped(path, files)
    if path.suffix == ".7z":
        return seven_zipped(path, files)
    tarred(path, files, modes.get(path.suffix, "w"))
    if path.suffix == ".zst":
        from backports import zstd

        options = {zstd.CompressionParameter.checksum_flag: 1}
        path.write_bytes(zstd.compress(path.read_bytes(), options=options))
    return path


def under(folder):
    """All files below a folder with their content; links are not followed."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


KINDS = ["x.zip", "x.7z", "x.tar", "x.tar.gz", "x.tar.bz2", "x.tar.xz", "x.tar.zst"]
EVERY = pytest.mark.parametrize("kind", KINDS)
BOTH = pytest.mark.parametrize("kind", ["x.zip", "x.7z", "x.tar"])  # with names as they are given
