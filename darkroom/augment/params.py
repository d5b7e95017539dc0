"""Section `augment` of params.yaml, and the keys for transforms that other sections share."""

from typing import Annotated, Literal

from pydantic import Field

from darkroom.augment.transforms import PRESETS, Transforms
from darkroom.core.params import Count, OneOf, Section

Preset = Annotated[str, OneOf(PRESETS)]
Share = Annotated[float | None, Field(ge=0, le=1)]


class Changes(Section):
    """Keys of params.yaml that choose transforms: a preset, and values that replace its own unless they are null."""

    preset: Preset = "none"
    rotation: Annotated[float | None, Field(ge=0, le=180)] = None
    width_shift: Share = None
    height_shift: Share = None
    shear: Annotated[float | None, Field(ge=0, le=80)] = None
    zoom: Annotated[float | None, Field(ge=0, lt=1)] = None
    crop: Annotated[float | None, Field(ge=0, lt=1)] = None
    horizontal_flip: bool | None = None
    vertical_flip: bool | None = None
    hue: Annotated[float | None, Field(ge=0, le=0.5)] = None
    saturation: Share = None
    colour_shift: Share = None
    brightness: Share = None
    contrast: Share = None
    noise: Share = None
    erasing: Share = None
    fill: Literal["nearest", "constant", "reflect", "wrap"] | None = None
    single: bool | None = None

    def transforms(self) -> Transforms:
        """The preset with the values that replace its own."""
        values = {name: getattr(self, name) for name in Transforms._fields}
        return PRESETS[self.preset]._replace(**{name: value for name, value in values.items() if value is not None})


class Params(Changes):
    """Section `augment` of params.yaml."""

    preset: Preset = "tutorial"
    target: Literal["max", "none"] | Count = "max"
    undersample: bool = False
