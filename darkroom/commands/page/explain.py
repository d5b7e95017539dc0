"""What a person is shown of one picture: what it is taken for, and what speaks for it."""

import base64
import io
from typing import TYPE_CHECKING, Any

import numpy as np

from darkroom.images.decode import decode
from darkroom.inference.formats import Exported
from darkroom.inference.predictor import LONGEST, probabilities

if TYPE_CHECKING:
    from darkroom.evaluate.grad_cam import Explainer

LARGEST = 50_000_000  # pixels of a picture
SIDES = (320, 640)  # pixels that the longer side of what is shown has at least and at most
CLASSES = 10  # at most


def look(data: bytes, exported: Exported, explainer: "Explainer | None", number: int | None = None) -> dict[str, Any]:
    """What the model says of a picture file.

    Args:
        data: its bytes.
        exported: what predicts.
        explainer: what makes heat maps, or None.
        number: of the class whose heat map is wanted; the most probable one's if None.

    Returns:
        `top` (label, probability and number of each class, the most probable first), `picture` and `overlay` as data
        URLs (the second None where there is no heat map).

    Raises:
        UserError: it is not a picture that can be read, or too much for the model.
    """
    pixels = decode(data, max_pixels=LARGEST, max_side=LONGEST)
    row = probabilities(exported, pixels[None])[0]
    order = [int(place) for place in np.argsort(-row, kind="stable")[:CLASSES]]
    shown, overlay = resized(pixels), None
    if explainer:
        from darkroom.evaluate.grad_cam import overlay as laid_over

        # A large picture would take gigabytes here, and maps are smaller than what is shown.
        heat = explainer.heat(min(pixels, shown, key=np.size), order[0] if number is None else number)
        overlay = data_url(laid_over(shown, enlarged(heat, shown.shape)))
    return {
        "top": [{"label": exported.classes[i], "probability": float(row[i]), "number": i} for i in order],
        "picture": data_url(shown),
        "overlay": overlay,
    }


def resized(pixels: np.ndarray) -> np.ndarray:
    """A picture made small enough for a page; a tiny one has its pixels repeated, so that they can be seen."""
    from PIL import Image

    least, most = SIDES
    height, width = pixels.shape[:2]
    times = -(-least // max(height, width))
    if times > 1:
        return pixels.repeat(times, axis=0).repeat(times, axis=1)
    image = Image.fromarray(pixels)
    image.thumbnail((most, most), Image.Resampling.BOX)
    return np.asarray(image)


def enlarged(heat: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Heat (height, width), 0 to 1, as large as a picture of `shape`."""
    from PIL import Image

    return np.asarray(Image.fromarray(heat).resize((shape[1], shape[0]), Image.Resampling.BILINEAR))


def data_url(pixels: np.ndarray) -> str:
    """A picture as what a page's `img` takes for an address."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=92, subsampling=0)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"
