"""Settings: reading YAML, checking it against typed models, and merging it.

The model of each section is in its stage's room (`darkroom/<stage>/params.py`); `darkroom/pipeline/params.py` combines
them.
"""

import copy
import functools
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, GetCoreSchemaHandler, ValidationError
from pydantic_core import CoreSchema, core_schema

from darkroom.core.errors import UserError

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
Pooling = Literal["avg", "max", "flatten"]
Precision = Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"]


def first_match(pattern: str, text: str) -> str:
    """The first match of a regular expression, or of its first group that matched; empty if there is none."""
    match = re.search(pattern, text)
    return next(filter(None, match.groups() or [match[0]]), "") if match else ""


def _pattern(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"it is not a regular expression ({error})") from None
    return pattern


Pattern = Annotated[str, AfterValidator(_pattern)]
Model = TypeVar("Model", bound=BaseModel)


class Section(BaseModel):
    """A mapping in params.yaml: unknown keys are refused, and values are not converted between types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


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


def read_yaml(path: Path) -> Any:
    """Read a YAML 1.2 file, as DVC does.

    Raises:
        UserError: it is missing or not valid YAML.
    """
    if not path.exists():
        raise UserError(f"{path} is missing: run from the project's root folder.")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UserError(f"{path} is not valid YAML: its text is not UTF-8.") from None
    return parse_yaml(text, str(path))


def parse_yaml(text: str, name: str) -> Any:
    """Parse YAML 1.2; `name` stands for the text in error messages.

    Raises:
        UserError: it is not valid YAML, or a mapping has the same key twice.
    """
    from ruamel.yaml.constructor import DuplicateKeyError
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        return copy.deepcopy(_loaded(text))
    except DuplicateKeyError as error:
        problem = str(error.problem).partition(" with value")[0]
        raise UserError(f"{name} is not valid YAML: {problem} in line {error.problem_mark.line + 1}.") from None
    except MarkedYAMLError as error:
        place = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        problem = error.problem or error.context
        raise UserError(f"{name} is not valid YAML: {problem}{place}.") from None
    except (YAMLError, ValueError) as error:  # a ValueError comes from a date such as 2025-02-31
        raise UserError(f"{name} is not valid YAML: {' '.join(str(error).split())}.") from None


@functools.lru_cache(maxsize=64)
def _loaded(text: str) -> Any:
    """Parse YAML; cached, since a page of it takes tenths of a second and a run in MLflow needs params many times."""
    from ruamel.yaml import YAML

    return YAML(typ="safe", pure=True).load(text)


def validate(model: type[Model], content: dict[str, Any], name: str) -> Model:
    """Turn content into an object of `model`; `name` is that of the file.

    Raises:
        UserError: one sentence that names every wrong key with its value and what is allowed.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{name}: {'; '.join(_problems(model, content, error))}.") from None


def _problems(model: type[BaseModel], content: Any, error: ValidationError) -> list[str]:
    """List the problems, one per key: the alternatives of a key with several types are joined."""
    problems: list[str] = []
    wrong: dict[tuple[str, str], list[str]] = {}
    for item in error.errors():
        location = item["loc"]
        if item["type"] == "missing":
            problems.append(f"{'.'.join(map(str, location))} is missing")
        elif item["type"] == "extra_forbidden":
            problem = "is unknown (allowed here:" if location[1:] else "is not a section (sections:"
            problems.append(f"{'.'.join(map(str, location))} {problem} {', '.join(_keys(model, location[:-1]))})")
        elif item["type"] == "value_error" and isinstance(item["input"], dict | BaseModel) and location[1:] == ():
            problems.append(f"{location[0]}: {item['ctx']['error']}")  # keys that do not go together
        else:
            key = ".".join(map(str, _in_content(location, content)))
            wrong.setdefault((key, _shown(item["input"])), []).append(_requirement(item))
    return problems + [f"{key} is {value}, but {' or '.join(texts)}" for (key, value), texts in wrong.items()]


def _requirement(item: Any) -> str:
    """What pydantic asks of a value, without the subject of its sentence."""
    if item["type"] == "value_error":
        return str(item["ctx"]["error"])
    if item["type"] in ("model_type", "dict_type"):
        return "should be a mapping"
    return re.sub(r"^(Input|List|String) ", "", item["msg"])


def _shown(value: Any) -> str:
    """A value in the notation of YAML, as far as Python's differs."""
    return {"None": "null", "True": "true", "False": "false"}.get(repr(value), repr(value))


def _in_content(location: Sequence[int | str], content: Any) -> list[int | str]:
    """The part of pydantic's location that exists in the file; the rest names a member of a union."""
    keys: list[int | str] = []
    for key in location:
        try:
            content = content[key]
        except (KeyError, IndexError, TypeError):
            break
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
