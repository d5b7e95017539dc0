"""Section `download` of params.yaml."""

import os
from collections.abc import Collection
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from darkroom.core.params import OneOf, Section, Side
from darkroom.core.patterns import Pattern
from darkroom.core.secrets import without_secrets
from darkroom.download import sources
from darkroom.download.sources.base import safe_name


class Csv(Section):
    """The format of the files of source csv."""

    shape: list[Side] = Field(default=[28, 28], min_length=2, max_length=3)
    header: bool | None = None

    @field_validator("shape")
    @classmethod
    def _grey_or_colour(cls, shape: list[int]) -> list[int]:
        if shape[2:] not in ([], [3]):
            raise ValueError("it must be [height, width] for grey or [height, width, 3] for colour")
        return shape


Text = Annotated[str, Field(min_length=1)]


class Parts(Section):
    """The folders, or the values in a table's column, that are official parts."""

    train: Text | Annotated[list[str], Field(min_length=1)]
    val: str | list[str] | None = None
    test: str | list[str] | None = None


class Columns(Section):
    """The columns of the tables of source table; null: found by the usual names."""

    picture: str | None = None
    label: str | None = None
    part: str | None = None
    group: str | None = None


def _literal(path: str) -> str:
    """Refuse what a shell would expand: DVC takes it literally."""
    if (expanded := os.path.expandvars(os.path.expanduser(path))) != path:  # noqa: PTH111 - keeps all else as it is
        raise ValueError(f"DVC takes that literally: write {expanded}")
    return path


LiteralPath = Annotated[Text, AfterValidator(_literal)]


class Params(Section):
    """Section `download` of params.yaml."""

    source: Annotated[str, OneOf(sources.NAMES)] = "tfds"
    name: str | None = Field("fashion_mnist:3.0.1", min_length=1)
    data_dir: str | None = None
    manual_dir: str | None = None
    path: LiteralPath = "data/incoming"
    pictures: LiteralPath | None = None
    layout: Literal["auto", "classes", "parts"] = "auto"
    parts: Parts | None = None
    label_from: Pattern | None = None
    table: Columns = Columns()
    url: Annotated[str, AfterValidator(without_secrets)] | None = None
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$")
    unpacked_gb: float = Field(50, gt=0, le=1_000_000)
    unpacked_files: int = Field(1_000_000, ge=1, le=1_000_000_000)
    csv: Csv = Csv()
    classes: list[str] | dict[str, str] | None = None
    unlabelled: LiteralPath = "data/unlabelled"
    limit_per_class: int | None = Field(2400, ge=2, le=1_000_000_000)
    on_bad: Literal["drop", "fail"] = "drop"
    min_side: int = Field(10, ge=1, le=1_000_000)
    max_megapixels: float = Field(100, gt=0, le=1000)
    near_duplicates: float | None = Field(0.95, gt=0, le=1)

    @property
    def class_names(self) -> Collection[str]:
        """The classes that are used, as they are called here; empty for all."""
        return self.classes.values() if isinstance(self.classes, dict) else self.classes or ()

    @model_validator(mode="after")
    def _has_name(self) -> "Params":
        if self.source == "tfds" and self.name is None:
            raise ValueError("source tfds needs the name of a data set, such as fashion_mnist:3.0.1")
        return self

    @field_validator("classes")
    @classmethod
    def _are_folder_names(cls, classes: list[str] | dict[str, str] | None) -> list[str] | dict[str, str] | None:
        for name in classes.values() if isinstance(classes, dict) else ():
            if safe_name(name) != name:
                raise ValueError(f"{name!r} cannot be the name of a folder: {safe_name(name)!r} can")
        return classes
