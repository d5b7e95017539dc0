"""Projects that are killed, starved of space or closed off, as often as need be."""

import pytest

from tests.helpers.once import made_once
from tests.helpers.project import copy_project
from tests.helpers.tiny import run_all, tiny
from tests.pipeline.conftest import cheap, cheap_copy  # noqa: F401


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A tiny project in which all stages have run. For reading."""
    return made_once(tmp_path_factory, "tiny", lambda folder: run_all(tiny(folder / "darkroom"))) / "darkroom"


@pytest.fixture(scope="session")
def fresh(tmp_path_factory):
    """A tiny project in which no stage has run. For reading."""
    return made_once(tmp_path_factory, "fresh", lambda folder: tiny(folder / "darkroom")) / "darkroom"


@pytest.fixture
def done(finished, tmp_path):
    """A tiny project in which all stages have run, for a test to change."""
    return copy_project(finished, tmp_path / "darkroom")
