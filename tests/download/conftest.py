"""Fixtures for tests of the download stage."""

import pytest

from darkroom.core import parallel
from darkroom.core.errors import UserError
from darkroom.download.archives.unpack import unpack
from tests.helpers.archive_files import LIMITS, under


@pytest.fixture
def single_process(monkeypatch):
    """All work in this process: other processes would import the libraries again."""
    monkeypatch.setattr(parallel, "ALONE_SECONDS", float("inf"))


@pytest.fixture
def folder(tmp_path):
    """The folder to unpack into; the one around it contains files that must not change."""
    (tmp_path / "around").mkdir()
    (tmp_path / "around/x").write_text("untouched")
    (tmp_path / "around/in").mkdir()
    yield tmp_path / "around/in"
    outside = {name: data for name, data in under(tmp_path / "around").items() if not name.startswith("in/")}
    assert outside == {"x": b"untouched"}
    assert not any(path.is_symlink() for path in (tmp_path / "around").rglob("*"))


@pytest.fixture
def refused(folder):
    """Unpack, and return the UserError's message."""

    def unpacked(archive, limits=LIMITS):
        with pytest.raises(UserError) as caught:
            unpack(archive, folder, limits)
        assert archive.name in str(caught.value)
        return str(caught.value)

    return unpacked
