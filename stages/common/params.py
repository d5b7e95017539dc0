"""`params.yaml`: read, and every section checked against its typed model before any stage works.

Each stage owns the model of its own section (`Params` in its script); this module holds what belongs to none of them.
"""

import importlib
import re
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stages.common.errors import StageError
from stages.common.paths import PARAMS

Pooling = Literal["avg", "max", "flatten"]
STAGES = ("download", "split", "augment", "extract", "train", "evaluate", "export")


class Section(BaseModel):
    """A part of params.yaml: unknown keys are refused, and nothing is converted from one type to another."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Base(Section):
    """What every stage reads."""

    seed: int = Field(ge=0, lt=2**32)


class Tracking(Section):
    """Where runs are recorded; never a dependency of a stage."""

    experiment: str = Field(min_length=1)


class _Loader(yaml.SafeLoader):
    """SafeLoader that reads 1e-4 as a number, as YAML 1.2 and DVC do (YAML 1.1 takes it for text)."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def load(path: Path = PARAMS) -> dict[str, Any]:
    """The file as it stands, unchecked.

    Raises:
        StageError: it is missing, or not YAML, or not a mapping of sections.
    """
    if not path.exists():
        raise StageError(f"{path} is not here: run from the project's root folder.")
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise StageError(f"{path} is not valid YAML: {' '.join(str(error).split())}.") from None
    if not isinstance(content, dict):
        raise StageError(f"{path} must hold the sections {', '.join(models())}.")
    return content


def models() -> dict[str, type[Section]]:
    """Section name to its model. Importing a stage's script is cheap: none imports TensorFlow at its top."""
    stages = {name: importlib.import_module(f"stages.{name}").Params for name in STAGES}
    return {"base": Base, **stages, "tracking": Tracking}


def check(content: dict[str, Any]) -> dict[str, Section]:
    """All sections as typed objects.

    Raises:
        StageError: one sentence that names every wrong key, its value and what is allowed.
    """
    known = models()
    problems = [f"{name} is no section (sections: {', '.join(known)})" for name in content if name not in known]
    sections = {}
    for name, model in known.items():
        section = content.get(name) or {}
        try:
            sections[name] = model.model_validate(section)
        except ValidationError as error:
            problems += _sentences(name, model, section, error)
    if problems:
        raise StageError(f"{PARAMS}: {'; '.join(problems)}.")
    return sections


def _sentences(name: str, model: type[BaseModel], section: Any, error: ValidationError) -> list[str]:
    """What is wrong, key by key; the alternatives of a key that may be of several types make one sentence."""
    special: list[str] = []
    wrong: dict[tuple[str, str], list[str]] = {}
    for item in error.errors():
        *above, last = item["loc"] or ("",)
        key = ".".join(map(str, (name, *above, last)))
        if item["type"] == "missing":
            special.append(f"{key} is missing")
        elif item["type"] == "extra_forbidden":
            special.append(f"{key} is unknown (allowed here: {', '.join(_fields(model, above))})")
        elif item["type"] == "value_error" and item["input"] is section:
            special.append(f"{name}: {item['ctx']['error']}")  # keys that do not go together; all would be shown
        else:
            text = str(item["ctx"]["error"]) if item["type"] == "value_error" else item["msg"]
            key = ".".join(map(str, (name, *_known(item["loc"], section))))
            wrong.setdefault((key, repr(item["input"])), []).append(text.removeprefix("Input "))
    return special + [f"{key} is {value}, but {_lower(' or '.join(texts))}" for (key, value), texts in wrong.items()]


def _known(location: tuple[int | str, ...], content: Any) -> list[int | str]:
    """The part of pydantic's location that is in the file: what follows names a member of a union."""
    found: list[int | str] = []
    for part in location:
        try:
            content = content[part]
        except (KeyError, IndexError, TypeError):
            break
        found.append(part)
    return found


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _fields(model: type[BaseModel], location: list[str | int]) -> list[str]:
    """Names of the keys at `location` below `model`."""
    for part in location:
        annotation = model.model_fields[str(part)].annotation
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
