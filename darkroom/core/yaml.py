"""Reading YAML of any bytes: in bounded time, with one sentence of bounded length on what is wrong."""

import copy
import functools
import itertools
from pathlib import Path
from typing import Any

from darkroom.core.errors import UserError
from darkroom.core.terminal import printable

MOST_BYTES = 2**18  # of a file of settings: ruamel.yaml takes seconds for so much
MOST_VALUES = 2**17
MOST_LEVELS = 32
NAME, PROBLEM = 80, 300  # characters in messages


def read_yaml(path: Path) -> Any:
    """Read a YAML 1.2 file, as DVC does.

    Raises:
        UserError: it is missing or not valid YAML.
    """
    if not path.exists():
        what = "is a broken link" if path.is_symlink() else "is missing: run from the project's root folder"
        raise UserError(f"{path} {what}.")
    if not path.is_file():  # a pipe would block
        raise UserError(f"{path} is not a regular file: move it away and restore the file.")
    if (size := path.stat().st_size) > MOST_BYTES:
        raise UserError(f"{path} has {size:,} bytes, but the limit is {MOST_BYTES:,}: is it another file?")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UserError(f"{path} is not valid YAML: its text is not UTF-8; save it as UTF-8.") from None
    return parse_yaml(text, str(path))


def parse_yaml(text: str, name: str) -> Any:
    """Parse YAML 1.2; `name` stands for the text in error messages.

    Raises:
        UserError: it is not valid YAML, a mapping has the same key twice, or there is far too much in it.
    """
    from ruamel.yaml.constructor import DuplicateKeyError
    from ruamel.yaml.error import MarkedYAMLError

    name = printable(name, NAME)
    if len(text) > MOST_BYTES:
        raise UserError(f"{name} has {len(text):,} characters, but the limit is {MOST_BYTES:,}.")
    try:
        return copy.deepcopy(_loaded(text))
    except _TooMuchError as error:
        raise UserError(f"{name} is refused: {error}.") from None
    except DuplicateKeyError as error:
        problem = printable(str(error.problem).partition(" with value")[0], PROBLEM)
        raise UserError(f"{name} is not valid YAML: {problem} in line {error.problem_mark.line + 1}.") from None
    except MarkedYAMLError as error:
        place = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        problem = printable(error.problem or error.context, PROBLEM)
        raise UserError(f"{name} is not valid YAML: {problem}{place}.") from None
    except MemoryError:
        raise
    except RecursionError:
        raise UserError(f"{name} is refused: it is nested too deeply.") from None
    except Exception as error:  # constructors raise nearly anything, such as a KeyError for `!!bool maybe`
        problem = printable(" ".join(str(error).split()) or type(error).__name__, PROBLEM)
        raise UserError(f"{name} is not valid YAML: {problem}.") from None


@functools.lru_cache(maxsize=64)
def _loaded(text: str) -> Any:
    """Parse YAML; cached, since a page of it takes tenths of a second and a run in MLflow needs params many times."""
    from ruamel.yaml import YAML
    from ruamel.yaml.constructor import SafeConstructor

    class Constructor(SafeConstructor):  # type: ignore[misc]
        """Counts what merge keys (<<) copy: nested ones multiply."""

        copied = 0

        def flatten_mapping(self, node: Any) -> Any:
            result = super().flatten_mapping(node)
            self.copied += len(node.value)
            if self.copied > MOST_VALUES:
                raise _TooMuchError("its merge keys (<<) copy too much")
            return result

    yaml = YAML(typ="safe")  # as DVC does
    yaml.Constructor = Constructor
    content = yaml.load(text)
    _check_extent(content)
    return content


class _TooMuchError(Exception):
    """The text is valid, but nobody means it."""


def _check_extent(content: Any) -> None:
    """Refuse what is nested deeply, or what aliases (*name) multiply: a few lines may hold billions of values."""
    level, count = [content], 0
    for _ in range(MOST_LEVELS):
        level = [
            inner
            for value in level
            if isinstance(value, dict | list | tuple | set)
            for inner in (itertools.chain(value.keys(), value.values()) if isinstance(value, dict) else value)
        ]
        count += len(level)
        if not level:
            return
        if count > MOST_VALUES:
            raise _TooMuchError(f"it holds more than {MOST_VALUES:,} values")
    raise _TooMuchError("it is nested too deeply")
