"""Section `export` of params.yaml."""

import re
from typing import Annotated

from pydantic import Field, field_validator

from darkroom.core.params import OneOf, Section
from darkroom.inference.formats import FORMATS


class Params(Section):
    """Section `export` of params.yaml."""

    formats: list[Annotated[str, OneOf(list(FORMATS))]] = Field(["saved_model", "onnx"], min_length=1)
    check_pictures: int = Field(50, ge=1, le=1_000_000)
    register_as: str | None = Field(None, alias="register", min_length=1)

    @field_validator("register_as")
    @classmethod
    def _plain(cls, name: str | None) -> str | None:
        # MLflow's addresses and queries contain it unquoted.
        if name is not None and not re.fullmatch(r"[A-Za-z0-9 _.-]+", name):
            raise ValueError("a name may have letters, digits, spaces, _, . and - only")
        return name

    @field_validator("formats")
    @classmethod
    def _once(cls, names: list[str]) -> list[str]:
        if len(set(names)) < len(names):
            raise ValueError("each format may be listed once")
        return names
