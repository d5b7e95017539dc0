"""Real pictures for all tests: Fashion-MNIST as the download stage brings it, and a small project around it."""

import atexit
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from filelock import FileLock
from PIL import Image

from stages import download
from stages.common import hardware
from stages.common.data import sources
from stages.common.files import write_json
from stages.common.training.train_params import Descent

ROOT = Path(__file__).parents[1]
PATH = list(sys.path)
PER_CLASS = 60
FASHION = "fashion_mnist:3.0.1"
CLASSES = ["Bag", "Coat", "Sandal"]


@pytest.fixture(scope="session", autouse=True)
def tensorflow():
    """The set-up that every stage with tensors begins with."""
    hardware.prepare(0)


def made_once(tmp_path_factory, name, make):
    """A folder that the first of pytest's processes makes by `make(folder)`, for all of them to read."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, done = base / name, base / f"{name}.done"
    with FileLock(base / f"{name}.lock"):
        if not done.exists():
            folder.mkdir()
            make(folder)
            done.touch()
    return folder


@pytest.fixture(scope="session")
def fashion(tmp_path_factory):
    """`(folder, report)`: train/<class>/ with 60 pictures of each class, and the official test part whole."""

    def make(folder):
        # Two runs of the tests would prepare the set in the same place at the same time.
        with FileLock(Path(tempfile.gettempdir()) / f"darkroom-{os.getuid()}.lock"):
            report = download.keep(sources.from_tfds(FASHION), folder, wanted(limit_per_class=PER_CLASS), seed=42)
        write_json(folder / "report.json", report)

    folder = made_once(tmp_path_factory, "fashion", make)
    return folder, json.loads((folder / "report.json").read_text())


@pytest.fixture(autouse=True)
def own_code():
    """MLflow puts the code of a model that it loads before the project's, where new processes would find it."""
    yield
    sys.path[:] = PATH


@pytest.fixture(scope="session")
def pictures(fashion):
    """Paths of 600 real pictures, in canonical order."""
    return sorted((fashion[0] / "train").rglob("*.png"))


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
    for label in CLASSES:
        files = sorted((fashion[0] / "train" / label).iterdir())
        for part, chosen in (("train", files[:30]), ("val", files[30:40]), ("test", files[40:50])):
            (workspace / "data/split" / part / label).mkdir(parents=True)
            for path in chosen:
                shutil.copy(path, workspace / "data/split" / part / label)
    (workspace / "data/augmented").mkdir()
    (workspace / "data/augmented/.left_out.csv").write_text("picture\n")
    return workspace


@pytest.fixture
def window():
    """`window(width)` opens a page in a real browser: the page, what goes wrong in it, the addresses it asks for."""
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium") or shutil.which("google-chrome")
    assert program, "these tests need a browser: apt install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])

        def opened(width):
            page, problems, asked = browser.new_page(viewport={"width": width, "height": 844}), [], []
            page.on("console", lambda said: problems.append(said.text) if said.type in ("error", "warning") else None)
            page.on("pageerror", lambda error: problems.append(str(error)))
            page.on("request", lambda request: asked.append(request.url))
            return page, problems, asked

        yield opened
        browser.close()


def without(root: Path, *names: str) -> Callable[[str, list[str]], list[str]]:
    """What `shutil.copytree` is to leave out: paths below `root`."""
    left = {root / name for name in names}
    return lambda folder, found: [name for name in found if Path(folder) / name in left]


@contextlib.contextmanager
def inside(project: Path, folder: Path, ignored: Any = None) -> Iterator[Path]:
    """Work in a copy of a project, with its own MLflow store."""
    import mlflow

    shutil.copytree(project, folder, symlinks=True, ignore=ignored)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        try:
            yield folder
        finally:
            mlflow.set_tracking_uri(None)


@pytest.fixture
def pulled(project, tmp_path):
    """The small project's outputs without its store, as somebody has them who pulled them."""
    folder = tmp_path / "pulled"
    with inside(project, folder, without(project, "mlflow.db", "mlartifacts", ".cache", ".dvc/cache", "data")):
        (folder / "data").mkdir()
        yield folder


def session(seed=1, log=lambda *_: None):
    """What a training needs besides data: a state folder of its own, which no other training finds."""
    from stages.common.training.training import Session

    folder = tempfile.mkdtemp(prefix="darkroom-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Session(seed, Path(folder), log)


def descent(**changes):
    """Settings of gradient descent."""
    known = {"epochs": 4, "patience": 5, "batch_size": 32, "optimizer": "adam", "learning_rate": 0.001}
    return Descent(**{**known, **changes})


def wanted(**changes: object) -> download.Params:
    """Params of the download stage: everything is kept that is good, and a bad file is an error."""
    return download.Params(
        **{"source": "folder", "name": FASHION, "path": "data/incoming", "limit_per_class": None, "on_bad": "fail"}
        | changes
    )


def save(path: Path, pixels: np.ndarray) -> Path:
    """Write pixels as a picture file whose format the name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def run(*command: str, cwd: Path, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command with this interpreter's programs first on the PATH; `python` is this interpreter."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, "PATH": path, **environment}, capture_output=True, text=True
    )
    if check:
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


def interruptible() -> None:
    """Let a new process hear Ctrl-C, which those in a shell's background are born deaf to; for Popen's preexec_fn."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def clone(target: Path) -> Path:
    """A git clone of this project, with what is not committed yet on top, committed there."""
    run("git", "clone", "-q", str(ROOT), str(target), cwd=ROOT)
    for name in run("git", "ls-files", "-co", "--exclude-standard", cwd=ROOT).stdout.splitlines():
        if (ROOT / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)
    commit(target, "as it is")
    return target


def commit(folder: Path, message: str) -> None:
    """Commit everything that git does not ignore."""
    run("git", "add", "-A", cwd=folder)
    name = ("-c", "user.name=Test", "-c", "user.email=test@localhost")
    run("git", *name, "commit", "-q", "--allow-empty", "-m", message, cwd=folder)


@pytest.fixture(scope="session")
def project(tmp_path_factory, pictures):
    """A clone with 580 real pictures in data/incoming (one class is smaller), small params, and all stages run once."""

    def make(folder):
        clone(folder / "darkroom")
        fill(folder / "darkroom", pictures)
        run("dvc", "repro", cwd=folder / "darkroom")
        commit(folder / "darkroom", "first run")

    made = made_once(tmp_path_factory, "project", make)
    # Each process has its own, since tests leave files there.
    return shutil.copytree(made / "darkroom", tmp_path_factory.mktemp("project") / "darkroom", symlinks=True)


def fill(folder: Path, pictures: list[Path]) -> None:
    """Put pictures, of one class fewer, into data/incoming, and make the params small."""
    for path in pictures:
        (folder / "data/incoming" / path.parent.name).mkdir(exist_ok=True)
        shutil.copy(path, folder / "data/incoming" / path.parent.name)
    for path in sorted((folder / "data/incoming/Bag").iterdir())[40:]:
        path.unlink()
    shrink(folder)


def shrink(folder: Path, **train: object) -> None:
    """Params of a run that takes a minute: own pictures, a small size, an early layer, few epochs."""
    content = yaml.safe_load((folder / "params.yaml").read_text())
    content["download"]["source"] = "folder"
    content["extract"] |= {"image_size": [32, 32], "layers": ["block3_pool"]}
    content["train"] |= {"epochs": 6, "batch_size": 32, **train}
    content["evaluate"] |= {"bootstrap": 200, "grad_cam": 4, "mistakes": 4, "label_issues": 4}
    content["export"]["check_pictures"] = 20
    (folder / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
