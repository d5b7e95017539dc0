"""Why a file cannot be unpacked, in a sentence with the remedy that works."""

import re
import shlex
from pathlib import Path, PurePosixPath

from darkroom.core.errors import UserError

LFS = b"version https://git-lfs.github.com/spec/"
PAGES = (b"<!doctype", b"<html", b"<head", b"<?xml", b"<!--", b'{"')
# Archives that are not supported: where the mark is, the mark, the kind, and the command that unpacks it.
UNSUPPORTED = [
    (0, b"Rar!\x1a\x07", "a RAR archive", "unar {file}"),
    (0, b"MSCF", "a cabinet (CAB) archive", "unar {file}"),
    (0, b"ISc(", "an InstallShield archive", "unshield x {file}"),
    (0x8001, b"CD001", "a disk image (ISO)", "7z x {file}"),
    (0x8001, b"BEA01", "a disk image (UDF)", "7z x {file}"),
    (2, b"-lh", "an LHA archive", "unar {file}"),
    (2, b"-lz", "an LHA archive", "unar {file}"),
    (0, b"\x1f\x9d", "a file compressed by `compress` (.Z)", "uncompress {file}"),
    (0, b"\x1f\xa0", "a file compressed by LZH (.Z)", "uncompress {file}"),
    (0, b"xar!", "an XAR archive", "7z x {file}"),
    (0, b"!<arch>\n", "a Unix (ar) archive", "ar x {file}"),
    (0, b"\x60\xea", "an ARJ archive", "unar {file}"),
    (7, b"**ACE**", "an ACE archive", "unar {file}"),
    (20, b"\xdc\xa7\xc4\xfd", "a ZOO archive", "unar {file}"),
    (0, b"a StuffIt", "a StuffIt archive", "unar {file}"),
    (0, b"SIT!", "a StuffIt archive", "unar {file}"),
    (0, b"ALZ\x01", "an ALZip archive", "unar {file}"),
    (0, b"EGGA", "an ALZip (EGG) archive", "unegg {file}"),
    (0, b"070701", "a CPIO archive", "bsdtar -xf {file}"),
    (0, b"070707", "a CPIO archive", "bsdtar -xf {file}"),
    (0, b"\xc7\x71", "a CPIO archive", "bsdtar -xf {file}"),
    (0, b"MSWIM\0\0\0", "a Windows image (WIM)", "7z x {file}"),
    (0, b"hsqs", "a SquashFS image", "unsquashfs {file}"),
    (0, b"\x04\x22\x4d\x18", "a file compressed by LZ4", "lz4 -d {file}"),
    (0, b"\x89LZO\0\r\n\x1a\n", "a file compressed by LZOP", "lzop -d {file}"),
    (0, b"LZIP\x01", "a file compressed by Lzip", "lzip -d {file}"),
    (0, b"\xff\x06\0\0sNaPpY", "a file compressed by Snappy", "snzip -d {file}"),
]
ENDINGS = "zip|7z|rar|tar|tgz|tbz2?|txz|tzst|tar\\.(?:gz|bz2|xz|zst|lzma)"
CUT = re.compile(rf"(.+\.(?:{ENDINGS}))\.?(?:\d{{2,3}}|a[a-z])", re.IGNORECASE)  # x.zip.001, x.tar.gz.aa
ZIP_PART = re.compile(r"(.+)\.z\d\d", re.IGNORECASE)
RAR_PART = re.compile(r"(.+)\.(?:part\d+\.rar|r\d\d)", re.IGNORECASE)
AND_SET = "and set download.path to"


class WrongFileError(UserError):
    """A file that is damaged, or was saved instead of an archive: another download may be right."""


def part(name: str) -> str | None:
    """The sentence on a part of a split archive, by its name; None for any other name."""
    file = PurePosixPath(name).name
    if found := RAR_PART.fullmatch(file):
        command = _command("unar {file}", found[1] + (".part1.rar" if "part" in file.lower() else ".rar"))
        return f"{name} is a part of a split RAR archive: unpack all, for example with {command}, {AND_SET} the folder."
    if found := ZIP_PART.fullmatch(file):
        return split_zip(name, found[1] + ".zip")
    if found := CUT.fullmatch(file):
        whole = shlex.quote(found[1])
        rest = "." if file[len(found[1])] == "." else ""
        return (
            f"{name} is a part of a split archive: join the parts, for example with `cat {whole}{rest}* > whole-"
            f"{PurePosixPath(found[1]).name}`, {AND_SET} the whole."
        )
    return None


def split_zip(name: str, last: str | None = None) -> str:
    """The sentence on a zip archive in parts, of which `last` has the directory."""
    command = _command("zip -s 0 {file} --out whole.zip", last or PurePosixPath(name).name)
    return f"{name} is a part of a split zip archive: join the parts, for example with {command}, {AND_SET} whole.zip."


def split_tar(name: str) -> str:
    """The sentence on a volume of a tar archive."""
    command = _command("tar -xMf {file} -f NEXT", PurePosixPath(name).name)
    return f"{name} is a part of a split tar archive: unpack all, for example with {command}, {AND_SET} the folder."


def encrypted(name: str) -> str:
    """The sentence on an archive with a password."""
    return f"{name} is encrypted: {_yourself(name, '7z x {file}')}"


def unsupported_method(name: str, method: str) -> str:
    """The sentence on an archive that is compressed in another way."""
    tool = "7z x {file}"
    return f"{name} is compressed with a method that is not supported ({method}): {_yourself(name, tool)}"


def unsupported_kind(path: Path) -> tuple[str, str] | None:
    """The kind of an archive that is not supported, and the command that unpacks it; None for any other file."""
    with path.open("rb") as stream:
        start = stream.read(64)
        for place, mark, kind, command in UNSUPPORTED:
            if place < len(start):
                found = start[place:].startswith(mark)
            else:
                stream.seek(place)
                found = stream.read(len(mark)) == mark
            if found:
                return kind, command
    return None


def error(path: Path, name: str) -> UserError:
    """Why a file that is no zip, 7z or tar archive cannot be unpacked."""
    with path.open("rb") as stream:
        start = stream.read(4096)
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if not start:
        return WrongFileError(f"{name} is empty: download it again.")
    if start.startswith(LFS):
        return WrongFileError(
            f"{name} is a pointer of Git LFS, not the file itself: run `git lfs pull` in its repository."
        )
    if text.startswith(PAGES):
        return WrongFileError(
            f"{name} is a web page or a server's message, not an archive: open its address in a browser, where you may "
            "have to log in or agree to something, and download the file there."
        )
    if sentence := part(name):
        return UserError(sentence)
    if found := unsupported_kind(path):
        kind, command = found
        result = "the file that it becomes" if kind.startswith("a file") else "the folder"
        return UserError(f"{name} is {kind}, which is not supported: {_yourself(name, command, result)}")
    if start.startswith((b"PK\7\x08", b"PK00PK")):
        return UserError(split_zip(name))
    if start.startswith(b"PK\3\4"):
        return damaged(name, "zip", "its end is missing")
    return WrongFileError(
        f"{name} is not a zip, 7z or tar archive, or is damaged: check where it comes from, and download it again."
    )


def damaged(name: str, kind: str, cause: str) -> UserError:
    """Why an archive cannot be unpacked whose content contradicts itself; a part of one has no end."""
    if sentence := part(name):
        return UserError(sentence)
    return WrongFileError(f"{name} is a damaged {kind} archive ({cause}): download it again.")


def _yourself(name: str, command: str, result: str = "the folder") -> str:
    example = _command(command, PurePosixPath(name).name)
    return f"unpack it yourself, for example with {example}, {AND_SET} {result}."


def _command(command: str, file: str) -> str:
    return f"`{command.format(file=shlex.quote(file))}`"
