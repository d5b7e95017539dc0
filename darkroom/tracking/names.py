"""Params as MLflow accepts them: names of any characters, and values of any length."""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from darkroom.core.params import flat

# MLflow accepts slashes and colons, too, but takes a slash for a folder; a colon marks what is encoded.
_ENCODED = re.compile(r"[^\w. -]")
_MARK = re.compile(r":([0-9A-F]+):")
LONGEST_NAME, LONGEST_VALUE = 250, 6000  # characters, by MLflow
DIGEST = 16  # hexadecimal digits


def logged(content: Mapping[str, Any]) -> dict[str, str]:
    """All params by their names in MLflow, as text; what is too long ends in its digest, and params.yaml has it all."""
    return {
        _short(encoded(name), LONGEST_NAME): _short(_writable(str(value)), LONGEST_VALUE)
        for name, value in flat(dict(content)).items()
    }


def encoded(name: str) -> str:
    """A name with each character that MLflow rejects as its number: `tench, Tinca` becomes `tench:2C: Tinca`."""
    return _ENCODED.sub(lambda match: f":{ord(match[0]):X}:", name)


def decoded(name: str) -> str:
    """The name that `encoded` was given."""
    return _MARK.sub(lambda match: chr(int(match[1], 16)), name)


def _writable(text: str) -> str:
    """Text without what no database takes: NUL, and bytes of file names that are not UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def _short(text: str, longest: int) -> str:
    if len(text) <= longest:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:DIGEST]
    return f"{text[: longest - DIGEST - 4]}... {digest}"
