"""Clones of this project, commands in them, and their params."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from darkroom.core.yaml import read_yaml
from tests.helpers.stores import new_store

ROOT = Path(__file__).parents[2]


# Params of a run that spends no time on what does not matter where DVC or MLflow is tested.
BRIEF = {
    "evaluate.bootstrap": 100, "evaluate.grad_cam": 0, "evaluate.label_issues": 0, "export.formats": ["onnx"],
    "export.check_pictures": 5,
}  # fmt: skip


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
    """Let a new process receive Ctrl-C, which background processes of a shell ignore; for Popen's preexec_fn."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def repro(folder: Path, *arguments: str, **environment: str) -> list[str]:
    """Run `dvc repro`; the stages that ran, in order."""
    output = run("dvc", "repro", *arguments, cwd=folder, **environment).stdout
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage '")]


def clone(target: Path) -> Path:
    """A git clone of this project with the uncommitted changes committed there."""
    run("git", "clone", "-q", str(ROOT), str(target), cwd=ROOT)
    names = set(run("git", "ls-files", "-co", "--exclude-standard", cwd=ROOT).stdout.splitlines())
    for name in run("git", "ls-files", cwd=target).stdout.splitlines():
        if not (ROOT / name).exists():
            (target / name).unlink()
    for name in names:
        if (ROOT / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)
    commit(target, "as it is")
    return target


def repository(folder: Path) -> None:
    """Make a folder a repository of git and DVC, without any commit."""
    run("git", "init", "-q", cwd=folder)
    (folder / ".dvc").mkdir()
    shutil.copy(ROOT / ".dvc/config", folder / ".dvc")


def commit(folder: Path, message: str) -> None:
    """Commit everything that git does not ignore."""
    run("git", "add", "-A", cwd=folder)
    author = ("-c", "user.name=Test", "-c", "user.email=test@localhost")
    run("git", *author, "commit", "-q", "--allow-empty", "-m", message, cwd=folder)


def identify(folder: Path) -> None:
    """Set git's user, without whom DVC cannot keep an experiment."""
    for key, value in (("user.name", "Test"), ("user.email", "test@localhost")):
        run("git", "config", key, value, cwd=folder)


def set_params(folder: Path, changes: dict[str, Any]) -> None:
    """Change keys such as `train.epochs` in a project's params.yaml."""
    import yaml

    content = read_yaml(folder / "params.yaml")
    for key, value in changes.items():
        *sections, last = key.split(".")
        place = content
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = value
    (folder / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False))


def set_param(folder: Path, key: str, value: Any) -> None:
    """Change one key in a project's params.yaml."""
    set_params(folder, {key: value})


def fill(folder: Path, pictures: list[Path]) -> None:
    """Put pictures into data/incoming, of class Bag only 40, and make the params small."""
    for path in pictures:
        (folder / "data/incoming" / path.parent.name).mkdir(exist_ok=True)
        shutil.copy(path, folder / "data/incoming" / path.parent.name)
    for path in sorted((folder / "data/incoming/Bag").iterdir())[40:]:
        path.unlink()
    shrink(folder)


def shrink(folder: Path, **train: Any) -> None:
    """Params of a run that takes a minute: own pictures, a small size, an early layer, few epochs."""
    small = {
        "download.source": "folder",
        "extract.image_size": [32, 32],
        "extract.layers": ["block3_pool"],
        "train.epochs": 6,
        "train.batch_size": 32,
        "evaluate.bootstrap": 200,
        "evaluate.grad_cam": 4,
        "evaluate.mistakes": 4,
        "evaluate.label_issues": 4,
        "export.check_pictures": 20,
    }
    set_params(folder, small | {f"train.{key}": value for key, value in train.items()})


def trim(folder: Path, classes: Sequence[str] | None = None, pictures: int = 8) -> None:
    """Leave few pictures of each class in each split; of all classes, or of some and no others."""
    for part in ("split/train", "split/val", "split/test", "augmented"):
        for label in list((folder / "data" / part).iterdir()):
            if label.is_dir() and classes and label.name not in classes:
                shutil.rmtree(label)
            elif label.is_dir():
                for path in sorted(label.iterdir())[pictures:]:
                    path.unlink()


def without(root: Path, *names: str) -> Callable[[str, list[str]], list[str]]:
    """For `shutil.copytree`: leave out paths below `root`."""
    left = {root / name for name in names}
    return lambda folder, entries: [name for name in entries if Path(folder) / name in left]


def copy_project(source: Path, target: Path, ignored: Any = None) -> Path:
    """Copy a project, pictures and weights by hard links: a test may replace or delete them, but not edit them."""

    def link_or_copy(file: str, copy: str) -> str:
        large = Path(file).stat().st_size >= 2**22 and not file.endswith(".db")
        if large or file.endswith(".png") or "/.git/objects/" in file or "/.dvc/cache/" in file:
            with contextlib.suppress(OSError):  # on another disk
                os.link(file, copy)
                return copy
        return shutil.copy2(file, copy)

    return shutil.copytree(source, target, symlinks=True, ignore=ignored, copy_function=link_or_copy)


@contextlib.contextmanager
def inside(project: Path, folder: Path, ignored: Any = None) -> Iterator[Path]:
    """Work in a copy of a project, with its own MLflow store."""
    import mlflow

    copy_project(project, folder, ignored)
    if not (folder / "mlflow.db").exists():
        new_store(folder / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        try:
            yield folder
        finally:
            mlflow.set_tracking_uri(None)
