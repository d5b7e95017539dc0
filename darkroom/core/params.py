"""Settings: checking them against typed models, and merging them.

The model of each section is in its stage's room (`darkroom/<stage>/params.py`); `darkroom/pipeline/params.py` combines
them.
"""

import datetime
import itertools
import math
import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, ValidationError
from pydantic_core import CoreSchema, core_schema

from darkroom.core.errors import UserError
from darkroom.core.secrets import redact
from darkroom.core.terminal import printable

# Every number has a bound, far above what anyone uses, that the machine can bear.
Positive = Annotated[float, Field(ge=1e-10, le=1e10)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Side = Annotated[int, Field(ge=1, le=8192)]  # of a network's input, in pixels
Share = Annotated[float, Field(ge=0, lt=1)]
SHOWN, LONGEST = 80, 500  # characters of a value, and of what is said about it
PROBLEMS = 10  # that a sentence lists
Pooling = Literal["avg", "max", "flatten"]
Precision = Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"]
Model = TypeVar("Model", bound=BaseModel)


class Section(BaseModel):
    """A mapping in params.yaml: unknown keys are refused, and values are not converted between types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Base(Section):
    """Section `base` of params.yaml, which every stage reads."""

    seed: int = Field(42, ge=0, lt=2**32)


class OneOf:
    """Annotation of a string that must be one of several names, such as those of a registry, known only at run time."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = list(names)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Check and report like a Literal."""
        return core_schema.literal_schema(self.names)


def validate(model: type[Model], content: dict[str, Any], name: str) -> Model:
    """Turn content into an object of `model`; `name` is that of the file.

    Raises:
        UserError: one sentence that names every wrong key with its value and what is allowed.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        problems = [printable(redact(problem), LONGEST) for problem in _problems(model, content, error)]
        more = [f"and {len(problems) - PROBLEMS:,} more"] if len(problems) > PROBLEMS else []
        raise UserError(f"{name}: {'; '.join(problems[:PROBLEMS] + more)}.") from None


def _problems(model: type[BaseModel], content: Any, error: ValidationError) -> list[str]:
    """List the problems, one per key: the alternatives of a key with several types are joined."""
    problems: list[str] = []
    wrong: dict[tuple[int | str, ...], list[Any]] = {}
    for item in error.errors():
        location = item["loc"]
        if item["type"] == "missing":
            problems.append(f"{_name(location)} is missing")
        elif item["type"] == "extra_forbidden":
            problem = "is unknown (allowed here:" if location[1:] else "is not a section (sections:"
            problems.append(f"{_name(location)} {problem} {', '.join(_keys(model, location[:-1]))})")
        elif item["type"] == "invalid_key":
            problems.append(f"{_name((*location[:-1], _shown(item['input'])))} is no name of a setting")
        elif item["type"] == "value_error" and isinstance(item["input"], dict | BaseModel) and location[1:] == ():
            problems.append(f"{location[0]}: {item['ctx']['error']}")  # keys that do not go together
        else:
            is_key = location[-1:] == ("[key]",)  # of a mapping
            parent = location[:-2] if is_key else location
            wrong.setdefault((*_in_content(parent, content), *(location[-2:] if is_key else ())), []).append(item)
    for key, items in wrong.items():
        # A list is no mapping: that does not matter where a list may be given, too, and what is wrong is in it.
        is_outer = any(other[: len(key)] == key for other in wrong if other != key)
        if relevant := [item for item in items if not (is_outer and item["type"] in ("list_type", "dict_type"))]:
            problems.append(_sentence(key, relevant))
    return problems


def _sentence(key: Sequence[int | str], items: Sequence[Any]) -> str:
    """What is wrong with the value of a key, or with a key of a mapping; `items` are the alternatives."""
    texts = [_requirement(item) for item in items]
    value = items[0]["input"]
    if len(items) == 1 and items[0]["type"] == "string_type" and not isinstance(value, list | dict):
        texts = [f"{texts[0]}: put it in quotes, such as {_quoted(value)}"]  # YAML takes 1e3 for a number
    if key[-1:] == ("[key]",):
        return f"{_name(key[:-2])} has the key {_shown(value)}, which {' or '.join(texts)}"
    return f"{_name(key)} is {_shown(value)}, but {' or '.join(texts)}"


def _requirement(item: Any) -> str:
    """What pydantic asks of a value, without the subject of its sentence."""
    if item["type"] == "value_error":
        return str(item["ctx"]["error"])
    if item["type"] in ("model_type", "dict_type"):
        return "should be a mapping"
    if item["type"] == "string_type":
        return "should be text"
    return re.sub(r"^(Input|List|String) ", "", item["msg"])


def _shown(value: Any) -> str:
    """A value as it may be written in the file, cut to `SHOWN` characters."""
    return printable(_notation(value), SHOWN)


def _notation(value: Any) -> str:
    """A value in the notation of YAML, as far as Python's differs."""
    if isinstance(value, list):
        return f"[{', '.join(map(_notation, value[:SHOWN]))}]"
    if isinstance(value, dict):
        items = itertools.islice(value.items(), SHOWN)
        return f"{{{', '.join(f'{_notation(key)}: {_notation(inner)}' for key, inner in items)}}}"
    if isinstance(value, str | bytes):
        return repr(value[:SHOWN])
    if isinstance(value, int) and value.bit_length() > 4 * SHOWN:
        return f"{value:#x}"  # Python refuses to write thousands of decimal digits
    if isinstance(value, datetime.date):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value}".replace("inf", ".inf").replace("nan", ".nan")
    return {"None": "null", "True": "true", "False": "false"}.get(repr(value), repr(value))


def _quoted(value: Any) -> str:
    """A value that YAML does not take for text, as text; a float with an exponent, if it was written so most likely."""
    text = _shown(value)
    if isinstance(value, float) and math.isfinite(value) and value == int(value):
        text = str(Decimal(repr(value)).normalize()).replace("E+", "e")
    return f"'{text}'"


def _name(location: Sequence[int | str]) -> str:
    return printable(".".join(printable(key, SHOWN) for key in location), 3 * SHOWN)


def _in_content(location: Sequence[int | str], content: Any) -> list[int | str]:
    """The part of pydantic's location that exists in the file; the rest names a member of a union."""
    keys: list[int | str] = []
    for key in location:
        try:
            content = content[key]
        except (KeyError, IndexError, TypeError):
            continue
        keys.append(key)
    return keys or list(location)


def _keys(model: type[BaseModel], location: Sequence[str | int]) -> list[str]:
    """Names of the keys allowed at `location` in `model`."""
    for key in location:
        annotation = model.model_fields[str(key)].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            break
        model = annotation
    return [field.alias or name for name, field in model.model_fields.items()]


def flat(content: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested mappings: `{"train": {"epochs": 5}}` becomes `{"train.epochs": 5}`."""
    result: dict[str, Any] = {}
    for key, value in content.items():
        name = f"{prefix}{key}"
        result.update(flat(value, f"{name}.") if isinstance(value, dict) else {name: value})
    return result


def overlay(content: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """Merge `change` into a copy of `content`: mappings key by key, all other values are replaced."""
    nested = {key for key, value in change.items() if isinstance(value, dict) and isinstance(content.get(key), dict)}
    return content | change | {key: overlay(content[key], change[key]) for key in nested}


def difference(content: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """Return the smallest change that turns `defaults` into `content` by `overlay`.

    `content` must have every key of `defaults`, since an overlay cannot remove one.
    """
    result: dict[str, Any] = {}
    for key, value in content.items():
        default = defaults.get(key)
        if isinstance(value, dict) and isinstance(default, dict):
            if inner := difference(value, default):
                result[key] = inner
        elif key not in defaults or value != default:
            result[key] = value
    return result
