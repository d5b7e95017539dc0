"""What stops DVC and is cleared before it runs, and what is only explained."""

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from dvc.repo import Repo

from darkroom.core.errors import UserError
from darkroom.pipeline import dvc_state
from tests.helpers.project import ROOT, commit, repository, run

DEAD = 2**22 + 1  # no process has such a number


@pytest.fixture
def clean(workspace):
    """A repository that DVC has opened."""
    repository(workspace)
    with Repo(".") as repo, repo.lock:
        pass
    return workspace


def entry(pid, cmd="/bin/dvc repro"):
    return {"pid": pid, "cmd": cmd}


def rwlock(content):
    Path(".dvc/tmp/rwlock").write_text(json.dumps(content))


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"\xff\xfe\x00", b"[]", b"null", b"[" * 100_000, b'{"write": []}', b'{"other": {}}',
        b'{"write": {"a": 5}}', b'{"read": {"a": {"pid": 1, "cmd": "dvc"}}}',
        b'{"write": {"a": {"pid": "1", "cmd": ""}}}',
        b'{"read": {"a": [{"pid": 1}]}}', None,
    ],
)  # fmt: skip
def test_a_damaged_list_of_locks_is_deleted(clean, capsys, content):
    path = Path(".dvc/tmp/rwlock")
    path.mkdir() if content is None else path.write_bytes(content)
    dvc_state.repair()
    assert not path.exists()
    assert ".dvc/tmp/rwlock is " in capsys.readouterr().err
    dvc_state.repair()
    assert capsys.readouterr() == ("", "")


def test_locks_of_dead_processes_are_removed_and_those_of_living_ones_stay(clean, capsys):
    living = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "dvc", "repro"])
    other = subprocess.Popen(["sleep", "60"])  # has the number that a process of DVC had
    zombie = subprocess.Popen([sys.executable, "-c", "pass", "dvc"])
    try:
        os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
        time.sleep(0.1)
        stays = {"read": {"/a": [entry(living.pid)]}, "write": {"/b": entry(living.pid)}}
        rwlock(stays)
        dvc_state.repair()
        assert capsys.readouterr() == ("", "")
        gone = (entry(DEAD), entry(other.pid), entry(zombie.pid), entry(2**70))
        rwlock(
            {
                "read": {"/a": [entry(living.pid), *gone], "/c": list(gone)},
                "write": stays["write"] | {f"/{number}": info for number, info in enumerate(gone)},
            }
        )
        dvc_state.repair()
        assert "listed processes that no longer run" in capsys.readouterr().err
        assert json.loads(Path(".dvc/tmp/rwlock").read_text()) == stays
        Path(".dvc/tmp/rwlock").write_text("")
        with pytest.raises(UserError, match=rf"rwlock is damaged while DVC runs \(process {living.pid}\)"):
            dvc_state.repair()
    finally:
        for process in (living, other, zombie):
            process.kill()
            process.wait()


def test_a_pipe_in_place_of_a_file_is_not_waited_for(clean, capsys):
    for name in ("rwlock", "lock"):
        Path(".dvc/tmp", name).unlink(missing_ok=True)
        os.mkfifo(f".dvc/tmp/{name}")
    dvc_state.repair()
    assert not os.path.lexists(".dvc/tmp/rwlock")
    assert capsys.readouterr().err.count("is something else than DVC's own file: it was deleted.") == 2


def test_folders_in_place_of_files_and_damaged_entries_of_the_run_cache(clean, capsys):
    for name in ("rwlock", "rwlock.lock", "lock", "btime"):
        path = Path(".dvc/tmp", name)
        path.unlink(missing_ok=True)
        (path / "x").mkdir(parents=True)
    for name, content in (("good", b"cmd: x\n"), ("empty", b""), ("binary", b"\xff")):
        path = Path(".dvc/cache/runs/aa/aabb", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    Path(".dvc/cache/runs/aa/aabb/folder").mkdir()
    Path(".dvc/cache/runs/aa/aacc").mkdir()
    dvc_state.repair()
    assert [path.name for path in Path(".dvc/cache/runs/aa/aabb").iterdir()] == ["good"]
    assert [path.name for path in Path(".dvc/cache/runs/aa").iterdir()] == ["aabb"]
    assert not any(path.is_dir() for path in Path(".dvc/tmp").iterdir())
    assert len(capsys.readouterr().err.splitlines()) == 7
    with Repo(".") as repo, repo.lock:
        pass


def test_a_damaged_database_is_replaced(clean, capsys):
    """Its place depends on the age of a file, so that DVC begins another one."""
    seed = time.time_ns()
    print(f"seed {seed}")
    for place in ("hashes/local/cache.db", "links/cache.db"):
        for content in (b"words", random.Random(seed).randbytes(9000)):
            with Repo(".") as repo:
                database = Path(repo.site_cache_dir, place)
            for path in database.parent.iterdir():
                path.unlink()
            database.write_bytes(content)
            with pytest.raises(sqlite3.DatabaseError):
                Repo(".")
            dvc_state.repair()
            assert "leads to a damaged database of DVC's" in capsys.readouterr().err
            dvc_state.repair()
            assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "content", [b"", b"stages:\n  downl", b"schema: '2.0'\nstages:\n  split:\n    cm", b"\xff\xfe", b"[]"]
)
def test_a_lock_file_that_a_kill_cut_off_is_put_back(content, clean, capsys):
    path = Path("dvc.lock")
    path.write_bytes(content)
    dvc_state.repair()
    assert not path.exists()  # no commit has one
    assert "dvc.lock was cut off and is now .dvc/tmp/dvc.lock.damaged." in capsys.readouterr().err
    shutil.copy(ROOT / "dvc.lock", path)
    commit(clean, "with a lock file")
    dvc_state.repair()
    assert capsys.readouterr().err == ""
    path.write_bytes(content)
    dvc_state.repair()
    assert path.read_bytes() == (ROOT / "dvc.lock").read_bytes()
    assert ".dvc/tmp/dvc.lock.damaged; that of the last commit was put back" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"<<<<<<< HEAD\nschema: '2.0'\n=======\n", None])
def test_a_lock_file_that_a_person_has_to_mend_is_left_alone(content, clean):
    path = Path("dvc.lock")
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(UserError, match=r"dvc\.lock cannot be read: resolve its conflicts, or run `git checkout"):
        dvc_state.repair()
    assert path.exists()


def test_without_git_or_dvc_the_remedy_is_named_and_works(clean):
    shutil.rmtree(".git")
    with pytest.raises(UserError, match="git repository, and this folder is in none: run `git init`; without git, run"):
        dvc_state.repair()
    subprocess.run([sys.executable, "-m", "dvc", "config", "--local", "core.no_scm", "true"], check=True)
    dvc_state.repair()
    Path(".dvc/config.local").unlink()
    subprocess.run(["git", "init", "-q"], check=True)
    dvc_state.repair()
    shutil.rmtree(".dvc")
    with pytest.raises(UserError, match=r"this folder has no \.dvc: run from the project's root folder"):
        dvc_state.repair()


def test_inside_another_repository_all_is_well(clean, monkeypatch, capsys):
    shutil.copytree(clean / ".dvc", clean / "inner/.dvc")
    monkeypatch.chdir(clean / "inner")
    dvc_state.repair()
    assert capsys.readouterr() == ("", "")


@pytest.mark.full
@pytest.mark.parametrize(
    "content", [b"", *(pytest.param(text, marks=pytest.mark.table) for text in (b'{"write": {"/a', b"\xff\xff", None))]
)
def test_a_killed_repro_is_finished_after_a_check(content, cheap_copy):
    """With the list of locks as the kill left it, or as a kill in the moment of writing leaves it."""
    path, lock = cheap_copy / ".dvc/tmp/rwlock", (cheap_copy / "dvc.lock").read_bytes()
    (cheap_copy / "tests/helpers/cheap.py").write_text("import time\ntime.sleep(60)\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro", "-f", "train"], cwd=cheap_copy, start_new_session=True,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    for line in process.stdout:
        if line.startswith("Running stage"):
            break
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert str(process.pid) in path.read_text()
    run("git", "checkout", "-q", "tests/helpers/cheap.py", cwd=cheap_copy)
    if content is not None:
        path.write_bytes(content)
        assert run("dvc", "repro", cwd=cheap_copy, check=False).returncode
    done = run("python", "-m", "darkroom", "check", cwd=cheap_copy)
    assert ".dvc/tmp/rwlock " in done.stderr
    run("dvc", "repro", cwd=cheap_copy)
    assert (cheap_copy / "dvc.lock").read_bytes() == lock
