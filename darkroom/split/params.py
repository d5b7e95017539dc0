"""Section `split` of params.yaml."""

import math
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from darkroom.core.params import Count, OneOf, Section
from darkroom.core.patterns import Pattern
from darkroom.split.methods import METHODS


class Params(Section):
    """Section `split` of params.yaml."""

    method: Annotated[str, OneOf(METHODS)] = "ratio"
    ratio: list[Annotated[float, Field(ge=0, le=1)]] = Field([0.7, 0.1, 0.2], min_length=3, max_length=3)
    fixed: list[Count] | None = Field(None, min_length=2, max_length=2, validate_default=True)
    folds: int = Field(5, ge=2, le=1000)
    fold: int = Field(1, ge=1, le=1000)
    hold_out: Literal["last", "first"] = "last"
    group: Pattern | None = None
    near_duplicates_together: bool = True

    @field_validator("ratio")
    @classmethod
    def _shares(cls, ratio: list[float]) -> list[float]:
        if ratio[0] == 0 or not math.isclose(sum(ratio), 1, abs_tol=1e-6):
            raise ValueError("train, val and test must be shares that add up to 1, the first more than 0")
        return ratio

    @field_validator("fixed")
    @classmethod
    def _numbers(cls, fixed: list[Count] | None, info: ValidationInfo) -> list[int] | None:
        if fixed is None and info.data.get("method") == "fixed":
            raise ValueError(
                "method fixed needs the numbers of pictures of each class for val and test, such as [50, 100]"
            )
        return fixed

    @field_validator("fold")
    @classmethod
    def _within_folds(cls, fold: int, info: ValidationInfo) -> int:
        if fold > info.data.get("folds", fold):
            raise ValueError(f"the folds are 1 to {info.data['folds']}")
        return fold
