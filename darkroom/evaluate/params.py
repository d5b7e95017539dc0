"""Section `evaluate` of params.yaml."""

from pydantic import Field

from darkroom.core.params import Section


class Params(Section):
    """Section `evaluate` of params.yaml."""

    mistakes: int = Field(24, ge=0, le=600)
    bootstrap: int = Field(1000, ge=100, le=1_000_000)
    grad_cam: int = Field(12, ge=0, le=300)
    label_issues: int = Field(48, ge=0, le=600)
    map: int = Field(10_000, ge=0, le=50_000)
