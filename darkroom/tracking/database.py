"""The SQLite file of a local MLflow store: whether it can be used, and that it moves with its project."""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from darkroom.core.errors import UserError
from darkroom.tracking import tags

ARTIFACTS = "mlartifacts"  # beside the database
LOCK_SECONDS = 15  # to wait while other processes write
LARGEST_CHECKED = 2**29  # bytes; to read a larger database takes longer than seconds
_MAGIC = b"SQLite format 3\0"
# Where MLflow keeps addresses of files: tables and their columns.
ADDRESSES = {
    "experiments": ("artifact_location",),
    "runs": ("artifact_uri",),
    "logged_models": ("artifact_location",),
    "model_versions": ("source", "storage_location"),
}
ANEW = "a new one is made, and `python -m darkroom track` adds this model's run to it"


def check(path: Path) -> None:
    """Raise a UserError unless a database can be read and written, or does not exist yet.

    MLflow would try for minutes, and then show the error of a library.
    """
    name = shown(path)
    aside = f"move it away (`mv {name} {name}.old`)"
    if os.path.lexists(path) and not path.is_file():  # a pipe would be waited for
        kind = "a folder" if path.is_dir() else "no regular file"
        raise UserError(f"{name} is {kind}, and should be MLflow's database: {aside}; {ANEW}.")
    if not path.parent.is_dir():
        raise UserError(f"the folder of MLflow's database {name} does not exist: create it, or set another address.")
    if not path.exists() and os.access(path.parent, os.W_OK):
        return
    with path.open("rb") as stream:
        start = stream.read(len(_MAGIC))
    if not start:
        return  # MLflow makes its tables
    if start != _MAGIC:
        raise UserError(f"{name} is not an SQLite database, as MLflow's is: {aside}; {ANEW}.")
    if not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
        raise UserError(
            f"MLflow's database {name} can only be read: compare owner and mode of the file and of its folder with "
            f"yours (`ls -ld {name} .` and `id`), and `chmod u+w` both."
        )
    try:
        with opened(path) as connection:
            large = path.stat().st_size > LARGEST_CHECKED
            problem = None if large else connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.DatabaseError as error:
        if "locked" in str(error):
            raise UserError(locked(path)) from None
        problem = str(error)
    if problem not in (None, "ok"):
        raise UserError(damaged(path))


def damaged(path: Path) -> str:
    """The sentence on a database with wrong bytes in it."""
    name = shown(path)
    return (
        f"MLflow's database {name} is damaged: restore it from a backup, or move it away (`mv {name} {name}.old`); "
        f"{ANEW} (`sqlite3 {name}.old .recover` may print the others)."
    )


def locked(path: Path) -> str:
    """The sentence on a database that another process keeps to itself."""
    import psutil

    holders = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and any(file.path == str(path) for file in process.open_files()):
                holders.append(f"{process.name()}, process {process.pid}")
    by = f" ({'; '.join(holders)})" if holders else ""
    return f"MLflow's database {shown(path)} is locked by another program{by}: wait for it, or end it, and try again."


@contextlib.contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A transaction that writes, which is committed if the block succeeds."""
    uri = f"file:{quote(str(path))}?mode=rw"
    with contextlib.closing(sqlite3.connect(uri, timeout=LOCK_SECONDS, uri=True, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield connection
        connection.execute("COMMIT")


def relocate(path: Path) -> None:
    """Change the addresses in a project's database that point into the folder from which it was moved or copied.

    Files that are only in that folder keep their address.
    """
    own = (path.parent / ARTIFACTS).as_uri()
    if not path.exists():
        return
    with opened(path) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not tables >= ADDRESSES.keys():
            return
        locations = [row[0] for row in connection.execute("SELECT DISTINCT artifact_location FROM experiments")]
        for old in locations:
            if old and old != own and _local(old).name == ARTIFACTS and _local(old).is_absolute():
                count = sum(
                    _move(connection, table, column, old, own) for table in ADDRESSES for column in ADDRESSES[table]
                )
                home, new_home = str(_local(old).parent), str(path.parent)
                change = (
                    "UPDATE tags SET value = ? || substr(value, ?) WHERE key = ? AND substr(value || '/', 1, ?) = ?"
                )
                connection.execute(change, (new_home, len(home) + 1, tags.WORKSPACE, len(home) + 1, f"{home}/"))
                print(f"MLflow: {count:,} addresses in {shown(path)} changed from {home} to this folder", flush=True)


def _move(connection: sqlite3.Connection, table: str, column: str, old: str, new: str) -> int:
    """Replace the beginning of addresses, but for files that exist only there; return how many."""
    query = f"SELECT DISTINCT {column} FROM {table} WHERE substr({column} || '/', 1, ?) = ?"  # noqa: S608
    count = 0
    for (address,) in connection.execute(query, (len(old) + 1, f"{old}/")).fetchall():
        moved = new + address[len(old) :]
        if address == old or _local(moved).exists() or not _local(address).exists():
            change = f"UPDATE {table} SET {column} = ? WHERE {column} = ?"  # noqa: S608
            count += connection.execute(change, (moved, address)).rowcount
    return count


def _local(address: str) -> Path:
    """The path of a local address."""
    parts = urlsplit(address)
    return Path(unquote(parts.path)) if parts.scheme == "file" else Path(address)


def shown(path: Path) -> Path:
    """The path as the user would write it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
