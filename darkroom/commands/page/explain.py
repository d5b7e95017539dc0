"""One picture on the page: its most probable classes, and the heat map of a class."""

import base64
import io
from typing import TYPE_CHECKING, Any

import numpy as np

from darkroom.images.decode import decode
from darkroom.inference.formats import Exported
from darkroom.inference.predictor import MAX_SIDE, probabilities

if TYPE_CHECKING:
    from darkroom.evaluate.grad_cam import Explainer

MAX_PIXELS = 50_000_000  # of a picture
SIDES = (320, 640)  # pixels: limits of the longer side of the picture on the page
CLASSES = 10  # shown at most


def explain(
    data: bytes, exported: Exported, explainer: "Explainer | None", number: int | None = None
) -> dict[str, Any]:
    """Classify a picture file and explain the result.

    Args:
        data: the file's bytes.
        exported: the model.
        explainer: makes heat maps, or None.
        number: the class of the heat map; the most probable one if None.

    Returns:
        `top` (label, probability and number of each class, the most probable first), `picture` and `overlay` as data
        URLs (`overlay` is None without an explainer).

    Raises:
        UserError: the file is not a readable picture, or is too large for the model.
    """
    pixels = decode(data, max_pixels=MAX_PIXELS, max_side=MAX_SIDE)
    row = probabilities(exported, pixels[None])[0]
    numbers = [int(place) for place in np.argsort(-row, kind="stable")[:CLASSES]]
    shown, overlay = resized(pixels), None
    if explainer:
        from darkroom.evaluate.grad_cam import overlay as blend

        # Grad-CAM of a large picture would take gigabytes, and heat maps are smaller than the picture shown anyway.
        heat = explainer.heat(min(pixels, shown, key=np.size), numbers[0] if number is None else number)
        overlay = data_url(blend(shown, enlarged(heat, shown.shape)))
    return {
        "top": [{"label": exported.classes[i], "probability": float(row[i]), "number": i} for i in numbers],
        "picture": data_url(shown),
        "overlay": overlay,
    }


def resized(pixels: np.ndarray) -> np.ndarray:
    """Shrink a large picture for the page; repeat the pixels of a tiny one to make them visible."""
    from PIL import Image

    smallest, largest = SIDES
    height, width = pixels.shape[:2]
    times = -(-smallest // max(height, width))
    if times > 1:
        return pixels.repeat(times, axis=0).repeat(times, axis=1)
    image = Image.fromarray(pixels)
    image.thumbnail((largest, largest), Image.Resampling.BOX)
    return np.asarray(image)


def enlarged(heat: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Enlarge heat (height, width), 0 to 1, to the size of a picture of `shape`."""
    from PIL import Image

    return np.asarray(Image.fromarray(heat).resize((shape[1], shape[0]), Image.Resampling.BILINEAR))


def data_url(pixels: np.ndarray) -> str:
    """Encode a picture as a JPEG in a `data:` URL."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=92, subsampling=0)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"
