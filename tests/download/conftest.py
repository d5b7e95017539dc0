"""Fixtures for tests of the download stage."""

import pytest

from darkroom.core import parallel


@pytest.fixture
def single_process(monkeypatch):
    """All work in this process: other processes would import the libraries again."""
    monkeypatch.setattr(parallel, "ALONE_SECONDS", float("inf"))
