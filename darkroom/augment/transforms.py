"""Random transforms of pictures: parameters are drawn for each picture, Keras' operations and layers apply them.

All geometric transforms are combined in one affine map, so that a picture is resampled once.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from darkroom.core import seeds

GREY = 127.5  # of an erased rectangle


class Transforms(NamedTuple):
    """The largest value of each transform; it is drawn uniformly, in both directions if it has two. 0 is off."""

    rotation: float = 0  # degrees
    width_shift: float = 0  # share of the width
    height_shift: float = 0  # share of the height
    shear: float = 0  # degrees
    zoom: float = 0  # share, of width and of height independently
    crop: float = 0  # share of both sides that is cut off, at a random position
    horizontal_flip: bool = False  # half of the pictures
    vertical_flip: bool = False  # half of the pictures
    hue: float = 0  # share of the colour circle
    saturation: float = 0  # share
    colour_shift: float = 0  # share of 255, for red, green and blue independently
    brightness: float = 0  # share of 255
    contrast: float = 0  # share
    noise: float = 0  # standard deviation of normal noise, share of 255
    erasing: float = 0  # share of both sides of a rectangle that is filled with grey
    fill: Literal["nearest", "constant", "reflect", "wrap"] = "nearest"  # pixels from outside; constant is black
    single: bool = False  # only one of `ALTERNATIVES` for each picture, or none


ALTERNATIVES = (
    "rotation", "width_shift", "height_shift", "shear", "zoom", "hue", "saturation", "colour_shift", "brightness",
    "contrast", "noise",
)  # fmt: skip


PRESETS = {
    # The settings of the common tutorials on Keras' ImageDataGenerator, which takes shear in degrees.
    "tutorial": Transforms(rotation=40, width_shift=0.2, height_shift=0.2, shear=0.2, zoom=0.2, horizontal_flip=True),
    # After Müller and Hutter, TrivialAugment: Tuning-free Yet State-of-the-Art Data Augmentation, 2021.
    "trivial_augment": Transforms(
        rotation=30, width_shift=0.2, height_shift=0.2, shear=20, zoom=0.3, hue=0.1, saturation=0.8, colour_shift=0.2,
        brightness=0.4, contrast=0.8, noise=0.1, crop=0.2, horizontal_flip=True, erasing=0.4, single=True,
    ),
    "none": Transforms(),
}  # fmt: skip


class Drawn(NamedTuple):
    """The parameters drawn for one picture."""

    matrix: np.ndarray  # 3 x 3: (x, y, 1) in the new picture to that in the old one
    hue: float
    saturation: float
    colours: np.ndarray  # (3,), added to values from 0 to 255
    contrast: float
    noise: float
    erased: tuple[int, int, int, int]  # top, bottom, left, right


def change(images: np.ndarray, transforms: Transforms, seed: int, names: Sequence[tuple[str, int]]) -> np.ndarray:
    """Transform pictures (batch, height, width, 3), 0 to 255, at random; the result is uint8.

    The parameters of a picture depend only on the seed and its name: its content hash and the number of the copy.
    """
    height, width = images.shape[1:3]
    drawn = [draw(height, width, transforms, seeds.stream(seed, "augment", *name)) for name in names]
    return apply(images, drawn, transforms.fill, [seeds.derive(seed, "noise", *name) for name in names])


def draw(height: int, width: int, transforms: Transforms, random: np.random.Generator) -> Drawn:
    """Draw the parameters for one picture; switching a transform on or off does not change those of the others."""
    t = transforms
    signed = random.uniform(-1, 1, 16)
    unsigned = random.uniform(0, 1, 8)
    if t.single:
        chosen = random.choice([*(name for name in ALTERNATIVES if getattr(t, name)), ""])
        others: dict[str, Any] = {name: 0 for name in ALTERNATIVES if name != chosen}
        t = t._replace(**others)
    erased = np.round(np.array([height, width]) * t.erasing * unsigned[:2]).astype(int)
    top, left = ((np.array([height, width]) - erased) * unsigned[2:4]).astype(int)
    return Drawn(
        affine(height, width, t, signed[:8], unsigned[4:7]),
        hue=t.hue * signed[8],
        saturation=t.saturation * signed[9],
        colours=255 * (t.colour_shift * signed[10:13] + t.brightness * signed[13]),
        contrast=1 + t.contrast * signed[14],
        noise=255 * t.noise * unsigned[7],
        erased=(int(top), int(top + erased[0]), int(left), int(left + erased[1])),
    )


def affine(height: int, width: int, transforms: Transforms, signed: np.ndarray, unsigned: np.ndarray) -> np.ndarray:
    """The 3 x 3 matrix that maps (x, y, 1) in the new picture to that in the old one, about the centre.

    Args:
        height: in pixels.
        width: in pixels.
        transforms: the largest values.
        signed: eight numbers from -1 to 1.
        unsigned: three numbers from 0 to 1.
    """
    t = transforms
    angle, shear = np.deg2rad([t.rotation * signed[0], t.shear * signed[1]])
    shift = np.array([t.width_shift * width * signed[2], t.height_shift * height * signed[3]])
    zoom = 1 + t.zoom * signed[4:6]
    visible = 1 - t.crop * unsigned[0]
    shift += (1 - visible) / 2 * np.array([width - 1, height - 1]) * signed[6:8]
    mirror = [
        -1 if flip and number < 0.5 else 1
        for flip, number in zip((t.horizontal_flip, t.vertical_flip), unsigned[1:], strict=True)
    ]
    rotate = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    slant = np.array([[1, -np.sin(shear), 0], [0, np.cos(shear), 0], [0, 0, 1]])
    scale = np.diag([*(visible * zoom * mirror), 1])
    centre = np.array([[1, 0, (width - 1) / 2], [0, 1, (height - 1) / 2], [0, 0, 1]])
    move = np.array([[1, 0, shift[0]], [0, 1, shift[1]], [0, 0, 1]])
    return centre @ move @ rotate @ slant @ scale @ np.linalg.inv(centre)


def apply(images: np.ndarray, drawn: Sequence[Drawn], fill: str, noise_seeds: Sequence[int]) -> np.ndarray:
    """The transformed pictures, uint8 of the same shape (batch, height, width, 3).

    The result for a picture does not depend on the others of its batch.
    """
    import keras
    from keras import ops

    layers, pixels = _layers(), images.astype(np.float32)

    def change(rows: np.ndarray, operation: Callable[[np.ndarray], Any]) -> None:
        """Change only the pictures that a transform was drawn for, which with `single` are few."""
        if rows.any():
            pixels[rows] = ops.convert_to_numpy(operation(pixels[rows]))

    values = {name: np.array([getattr(item, name) for item in drawn], np.float32) for name in Drawn._fields[1:6]}
    hue, saturation, colours, contrast, noise = values.values()
    matrices = np.array([item.matrix for item in drawn])
    coefficients = matrices.reshape(-1, 9)[:, :8].astype(np.float32)
    options = {"interpolation": "bilinear", "fill_mode": fill, "data_format": "channels_last"}
    moved = ~np.isclose(matrices, np.eye(3)).all(axis=(1, 2))
    change(moved, lambda some: ops.image.affine_transform(some, coefficients[moved], **options))
    rows: np.ndarray = hue != 0
    change(rows, lambda some: layers["hue"].transform_images(some, {"factor": hue[rows]}))
    rows = saturation != 0
    change(rows, lambda some: 255 * layers["saturation"].transform_images(some / 255, {"factor": 1 + saturation[rows]}))
    for row in np.flatnonzero(
        contrast != 1
    ).tolist():  # one by one: in a batch, the sum for the mean is rounded differently
        factor = {"contrast_factor": contrast[row]}
        pixels[row] = ops.convert_to_numpy(layers["contrast"].transform_images(pixels[row : row + 1], factor))[0]
    rows = np.array(colours.any(axis=1))
    change(rows, lambda some: layers["brightness"].transform_images(some, {"rgb_delta": colours[rows, None, None]}))
    for row in np.flatnonzero(noise).tolist():
        normal = keras.random.normal(images.shape[1:], seed=noise_seeds[row])
        pixels[row] += ops.convert_to_numpy(normal) * noise[row]
    for row, (top, bottom, left, right) in enumerate(item.erased for item in drawn):
        pixels[row, top:bottom, left:right] = GREY
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


@functools.cache
def _layers() -> dict[str, Any]:
    """Keras' preprocessing layers; `draw` draws the parameters that they would draw themselves."""
    from keras import layers

    return {
        "hue": layers.RandomHue(1.0, value_range=(0, 255)),
        "saturation": layers.RandomSaturation(1.0, value_range=(0, 1)),
        "contrast": layers.RandomContrast(1.0, value_range=(0, 255)),
        "brightness": layers.RandomBrightness(1.0, value_range=(0, 255)),
    }
