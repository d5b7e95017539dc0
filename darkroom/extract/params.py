"""Section `extract` of params.yaml."""

from pydantic import Field

from darkroom.core.params import Pooling, Precision, Section, Side


class Params(Section):
    """Section `extract` of params.yaml."""

    backbone: str | None = Field("VGG16", min_length=1)
    weights: str = Field("imagenet", min_length=1)
    image_size: list[Side] = Field([48, 48], min_length=2, max_length=2)
    layers: list[str] = Field(["block3_pool"], min_length=1, max_length=100)
    pooling: Pooling = "flatten"
    mirror: bool = False
    precision: Precision = "auto"
