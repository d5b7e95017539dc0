"""Errors of the machine, such as a full disk, end the stage; they make no picture a bad one."""

import errno
import os
from pathlib import Path

import pytest
from PIL import Image

from darkroom.core.errors import is_of_the_machine
from darkroom.download.sources.base import SourceFile
from darkroom.download.validation import Bounds, Job, check
from darkroom.images.decode import decode
from tests.helpers.odd_files import photo
from tests.helpers.pictures import save


@pytest.mark.parametrize(
    ("code", "reason"),
    [(errno.EACCES, "cannot be read (Permission denied)"), (errno.EIO, "cannot be read (Input/output error)")],
)
@pytest.mark.parametrize("method", ["is_file", "stat", "read_bytes"])
def test_a_file_that_cannot_be_read_is_bad(method, code, reason, tmp_path, monkeypatch):
    assert failing(method, code, tmp_path, monkeypatch).reason == reason


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENOMEM])
def test_a_failing_machine_makes_no_file_bad(code, tmp_path, monkeypatch):
    with pytest.raises(OSError, match=os.strerror(code)):
        failing("read_bytes", code, tmp_path, monkeypatch)


def failing(method, code, tmp_path, monkeypatch):
    """The result for a good picture whose file raises an error."""
    save(tmp_path / "1.png", photo(1))

    def fail(path):
        raise OSError(code, os.strerror(code), str(path))

    monkeypatch.setattr(Path, method, fail)
    return check(job(tmp_path / "1.png", tmp_path / "out.png"))


def job(content, target):
    return Job(SourceFile("train", "cat", "1.png", content), target.name, target.parent, Bounds(1, 1e6), 1)


def test_a_full_disk_makes_no_picture_bad(tmp_path):
    save(tmp_path / "1.png", photo(1))
    (tmp_path / "out.png").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as caught:
        check(job(tmp_path / "1.png", tmp_path / "out.png"))
    assert is_of_the_machine(caught.value)


def test_too_little_memory_makes_no_picture_bad(tmp_path, monkeypatch):
    save(tmp_path / "1.png", photo(1))

    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(Image.Image, "convert", fail)
    with pytest.raises(MemoryError):
        decode(tmp_path / "1.png")
