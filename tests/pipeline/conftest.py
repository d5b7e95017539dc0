"""Fixtures for tests of DVC's part."""

import pytest

from tests.helpers.cheap import CLASSES, simplified
from tests.helpers.once import made_once
from tests.helpers.project import clone, commit, copy_project, identify, repro


@pytest.fixture(scope="session")
def cheap(tmp_path_factory):
    """A clone with DVC's real graph and stages that take no time, all of which have run. For reading."""

    def make(folder):
        project = simplified(clone(folder / "darkroom"))
        identify(project)
        for number in range(9):
            picture = project / "data/incoming" / CLASSES[number % 3] / f"{number}.png"
            picture.parent.mkdir(exist_ok=True)
            picture.write_text(f"picture {number}")
        commit(project, "cheap stages")
        repro(project)
        commit(project, "first run")

    return made_once(tmp_path_factory, "cheap", make) / "darkroom"


@pytest.fixture
def cheap_copy(cheap, tmp_path):
    """The same, for a test to change."""
    return copy_project(cheap, tmp_path / "copy")
