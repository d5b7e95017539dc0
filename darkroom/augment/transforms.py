"""Random changes of a picture: parameters are drawn for the picture, Keras' operations and layers apply them.

All geometry is one affine map, so that a picture is resampled once.
"""

import functools
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from darkroom.core import seeds


class Transforms(NamedTuple):
    """Largest changes, each drawn uniformly up to this, either way where it has two; 0 leaves a thing alone."""

    rotation: float = 0  # degrees
    width_shift: float = 0  # share of the width
    height_shift: float = 0  # share of the height
    shear: float = 0  # degrees
    zoom: float = 0  # share, of width and of height each on its own
    crop: float = 0  # share of both sides that is cut away, at a random place
    horizontal_flip: bool = False  # every other picture
    vertical_flip: bool = False  # every other picture
    hue: float = 0  # share of the colour circle
    saturation: float = 0  # share
    colour_shift: float = 0  # share of 255, for red, green and blue each on its own
    brightness: float = 0  # share of 255
    contrast: float = 0  # share
    noise: float = 0  # standard deviation of normal noise, share of 255
    erasing: float = 0  # share of both sides of a rectangle that is filled with grey
    fill: Literal["nearest", "constant", "reflect", "wrap"] = "nearest"  # what comes in from outside; constant is black


# The settings that the tutorials on Keras' ImageDataGenerator share; that class takes shear in degrees.
PRESETS = {
    "tutorial": Transforms(rotation=40, width_shift=0.2, height_shift=0.2, shear=0.2, zoom=0.2, horizontal_flip=True),
    "none": Transforms(),
}


class Drawn(NamedTuple):
    """What is done to one picture."""

    matrix: np.ndarray  # 3 x 3: a new picture's (x, y, 1) to the old one's
    hue: float
    saturation: float
    colours: np.ndarray  # (3,), to be added to values of 0 to 255
    contrast: float
    noise: float
    erased: tuple[int, int, int, int]  # top, bottom, left, right


def change(images: np.ndarray, transforms: Transforms, seed: int, names: Sequence[tuple[str, int]]) -> np.ndarray:
    """Pictures (batch, height, width, 3), 0 to 255, changed at random, as uint8.

    What is drawn for a picture depends on the seed and its name alone: its content and the number of the change.
    """
    height, width = images.shape[1:3]
    drawn = [draw(height, width, transforms, seeds.stream(seed, "augment", *name)) for name in names]
    return apply(images, drawn, transforms.fill, [seeds.derive(seed, "noise", *name) for name in names])


def draw(height: int, width: int, transforms: Transforms, random: np.random.Generator) -> Drawn:
    """Parameters for one picture; to switch one transform on or off does not change what is drawn for the others."""
    t = transforms
    either = random.uniform(-1, 1, 16)
    share = random.uniform(0, 1, 8)
    erased = np.round(np.array([height, width]) * t.erasing * share[:2]).astype(int)
    top, left = ((np.array([height, width]) - erased) * share[2:4]).astype(int)
    return Drawn(
        affine(height, width, t, either[:8], share[4:7]),
        hue=t.hue * either[8],
        saturation=t.saturation * either[9],
        colours=255 * (t.colour_shift * either[10:13] + t.brightness * either[13]),
        contrast=1 + t.contrast * either[14],
        noise=255 * t.noise * share[7],
        erased=(int(top), int(top + erased[0]), int(left), int(left + erased[1])),
    )


def affine(height: int, width: int, transforms: Transforms, either: np.ndarray, share: np.ndarray) -> np.ndarray:
    """The 3x3 matrix that maps a new picture's (x, y, 1) to the old one's, about the centre.

    Args:
        height: in pixels.
        width: in pixels.
        transforms: the largest changes.
        either: eight numbers from -1 to 1.
        share: three numbers from 0 to 1.
    """
    t = transforms
    angle, shear = np.deg2rad([t.rotation * either[0], t.shear * either[1]])
    shift = np.array([t.width_shift * width * either[2], t.height_shift * height * either[3]])
    zoom = 1 + t.zoom * either[4:6]
    keep = 1 - t.crop * share[0]
    shift += (1 - keep) / 2 * np.array([width - 1, height - 1]) * either[6:8]
    mirror = [
        -1 if flip and draw < 0.5 else 1
        for flip, draw in zip((t.horizontal_flip, t.vertical_flip), share[1:], strict=True)
    ]
    rotate = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    slant = np.array([[1, -np.sin(shear), 0], [0, np.cos(shear), 0], [0, 0, 1]])
    scale = np.diag([*(keep * zoom * mirror), 1])
    centre = np.array([[1, 0, (width - 1) / 2], [0, 1, (height - 1) / 2], [0, 0, 1]])
    move = np.array([[1, 0, shift[0]], [0, 1, shift[1]], [0, 0, 1]])
    return centre @ move @ rotate @ slant @ scale @ np.linalg.inv(centre)


def apply(images: np.ndarray, drawn: Sequence[Drawn], fill: str, noise_seeds: Sequence[int]) -> np.ndarray:
    """The changed pictures, uint8 of the same shape (batch, height, width, 3).

    What becomes of a picture does not depend on the others of its batch.
    """
    import keras
    from keras import ops

    layers = _layers()
    pixels: Any = ops.convert_to_tensor(images.astype(np.float32))
    hue, saturation, contrast = (
        np.array([getattr(one, name) for one in drawn], np.float32) for name in ("hue", "saturation", "contrast")
    )
    colours = np.array([one.colours for one in drawn], np.float32)[:, None, None]
    matrices = np.array([one.matrix for one in drawn])
    if not np.allclose(matrices, np.eye(3)):
        coefficients = matrices.reshape(-1, 9)[:, :8].astype(np.float32)
        how = {"interpolation": "bilinear", "fill_mode": fill, "data_format": "channels_last"}
        pixels = ops.image.affine_transform(pixels, coefficients, **how)
    if hue.any():
        pixels = layers["hue"].transform_images(pixels, {"factor": hue})
    if saturation.any():
        pixels = 255 * layers["saturation"].transform_images(pixels / 255, {"factor": 1 + saturation})
    if (contrast != 1).any():
        # One by one: the sum behind the mean is rounded differently in a batch.
        change = layers["contrast"].transform_images
        pixels = ops.concatenate(
            [change(pixels[row : row + 1], {"contrast_factor": factor}) for row, factor in enumerate(contrast)]
        )
    if colours.any():
        pixels = layers["brightness"].transform_images(pixels, {"rgb_delta": colours})
    if any(one.noise for one in drawn):
        shape = images.shape[1:]
        normal = [keras.random.normal(shape, seed=seed) for seed in noise_seeds]
        pixels += ops.stack(normal) * np.array([one.noise for one in drawn], np.float32)[:, None, None, None]
    masks = np.zeros((*images.shape[:3], 1), bool)
    for mask, (top, bottom, left, right) in zip(masks, (one.erased for one in drawn), strict=True):
        mask[top:bottom, left:right] = True
    if masks.any():
        everywhere = np.ones(len(images), bool)
        erase = {"batch_masks": masks, "apply_erasing": everywhere, "fill_value": np.float32(127.5)}
        pixels = layers["erasing"].transform_images(pixels, erase)
    return np.clip(np.rint(ops.convert_to_numpy(pixels)), 0, 255).astype(np.uint8)


@functools.cache
def _layers() -> dict[str, Any]:
    """Keras' preprocessing layers; what they would draw themselves is drawn in `draw`."""
    from keras import layers

    return {
        "hue": layers.RandomHue(1.0, value_range=(0, 255)),
        "saturation": layers.RandomSaturation(1.0, value_range=(0, 1)),
        "contrast": layers.RandomContrast(1.0, value_range=(0, 255)),
        "brightness": layers.RandomBrightness(1.0, value_range=(0, 255)),
        "erasing": layers.RandomErasing(1.0, value_range=(0, 255)),
    }
