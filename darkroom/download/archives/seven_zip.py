"""7z archives."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from darkroom.core.errors import UserError
from darkroom.download.archives import refusals
from darkroom.download.archives.members import DamagedError, Member, Unpacking

MAGIC = b"7z\xbc\xaf\x27\x1c"
SMALL_BLOCK = 2**9
UNBOUNDED = {"DEFLATE", "DEFLATE64", "ZStandard", "Brotli"}  # py7zr keeps all that a block of these unpacks to
METHODS = {
    **{b"\x03\x03\x01\x1b": "BCJ2", b"\x04\xf7\x11\x04": "LZ4", b"\x04\xf7\x11\x05": "LZ5"},
    **{b"\x04\xf7\x11\x06": "Lizard", b"\x0a": "ARM64", b"\x0b": "RISC-V", b"\x02\x03\x02": "Swap2"},
}


def unpack(archive: Path, into: Unpacking) -> None:
    """Unpack a 7z archive; every member is checked before any is written.

    Raises:
        UserError: it is encrypted, compressed in a way that py7zr does not know, or a member is refused.
        Exception: nearly any, if it is damaged.
    """
    from py7zr import SevenZipFile
    from py7zr.exceptions import CrcError, PasswordRequired, UnsupportedCompressionMethodError

    places = _Places(into.folder)
    try:
        with _ShortReads(archive) as stream, SevenZipFile(stream) as opened:
            if opened.needs_password():
                raise UserError(refusals.encrypted(into.name))
            methods = _methods(opened, into.name)
            targets = [name for name, member in _members(opened) if places.add(into.place(member))]
            stream.most = SMALL_BLOCK if methods & UNBOUNDED else -1
            if targets:
                opened.extract(places.folder, targets, factory=places)
    except PasswordRequired:
        raise UserError(refusals.encrypted(into.name)) from None
    except UnsupportedCompressionMethodError as error:
        raise UserError(refusals.unsupported_method(into.name, _method(error.data))) from None
    except CrcError as error:
        raise DamagedError(f"Bad CRC-32 for file {error.filename!r}") from None
    finally:
        places.close()


class _ShortReads(io.FileIO):
    """A file that returns less than asked for, as much as may be unpacked at once."""

    most = -1

    def read(self, size: int | None = -1) -> bytes:
        """At most `most` bytes, if that is set."""
        size = -1 if size is None else size
        return super().read(size if self.most < 0 or 0 <= size < self.most else self.most) or b""


class _Places:
    """The files to write, opened one after the other when py7zr asks for them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.around = folder.resolve(), folder
        self.files: dict[str, Path] = {}
        self.current: IO[bytes] | None = None

    def add(self, target: Path | None) -> bool:
        """Expect a file, and return whether there is one."""
        if target:
            self.files[(self.folder / target.relative_to(self.around)).as_posix()] = target
        return target is not None

    def create(self, name: str) -> IO[bytes]:
        """The file for a member, by what py7zr makes of its name."""
        self.close()
        self.current = self.files[name].open("wb")
        return self.current

    def close(self) -> None:
        """Close the last file, which py7zr leaves open after an error."""
        if self.current:
            self.current.close()


def _members(opened: Any) -> Iterator[tuple[str, Member]]:
    """Each member with the name that py7zr knows it by."""
    info = getattr(opened.header, "files_info", None)
    empty_files = iter(info.emptyfiles if info else ())
    for file in opened.files:
        marked = file.emptystream and next(empty_files, False)
        # What has neither content nor attributes is a folder, unless it is marked.
        folder = file.is_directory or (file.emptystream and not marked and file._get_property("attributes") is None)
        refusal = None if folder or file.is_file else "a device or a pipe"
        refusal = "a link" if file.is_symlink or file.is_junction else refusal
        size = 0 if folder or file.emptystream else file.uncompressed
        yield file.filename, Member(file.filename, size, folder, refusal)


def _methods(opened: Any, name: str) -> set[str]:
    """The compression methods of an archive, all of which py7zr knows."""
    from py7zr.compressor import SupportedMethods

    streams = opened.header.main_streams
    known = {method["id"]: method["name"] for method in SupportedMethods.methods}
    numbers = {coder["method"] for folder in (streams.unpackinfo.folders if streams else ()) for coder in folder.coders}
    if odd := numbers - known.keys():
        raise UserError(refusals.unsupported_method(name, _method(min(odd))))
    return {known[number] for number in numbers}


def _method(number: Any) -> str:
    return METHODS.get(number, f"number {number.hex()}") if isinstance(number, bytes) else "several methods together"
