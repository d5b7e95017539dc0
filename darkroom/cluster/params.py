"""Section `compute` of params.yaml: where pictures are checked, augmented and run through the backbone."""

from typing import Literal

from pydantic import Field, model_validator

from darkroom.core.params import Section


class Compute(Section):
    """Never a dependency of a stage: the results are the same."""

    engine: Literal["local", "ray"] = "local"
    address: str | None = Field(None, pattern=r"^[^:/\s]+:\d+$")
    workers: int | None = Field(None, ge=1, le=10_000)

    @model_validator(mode="after")
    def _check(self) -> "Compute":
        if self.engine == "local" and (self.address or self.workers):
            raise ValueError("engine local uses the cores of this machine: address and workers are Ray's")
        return self
