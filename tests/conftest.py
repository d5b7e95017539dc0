"""Fixtures for all tests: real pictures, an empty workspace, and a small project in which every stage has run."""

import os
import shutil
import sys
import tempfile
from hashlib import sha256
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import settings

from darkroom.core import runtime  # first of all, since it sets what TensorFlow reads when a test module imports it
from tests.helpers.once import made_once
from tests.helpers.pictures import FASHION, PER_CLASS, download_params, write_splits
from tests.helpers.project import ROOT, clone, commit, copy_project, fill, inside, run, without

PATH = list(sys.path)
# Tests assert no times, and an example may have to import something.
settings.register_profile("darkroom", deadline=None)
settings.load_profile("darkroom")


def pytest_collection_modifyitems(items):
    """Put the files that test the small project first: one process makes it while the other has tests without it.

    Of both kinds, those with longer tests come first: one of them at the very end would leave the other process idle.
    """
    project = {item.path for item in items if "project" in item.fixturenames}
    longer = {item.path for item in items if item.get_closest_marker("full")}
    items.sort(key=lambda item: (item.path not in project, item.path not in longer))


@pytest.fixture(scope="session")
def tensorflow():
    """TensorFlow, set up as every stage with tensors does it. Tests that compute with it ask for this fixture."""
    runtime.prepare(0)


@pytest.fixture(scope="session")
def fashion(tmp_path_factory):
    """A folder of real pictures: train/<class>/ with 60 of each class, and test/<class>/ with 2,500 in all."""

    def make(folder):
        from darkroom.download.sources import tfds
        from stages import download

        params = download_params(source="tfds", name=FASHION, limit_per_class=PER_CLASS)
        # Two runs of the tests would prepare the set in the same place at the same time.
        with FileLock(Path(tempfile.gettempdir()) / f"darkroom-{os.getuid()}.lock"):
            files = list(tfds.read(params, folder).files)
        chosen = [file for file in files if file.part == "test" and file.name < "002500"]
        # Those that would be kept of all 60,000; a few more, since some may be copies.
        train = [file for file in files if file.part == "train"]
        train.sort(key=lambda file: sha256(b"42/" + file.content).digest())
        for label in {file.label for file in train}:
            chosen += [file for file in train if file.label == label][: PER_CLASS + 5]
        download.collect(chosen, folder, params, seed=42)

    return made_once(tmp_path_factory, "fashion", make)


@pytest.fixture(autouse=True)
def own_process():
    """Restore what MLflow changes in the process: it puts the code of a model that it loads before the project's, and
    the address of the store into the environment, which later tests' processes would inherit."""
    address = os.environ.get("MLFLOW_TRACKING_URI")
    yield
    sys.path[:] = PATH
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    if address:
        os.environ["MLFLOW_TRACKING_URI"] = address


@pytest.fixture(scope="session")
def pictures(fashion):
    """Paths of 600 real pictures, in canonical order."""
    return sorted((fashion / "train").rglob("*.png"))


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """An empty project folder with the real params.yaml, as the current one."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


@pytest.fixture
def tuning(workspace, fashion):
    """A split project: 30 pictures of each of three classes in train, 10 in val and in test."""
    write_splits(workspace, fashion / "train")
    return workspace


@pytest.fixture
def window():
    """`window(width)` opens a page in a real browser: the page, its console's problems, the addresses it requests."""
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium") or shutil.which("google-chrome")
    assert program, "these tests need a browser: apt install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])

        def opened(width, **options):
            page = browser.new_page(viewport={"width": width, "height": 844}, **options)
            problems, asked = [], []
            page.on("console", lambda line: problems.append(line.text) if line.type in ("error", "warning") else None)
            page.on("pageerror", lambda error: problems.append(str(error)))
            page.on("request", lambda request: asked.append(request.url))
            return page, problems, asked

        yield opened
        browser.close()


@pytest.fixture(scope="session")
def project(tmp_path_factory, pictures):
    """A clone with 580 real pictures in data/incoming (one class is smaller), small params, and all stages run once."""

    def make(folder):
        clone(folder / "darkroom")
        fill(folder / "darkroom", pictures)
        run("python", "-m", "tests.helpers.first_run", cwd=folder / "darkroom")
        commit(folder / "darkroom", "first run")

    made = made_once(tmp_path_factory, "project", make)
    # Each process has its own copy, since tests leave files there.
    return copy_project(made / "darkroom", tmp_path_factory.mktemp("project") / "darkroom")


@pytest.fixture
def pulled(project, tmp_path):
    """The small project's outputs without caches and MLflow's store, as after `dvc pull` in a new clone."""
    folder = tmp_path / "pulled"
    with inside(project, folder, without(project, "mlflow.db", "mlartifacts", ".cache", ".dvc/cache", "data")):
        (folder / "data").mkdir()
        yield folder


@pytest.fixture
def copy(project, tmp_path):
    """The small project with its outputs, pictures and caches, for a test to change."""
    return copy_project(project, tmp_path / "copy")
