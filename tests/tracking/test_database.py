"""The SQLite file of a local store: what is wrong with it is said, the remedy works, and it moves with its project."""

import contextlib
import multiprocessing
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import mlflow
import pytest

from darkroom.core.errors import UserError
from darkroom.tracking import database, store
from tests.helpers.project import ROOT, run
from tests.helpers.stores import new_store

PAGE = 4096
FILE = "mlflow.db"


@pytest.fixture
def project_store(workspace):
    """A project's store with its experiment."""
    new_store(Path(FILE))
    store.connect()
    store._prepare.cache_clear()
    yield workspace
    mlflow.set_tracking_uri(None)
    store._prepare.cache_clear()


def garbage(length):
    return bytes(range(256)) * (length // 256)


def set_revision(revision):
    with contextlib.closing(sqlite3.connect(FILE)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))


def older():
    """As an earlier version of MLflow left it."""
    from alembic import command
    from mlflow.store.db.utils import _get_alembic_config
    from sqlalchemy import create_engine

    engine = create_engine(f"sqlite:///{FILE}")
    config = _get_alembic_config(f"sqlite:///{FILE}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "-6")
    engine.dispose()


def damage_pages():
    content = bytearray(Path(FILE).read_bytes())
    for page in range(1, len(content) // PAGE):
        content[page * PAGE : page * PAGE + 512] = garbage(512)
    Path(FILE).write_bytes(content)


def as_folder():
    Path(FILE).unlink()
    Path(FILE, "inner").mkdir(parents=True)


def as_pipe():
    Path(FILE).unlink()
    os.mkfifo(FILE)


MOVED = r"`(mv mlflow.db mlflow.db.old)`"
STATES = {
    "random bytes": (lambda: Path(FILE).write_bytes(garbage(8192)), "is not an SQLite database", MOVED),
    "text": (lambda: Path(FILE).write_text("a,b\n"), "is not an SQLite database", MOVED),
    "a folder": (as_folder, "is a folder, and should be MLflow's database", MOVED),
    "a pipe": (as_pipe, "is no regular file, and should be MLflow's database", MOVED),
    "cut off": (lambda: os.truncate(FILE, 5 * PAGE), "is damaged: restore it from a backup", MOVED),
    "only its start": (lambda: os.truncate(FILE, 60), "is damaged: restore it from a backup", MOVED),
    "pages of other bytes": (damage_pages, "is damaged: restore it from a backup", MOVED),
    "of a newer MLflow": (lambda: set_revision("f" * 12), "written by a newer version of MLflow", MOVED),
}


@pytest.mark.parametrize("state", STATES)
def test_each_state_has_its_sentence_and_a_remedy_that_works(project_store, state):
    change, sentence, remedy = STATES[state]
    mlflow.MlflowClient()  # its engines are cached
    _forget()
    change()
    with pytest.raises(UserError, match=sentence) as raised:
        store.connect()
    assert "\n" not in str(raised.value)
    command = re.search(remedy, str(raised.value))[1]
    subprocess.run(command, shell=True, check=True, cwd=project_store)
    shutil.copy(_template(), FILE)  # what MLflow would make, in seconds
    _forget()
    assert store.connect()


def _template():
    path = Path("template.db").resolve()
    if not path.exists():
        new_store(path)
    return path


def _forget():
    """MLflow keeps its connections to a database for as long as the process lives."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
    from mlflow.tracking._tracking_service import utils

    utils._tracking_store_registry._get_store_with_resolved_uri.cache_clear()
    for engine in SqlAlchemyStore._engine_map.values():
        engine.dispose()
    SqlAlchemyStore._engine_map.clear()


def test_an_older_database_is_upgraded_with_its_runs(project_store):
    """MLflow does so where tables are missing, and there are some."""
    run_id = log_something(project_store)
    _forget()
    older()
    assert store.connect()
    assert mlflow.get_run(run_id).info.status == "FINISHED"


def test_where_mlflow_asks_for_an_upgrade_the_command_is_named(project_store):
    """It has all tables, and an older number."""
    _forget()
    set_revision("75868b020152")
    with pytest.raises(UserError) as raised:
        store.connect()
    assert str(raised.value).endswith(
        "was written by an older version of MLflow: copy it (`cp mlflow.db mlflow.db.old`), then `mlflow db upgrade "
        f"sqlite:///{project_store}/mlflow.db`."
    )


def test_a_locked_database_names_the_program(project_store, monkeypatch):
    monkeypatch.setattr(database, "LOCK_SECONDS", 0.2)
    hold = "import sqlite3; c = sqlite3.connect('mlflow.db'); c.execute('BEGIN EXCLUSIVE'); print(flush=True); input()"
    process = subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdout.readline()
    with pytest.raises(UserError, match=rf"is locked by another program \(.*, process {process.pid}\): wait for it"):
        store.connect()
    process.communicate(b"\n")
    assert store.connect()


def test_an_empty_file_becomes_a_database(workspace, monkeypatch):
    Path(FILE).touch()
    database.check(Path(FILE).resolve())


@pytest.mark.skipif(os.getuid() != 0, reason="needs two users")
@pytest.mark.parametrize(
    ("mode", "sentence"),
    [(0o644, r"database .*mlflow.db can only be read: .*chmod u\+w"), (0o600, "Permission denied")],
)
def test_a_database_of_somebody_else_is_named(mode, sentence):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, FILE)
        new_store(path)
        path.chmod(mode)
        path.parent.chmod(0o755)
        process = multiprocessing.get_context("fork").Process(target=_check_as_nobody, args=(path, sentence))
        process.start()
        process.join()
        assert process.exitcode == 0


def _check_as_nobody(path, sentence):
    os.setuid(65534)
    with pytest.raises((UserError, PermissionError), match=sentence):
        database.check(path)


def log_something(folder):
    """Log a run with an artifact in the current folder's store."""
    experiment = store.connect()
    with mlflow.start_run(experiment_id=experiment, tags={"workspace": str(folder)}) as active:
        mlflow.log_text("hello", "sub/greeting.txt")
    return active.info.run_id


@pytest.mark.parametrize("how", ["moved", "copied"])
def test_a_project_takes_its_store_along(project_store, tmp_path_factory, monkeypatch, capsys, how):
    run_id = log_something(project_store)
    mlflow.MlflowClient().create_registered_model("m")
    source = f"{mlflow.get_run(run_id).info.artifact_uri}/sub"
    mlflow.MlflowClient().create_model_version("m", source, run_id)
    _forget()
    target = tmp_path_factory.mktemp("other") / "place"
    (shutil.move if how == "moved" else shutil.copytree)(project_store, target)
    monkeypatch.chdir(target)
    store.connect()
    assert re.search(r"MLflow: \d+ addresses in mlflow.db changed from .* to this folder", capsys.readouterr().out)
    again = mlflow.get_run(run_id)
    assert again.info.artifact_uri.startswith(target.as_uri())
    assert again.data.tags["workspace"] == str(target)
    assert mlflow.MlflowClient().get_model_version("m", "1").source == f"{again.info.artifact_uri}/sub"
    assert mlflow.artifacts.load_text(f"runs:/{run_id}/sub/greeting.txt") == "hello"
    second = log_something(target)
    assert (target / "mlartifacts" / second / "artifacts/sub/greeting.txt").exists()
    if how == "copied":  # and leaves the original alone
        assert not (project_store / "mlartifacts" / second).exists()
        with contextlib.closing(sqlite3.connect(project_store / FILE)) as connection:
            assert str(target) not in "".join(connection.iterdump())
    store._prepare.cache_clear()
    store.connect()
    assert "addresses" not in capsys.readouterr().out


def test_files_that_are_elsewhere_only_keep_their_address(project_store, tmp_path_factory, monkeypatch):
    run_id = log_something(project_store)
    _forget()
    target = tmp_path_factory.mktemp("copy")
    for name in (FILE, "params.yaml"):
        shutil.copy(project_store / name, target)
    monkeypatch.chdir(target)
    store.connect()
    assert mlflow.artifacts.load_text(f"runs:/{run_id}/sub/greeting.txt") == "hello"
    second = log_something(target)
    assert (target / "mlartifacts" / second).exists()


SCRIPT = """
import mlflow
from pathlib import Path
from darkroom.tracking import store
experiment = store.connect()
with mlflow.start_run(experiment_id=experiment) as run:
    mlflow.log_text("hello", "greeting.txt")
assert mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/greeting.txt") == "hello"
assert Path("mlartifacts", run.info.run_id, "artifacts/greeting.txt").exists()
"""


@pytest.mark.full
def test_folders_of_any_name_hold_their_store(workspace):
    folder = workspace / "a%20b #ä?'"
    folder.mkdir()
    shutil.copy("params.yaml", folder)
    new_store(folder / FILE)
    run("python", "-c", SCRIPT, cwd=folder, PYTHONPATH=str(ROOT))
    listing = run(
        "mlflow", "runs", "list", "--experiment-id", "1", cwd=folder, MLFLOW_TRACKING_URI="sqlite:///mlflow.db"
    )
    assert re.search("[0-9a-f]{32}", listing.stdout)
    assert sorted(entry.name for entry in workspace.iterdir()) == sorted([folder.name, "params.yaml"])
    assert {entry.name for entry in folder.iterdir()} == {FILE, "mlartifacts", "params.yaml", ".cache"}
