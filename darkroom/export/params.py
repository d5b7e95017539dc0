"""Section `export` of params.yaml."""

import re
from typing import Literal

from pydantic import Field, field_validator

from darkroom.core.params import Section


class Params(Section):
    """Section `export` of params.yaml."""

    formats: list[Literal["keras", "saved_model", "onnx", "litert", "litert_int8"]] = Field(
        ["saved_model", "onnx"], min_length=1
    )
    check_pictures: int = Field(50, ge=1)
    register_as: str | None = Field(None, alias="register", min_length=1)

    @field_validator("register_as")
    @classmethod
    def _plain(cls, name: str | None) -> str | None:
        # MLflow's addresses and queries are put together from it.
        if name is not None and not re.fullmatch(r"[A-Za-z0-9 _.-]+", name):
            raise ValueError("a name may have letters, digits, spaces, _, . and - only")
        return name

    @field_validator("formats")
    @classmethod
    def _once(cls, kinds: list[str]) -> list[str]:
        if len(set(kinds)) < len(kinds):
            raise ValueError("each format may stand there once")
        return kinds
