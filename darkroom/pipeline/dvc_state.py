"""What DVC keeps in .dvc/tmp and in its cache: what a killed process left there, or a disk damaged, is cleared.

DVC itself would stop at it every time, with an error that names no remedy.
"""

import contextlib
import json
import os
import sqlite3
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from darkroom.core.errors import UserError
from darkroom.core.files import write_text
from darkroom.core.partial_files import remove
from darkroom.core.yaml import read_yaml
from darkroom.pipeline.git import git

LOCKED = Path("dvc.lock")
RUNS = Path(".dvc/cache/runs")
TMP = Path(".dvc/tmp")
RWLOCK = TMP / "rwlock"  # which process reads and writes which path
DAMAGED_LOCK = TMP / "dvc.lock.damaged"
GUARD = TMP / "rwlock.lock"  # held by a process that changes RWLOCK
FILES = (RWLOCK, GUARD, TMP / "lock", TMP / "btime")
SECONDS = 5  # to wait for GUARD, which is held for milliseconds
Entries = dict[str, dict[str, Any]]  # "read" and "write": path to the process that does, or a list of them


def repair() -> None:
    """Clear what would stop DVC, and print a line on stderr for each thing that is cleared.

    Raises:
        UserError: there is no repository of git or DVC here, dvc.lock has conflicts, or DVC is running.
    """
    for path in FILES:
        if os.path.lexists(path) and not path.is_file():
            _clear(path, "is something else than DVC's own file")
    if not _processes():  # one might be writing there
        _repair_run_cache()
    _clear_hard_links()
    _repair_rwlock()
    _repair_database()
    _repair_lock_file()


def writer() -> int | None:
    """The id of a living process of DVC that writes in this project."""
    try:
        entries = _entries(RWLOCK)
    except (FileNotFoundError, ValueError):
        return None
    pids = {int(info["pid"]) for info in entries.get("write", {}).values()}
    return next((process.pid for process in _processes() if process.pid in pids), None)


def _clear(path: Path, reason: str) -> None:
    remove(path)
    _say(f"{path} {reason}: it was deleted.")


def _say(text: str) -> None:
    print(f"darkroom: {text}", file=sys.stderr, flush=True)


def _is_text(path: Path) -> bool:
    try:
        return bool(path.read_text(encoding="utf-8"))
    except (IsADirectoryError, UnicodeDecodeError):
        return False


def _processes() -> list[psutil.Process]:
    """The living processes of DVC that were started in this project."""
    root, result = Path.cwd(), []
    for process in psutil.process_iter(["cmdline", "status"]):
        with contextlib.suppress(psutil.Error, OSError):
            # The program itself, `python -m dvc`, or one that uses DVC as a library and is in RWLOCK.
            ours = any(Path(word).name == "dvc" for word in (process.info["cmdline"] or ())[:4])
            if ours and process.info["status"] != psutil.STATUS_ZOMBIE and Path(process.cwd()).is_relative_to(root):
                result.append(process)
    return result


def _repair_run_cache() -> None:
    for path in RUNS.glob("*/*/*"):
        if not _is_text(path):
            _clear(path, "is damaged; the stage runs again if needed")
    for folder in RUNS.glob("*/*/"):
        if not any(folder.iterdir()):  # a full disk leaves one, and DVC expects a file in it
            remove(folder)


def _clear_hard_links() -> None:
    """Clear the locks that DVC takes with core.hardlink_lock, which outlive their process."""
    for path in (TMP / "lock", GUARD):
        claim = path.read_text(encoding="utf-8", errors="replace").strip() if path.is_file() else ""
        if claim.endswith(".lock") and not _processes():
            remove(Path(claim))
            _clear(path, "is the lock of a process that no longer runs")


def _entries(path: Path) -> Entries:
    """What RWLOCK holds.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is damaged.
    """
    content = json.loads(path.read_bytes())
    if not isinstance(content, dict) or content.keys() - {"read", "write"}:
        raise ValueError
    for kind, holders in content.items():
        for infos in holders.values() if isinstance(holders, dict) else [None]:
            if isinstance(infos, list) != (kind == "read"):
                raise ValueError
            for info in infos if isinstance(infos, list) else [infos]:
                types = {key: type(value) for key, value in info.items()} if isinstance(info, dict) else {}
                if types != {"pid": int, "cmd": str}:
                    raise ValueError
    return content


def _repair_rwlock() -> None:
    """Delete RWLOCK if it is damaged, else its entries of processes that no longer run."""
    if not RWLOCK.exists():
        return
    with _guarded():
        try:
            entries, changed = _entries(RWLOCK), RWLOCK.stat().st_mtime
        except FileNotFoundError:
            return
        except (ValueError, RecursionError):
            if running := _processes():
                raise UserError(
                    f"{RWLOCK} is damaged while DVC runs (process {running[0].pid}): wait for it to end, or stop it."
                ) from None
            _clear(RWLOCK, "is damaged, and no process of DVC runs here")
            return
        kept: Entries = {
            "read": {path: _living(infos, changed) for path, infos in entries.get("read", {}).items()},
            "write": {path: info for path, info in entries.get("write", {}).items() if _living([info], changed)},
        }
        kept["read"] = {path: infos for path, infos in kept["read"].items() if infos}
        if {kind: holders for kind, holders in kept.items() if holders} != {k: v for k, v in entries.items() if v}:
            write_text(RWLOCK, json.dumps(kept))
            _say(f"{RWLOCK} listed processes that no longer run: they were removed from it.")


def _living(infos: list[dict[str, Any]], changed: float) -> list[dict[str, Any]]:
    """The entries whose process lives; its number may belong to another process by now."""
    result = []
    for info in infos:
        with contextlib.suppress(psutil.Error, ValueError, OverflowError):
            process = psutil.Process(info["pid"])
            words = " ".join(process.cmdline())
            is_same = process.create_time() <= changed + 1 and ("dvc" in words or info["cmd"] in words)
            if is_same and process.status() != psutil.STATUS_ZOMBIE:
                result.append(info)
    return result


@contextlib.contextmanager
def _guarded() -> Iterator[None]:
    """Hold GUARD, as DVC does when it changes RWLOCK."""
    import zc.lockfile

    deadline = time.monotonic() + SECONDS
    while True:
        try:
            guard = zc.lockfile.LockFile(GUARD)
            break
        except zc.lockfile.LockError:
            if time.monotonic() > deadline:
                raise UserError(f"{GUARD} is held by a process: wait until DVC has ended, or stop it.") from None
            time.sleep(0.05)
    try:
        yield
    finally:
        guard.close()


def _repair_database() -> None:
    """Open the repository as DVC does; if the database of known files is damaged, make DVC begin another one.

    DVC names the database after the time of .dvc/tmp/btime.
    """
    from dvc.exceptions import DvcException, NotDvcRepoError
    from dvc.repo import Repo
    from dvc.scm import SCMError

    try:
        with Repo(".") as repo:
            for path in Path(repo.site_cache_dir).rglob("*.db"):
                with contextlib.closing(sqlite3.connect(path)) as database:
                    if database.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
                        raise sqlite3.DatabaseError
    except NotDvcRepoError:
        raise UserError(
            "this folder has no .dvc: run from the project's root folder; a copy needs the hidden files, too."
        ) from None
    except SCMError:
        raise UserError(
            "DVC needs a git repository, and this folder is in none: run `git init`; without git, run `dvc config "
            "--local core.no_scm true`, and all but experiments works."
        ) from None
    except DvcException as error:
        raise UserError(f"DVC cannot be used here: {' '.join(str(error).split())}.") from None
    except sqlite3.DatabaseError as error:
        if "locked" in str(error):
            return  # DVC is running, so it works
        _clear(TMP / "btime", "leads to a damaged database of DVC's, which will hash all files again")


def _repair_lock_file() -> None:
    """Put back the last commit's dvc.lock, if there is one, where a kill cut off what DVC wrote there in place.

    Nothing is computed again for it: DVC finds the runs since then in its cache.
    """
    if not LOCKED.exists() or _is_lock_file(LOCKED):
        return
    if not LOCKED.is_file() or b"<<<<<<<" in LOCKED.read_bytes():
        raise UserError(f"{LOCKED} cannot be read: resolve its conflicts, or run `git checkout {LOCKED}`.")
    TMP.mkdir(parents=True, exist_ok=True)
    LOCKED.replace(DAMAGED_LOCK)
    if committed := git("show", f"HEAD:./{LOCKED}"):
        write_text(LOCKED, committed)
    instead = "; that of the last commit was put back" if committed else ""
    _say(f"{LOCKED} was cut off and is now {DAMAGED_LOCK}{instead}.")


def _is_lock_file(path: Path) -> bool:
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from voluptuous import Invalid

    try:
        COMPILED_LOCKFILE_SCHEMA(read_yaml(path))
    except (UserError, UnicodeDecodeError, IsADirectoryError, Invalid):
        return False
    return True
