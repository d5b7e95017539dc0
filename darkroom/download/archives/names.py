"""File names in archives that do not say how they are encoded.

The letters decide: in the right code page they are frequent ones of one language, and words look like words. General
detectors need whole paragraphs; a few names of folders are too little for them.
"""

import math
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from functools import cache

from darkroom.download.archives import letters
from darkroom.download.archives.letters import Script

UTF8_FLAG = 0x800
UNICODE_PATH = 0x7075  # Info-ZIP's field for the name in UTF-8
MOST = 500  # names that are weighed; all must be possible
DOS = 0


def is_certain(name: str) -> bool:
    """Whether a name was read as UTF-8, and rightly.

    Other bytes are surrogates in it; and Cyrillic letters in a DOS code page can make one of the Indian scripts.
    """
    return not any("\u0700" <= letter <= "\u0dff" or "\udc80" <= letter <= "\udcff" for letter in name)


def of_tar(names: Sequence[str]) -> Callable[[str], str]:
    """Return what makes valid text of the names in a tar archive, which were read as UTF-8 with surrogates."""
    page = code_page([_bytes(name) for name in names if not is_certain(name)])
    return lambda name: name if is_certain(name) else _decoded(_bytes(name), page)


def of_zip(members: Sequence[zipfile.ZipInfo]) -> list[str]:
    """The names of the members of a zip archive."""
    given = [_unicode_name(info) for info in members]
    raw = [b"" if name is not None else _raw(info) for name, info in zip(given, members, strict=True)]
    page = code_page(raw)
    names = [_decoded(bytes_, page) if name is None else name for name, bytes_ in zip(given, raw, strict=True)]
    if not any("/" in name for name in names):  # as some programs for Windows write them
        dos = [info.create_system == DOS for info in members]
        names = [name.replace("\\", "/") if is_dos else name for name, is_dos in zip(names, dos, strict=True)]
    return names


def code_page(names: Sequence[bytes]) -> str:
    """The encoding of names that belong together: UTF-8 where all are, or else the most plausible code page."""
    odd = sorted({part for name in names if not name.isascii() for part in name.split(b"/") if not part.isascii()})
    best, least = "cp437", math.inf  # the standard's, in which all bytes have a meaning
    if _can_decode(odd, "utf-8"):
        return "utf-8"
    for page, script in _scripts():
        if _can_decode(odd, page):
            cost = letters.PRIORS.get(page, 1) + sum(_cost(part.decode(page), page, script) for part in odd[:MOST])
            if cost < least:
                best, least = page, cost
    return best


@cache
def _scripts() -> list[tuple[str, Script]]:
    return letters.scripts()


def _can_decode(names: Sequence[bytes], page: str) -> bool:
    try:
        b"\n".join(names).decode(page)
    except UnicodeDecodeError:
        return False
    return True


def _cost(name: str, page: str, script: Script) -> float:
    """About how many bits a name takes in a language; ASCII is the same in all."""
    total, before = 0.0, " "
    for place, letter in enumerate(name):
        after = name[place + 1 : place + 2] or " "
        if letter.isascii():
            total += 4 * (letter.isupper() and before.islower())
            before = letter
            continue
        if letter.lower() in script.rank:
            total += 2 + math.log2(1 + script.rank[letter.lower()])
        elif not letter.isalpha():
            total += 14  # a symbol
        else:
            total += _rare(letter, page) if script.wide else 13
        if script.latin:
            total += 3 * (not before.isascii() and before.isalpha())
        else:
            total += 4 * sum(near.isascii() and near.isalpha() for near in (before, after))
        if letter.isupper():
            total += 12 if before.islower() else 1 if before.isupper() or after.isupper() else 2
        before = letter
    return total


def _rare(letter: str, page: str) -> float:
    """The bits of a letter without a rank, in a code page with two bytes for most."""
    encoded = letter.encode(page)
    if len(encoded) == 1:
        return 8  # such as half-width katakana
    return 11.5 if encoded[0] in letters.FREQUENT[page] else 15


def _bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _decoded(name: bytes, page: str) -> str:
    return name.decode(page, "replace").partition("\0")[0] if name else ""


def _raw(info: zipfile.ZipInfo) -> bytes:
    """The bytes of a name without the flag for UTF-8; zipfile has read them as cp437."""
    return info.orig_filename.encode("cp437")


def _unicode_name(info: zipfile.ZipInfo) -> str | None:
    """The name where it is known to be text: by the flag, by Info-ZIP's field, or since it is ASCII."""
    if info.flag_bits & UTF8_FLAG or info.orig_filename.isascii():
        return info.filename
    extra = info.extra
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<HH", extra)
        field, extra = extra[4 : 4 + size], extra[4 + size :]
        if kind == UNICODE_PATH and len(field) > 5 and struct.unpack_from("<BI", field) == (1, zlib.crc32(_raw(info))):
            try:
                return field[5:].decode().partition("\0")[0]
            except UnicodeDecodeError:
                return None
    return None
