"""Settings in YAML, checked against typed models: the parts that no single stage owns.

The model of each section lies in the room of its stage (`darkroom/<stage>/params.py`); `darkroom/pipeline/params.py`
puts them together.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, ValidationError
from pydantic_core import CoreSchema, core_schema

from darkroom.core.errors import UserError

Pooling = Literal["avg", "max", "flatten"]
Precision = Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"]
Model = TypeVar("Model", bound=BaseModel)


class Section(BaseModel):
    """A mapping in params.yaml: unknown keys are refused, and no value is converted from one type to another."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Base(Section):
    """Section `base`, which every stage reads."""

    seed: int = Field(42, ge=0, lt=2**32)


class OneOf:
    """Annotation of a string that must be one of some names, which are known only at run time."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = list(names)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """The same check and message as for a Literal."""
        return core_schema.literal_schema(self.names)


def read_yaml(path: Path) -> Any:
    """The content of a YAML 1.2 file, as DVC reads it.

    Raises:
        UserError: it is missing or not valid YAML.
    """
    if not path.exists():
        raise UserError(f"{path} is not here: run from the project's root folder.")
    return parse_yaml(path.read_text(encoding="utf-8"), str(path))


def parse_yaml(text: str, name: str) -> Any:
    """The content of YAML 1.2 text; `name` says in an error what it is.

    Raises:
        UserError: it is not valid YAML.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe", pure=True).load(io.StringIO(text))
    except YAMLError as error:
        raise UserError(f"{name} is not valid YAML: {' '.join(str(error).split())}.") from None


def validate(model: type[Model], content: dict[str, Any], name: str) -> Model:
    """Content as an object of a model.

    Raises:
        UserError: one sentence that names every wrong key with its value and what is allowed; `name` is the file's.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{name}: {'; '.join(_problems(model, content, error))}.") from None


def _problems(model: type[BaseModel], content: Any, error: ValidationError) -> list[str]:
    """What is wrong, key by key; the alternatives of a key that may be of several types make one sentence."""
    special: list[str] = []
    wrong: dict[tuple[str, str], list[str]] = {}
    for item in error.errors():
        location = item["loc"]
        text = str(item["ctx"]["error"]) if item["type"] == "value_error" else item["msg"]
        if item["type"] == "missing":
            special.append(f"{'.'.join(map(str, location))} is missing")
        elif item["type"] == "extra_forbidden":
            allowed = ", ".join(_keys(model, location[:-1]))
            kind = f"is unknown (allowed here: {allowed})" if location[1:] else f"is no section (sections: {allowed})"
            special.append(f"{'.'.join(map(str, location))} {kind}")
        elif item["type"] == "value_error" and isinstance(item["input"], dict | BaseModel) and location[1:] == ():
            special.append(f"{location[0]}: {text}")  # keys that do not go together
        else:
            key = ".".join(map(str, _in_content(location, content)))
            wrong.setdefault((key, repr(item["input"])), []).append(text.removeprefix("Input "))
    return special + [f"{key} is {value}, but {_lower(' or '.join(texts))}" for (key, value), texts in wrong.items()]


def _in_content(location: Sequence[int | str], content: Any) -> list[int | str]:
    """The part of pydantic's location that is in the file; what follows names a member of a union."""
    keys: list[int | str] = []
    for key in location:
        try:
            content = content[key]
        except (KeyError, IndexError, TypeError):
            break
        keys.append(key)
    return keys or list(location)


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _keys(model: type[BaseModel], location: Sequence[str | int]) -> list[str]:
    """Names of the keys at `location` below `model`."""
    for key in location:
        annotation = model.model_fields[str(key)].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            break
        model = annotation
    return [field.alias or name for name, field in model.model_fields.items()]


def flat(content: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"train": {"epochs": 5}}` as `{"train.epochs": 5}`."""
    result: dict[str, Any] = {}
    for key, value in content.items():
        name = f"{prefix}{key}"
        result.update(flat(value, f"{name}.") if isinstance(value, dict) else {name: value})
    return result


def overlay(content: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """`content` with `change` on top: mappings merge key by key, everything else is replaced."""
    deeper = {key for key, value in change.items() if isinstance(value, dict) and isinstance(content.get(key), dict)}
    return content | change | {key: overlay(content[key], change[key]) for key in deeper}


def difference(content: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """The smallest change that makes `content` of `defaults` by `overlay`."""
    result: dict[str, Any] = {}
    for key, value in content.items():
        default = defaults.get(key)
        if isinstance(value, dict) and isinstance(default, dict):
            if inner := difference(value, default):
                result[key] = inner
        elif key not in defaults or value != default:
            result[key] = value
    return result
