"""The exception whose message is meant for the user, and the sentences for errors of the environment."""

import errno
import itertools
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

# For each error that is not the program's but of the machine or account that it runs on: the cause and its remedy.
SENTENCES = {
    errno.ENOSPC: "there is no space left on the disk{of_folder} ({free} free): free some, or use a larger disk.",
    errno.EDQUOT: "your quota on the disk{of_folder} is used up: free some space, or ask for more.",
    errno.EROFS: "the disk{of_folder} can only be read: use another, or mount it for writing.",
    errno.EIO: "the disk{of_folder} does not work (input/output error): check it and its connection.",
    errno.EACCES: "there is no permission for {file}: compare its owner and mode with yours (`ls -ld` and `id`).",
    errno.EPERM: "there is no permission for {file}: compare its owner and mode with yours (`ls -ld` and `id`).",
    errno.ENAMETOOLONG: "the name {name} is too long for the file system: shorten it.",
    errno.EFBIG: "{file} is larger than the file system or `ulimit -f` allows: use another disk, or raise the limit.",
    errno.ENOTDIR: "{file} is in the place of a folder: move it away.",
    errno.ELOOP: "{file} is a link that leads back to itself: delete it.",
    errno.EMFILE: "too many files are open: raise the limit, for example with `ulimit -n 8192`.",
    errno.ENFILE: "too many files are open on this machine: close other programs.",
    errno.ENOMEM: "there is not enough memory: close other programs, or use a machine with more.",
}
NEED_FILE = {errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.EFBIG}  # the sentence would say nothing without
OF_THE_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM}
# Libraries that know the cause, but only say it in words: numpy, SQLite, TensorFlow, HDF5, urllib3, the loader.
WORDS = {
    r"OOM when allocating|std::bad_alloc|[Oo]ut of memory|[Cc]annot allocate memory|Unable to allocate"
    r"|failed to map segment from shared object": errno.ENOMEM,
    r"^\d+ requested and \d+ written$|database or disk is full|No space left on device": errno.ENOSPC,
    r"Disk quota exceeded": errno.EDQUOT,
    r"Too many open files": errno.EMFILE,
}


# What on the way to a file causes an error.
OBSTACLES: dict[int, Callable[[Path], bool]] = {
    errno.EACCES: lambda place: place.is_dir() and not os.access(place, os.X_OK),
    errno.ENOTDIR: lambda place: place.exists() and not place.is_dir(),
    errno.ELOOP: lambda place: place.is_symlink() and not place.exists(),
}


class UserError(Exception):
    """Bad input or circumstances: one sentence that names the problem and its remedy. The program exits with code 1."""


def environment_sentence(error: BaseException, file: str | None = None) -> str | None:
    """Return the sentence on a full disk, a missing permission, too little memory and the like.

    Args:
        error: any exception.
        file: what the user calls the file, where that is not the exception's file name.

    Returns:
        None if the error is not of the environment: it is a fault of the program, or is about the file's content.
    """
    if str(error).startswith("[Errno 2] No usable temporary directory"):
        return "no folder for temporary files can be written: free space in /tmp, or set TMPDIR to another folder."
    code, found = _code(error)
    file = file or (os.fsdecode(found) if isinstance(found, str | bytes | os.PathLike) else None)
    if code is None or (file is None and code in NEED_FILE):
        return None
    if is_obstacle := OBSTACLES.get(code):
        places = (*reversed(Path(file).parents), Path(file)) if file else ()
        if obstacle := next((place for place in places if is_obstacle(place)), None):
            file = str(obstacle)  # what lies below it cannot be looked at
        elif code != errno.EACCES:
            return None
    parts = Path(file or "").parts
    name = next((part for part in parts if len(os.fsencode(part)) > 255), parts[-1] if parts else "")
    name = f"{name[:60]}..." if len(name) > 60 else name
    folder = str(lasting(Path(*parts[:-1])))
    if file is None and code == errno.ENOSPC:
        folder = str(min((Path.cwd(), Path(tempfile.gettempdir())), key=free_space))  # most likely
    if code == errno.ENOSPC and (state := os.statvfs(_existing(Path(folder)))).f_files and not state.f_favail:
        return f"no more files can be made on the disk that holds {folder} (its inodes are used up): delete some."
    return SENTENCES[code].format(
        of_folder=f" that holds {folder}" if file or code == errno.ENOSPC else "",
        file=folder if any(map(_is_ours, parts)) else file,
        name=name,
        free=size(free_space(Path(folder))) if code == errno.ENOSPC else "",
    )


def lasting(folder: Path) -> Path:
    """The folder itself, or the one around ours, which is gone when the user looks; never just a dot."""
    found = Path(*itertools.takewhile(lambda part: not _is_ours(part), folder.parts))
    return found if found.parts else Path.cwd()


def _is_ours(part: str) -> bool:
    return part.endswith(".partial")


def free_space(folder: Path) -> int:
    """Bytes that may be written to the disk of a folder, or of the nearest one around it that exists."""
    return shutil.disk_usage(_existing(folder)).free


def _existing(folder: Path) -> Path:
    return next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())


def size(count: float) -> str:
    """A number of bytes for people, in decimal units."""
    units = iter(("bytes", "kB", "MB", "GB", "TB"))
    unit = next(units)
    while count >= 1000 and unit != "TB":
        count, unit = count / 1000, next(units)
    return f"{count:,.0f} {unit}" if unit == "bytes" or count >= 100 else f"{count:,.1f} {unit}"


def is_of_the_machine(error: BaseException) -> bool:
    """Whether an error would meet every file, such as a full disk, so that it says nothing about the one at hand."""
    return _code(error)[0] in OF_THE_MACHINE


def _code(error: BaseException | None) -> tuple[int | None, object]:
    """The number of the error of the environment that an exception is or comes from, and the file in it."""
    first = True
    while error is not None and not isinstance(error, UserError):
        code = error.errno if isinstance(error, OSError) else errno.ENOMEM if isinstance(error, MemoryError) else None
        if isinstance(error, FileExistsError) and error.filename2 is None:
            code = errno.ENOTDIR  # a folder could not be made
        if code is None:
            code = next((code for words, code in WORDS.items() if re.search(words, str(error))), None)
        # An error while another is handled may be the program's fault, unless nothing can be written any more.
        if code in (SENTENCES if first else OF_THE_MACHINE):
            return code, getattr(error, "filename", None)
        first = False
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return None, None
