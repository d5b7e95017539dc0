"""The networks that are trained from scratch, one file each: resized pixels in, logits out.

The file of a network has its name, and a function `layers(x, activation, classes)`, which takes its `OPTIONS` too. A
new file in this folder adds a network. Its layers have names: Keras' numbers would depend on what else the process has
built, and they are stored in the weights file.
"""

import importlib
import pkgutil
from typing import TYPE_CHECKING, Any

from darkroom.core.errors import UserError

if TYPE_CHECKING:
    import keras


OPTIONS = {"compact_resnet": ("filters", "stochastic_depth")}  # settings that only some networks have


def names() -> list[str]:
    """The networks that `train.network` can name. Does not import Keras."""
    return [module.name for module in pkgutil.iter_modules(__path__) if module.name != "base"]


def build(settings: dict[str, Any], classes: int, precision: str = "float32") -> "keras.Model":
    """A network with random weights: pixels (batch, height, width, 3), 0 to 255, to float32 logits (batch, classes).

    Args:
        settings: name, image_size, color (rgb, grey), activation (None for the network's own), and any of `OPTIONS`.
        classes: number of classes.
        precision: Keras' dtype policy for all layers but the last.

    Raises:
        UserError: the network does not take pictures that small.
    """
    import keras

    from darkroom.models.networks.base import Grey

    name, (height, width) = settings["name"], settings["image_size"]
    if name not in names():  # a model's specification may come from anywhere
        raise UserError(f"there is no network {name}: choose one of {', '.join(names())}.")
    network = importlib.import_module(f"{__name__}.{name}")
    chosen = {option: settings[option] for option in OPTIONS.get(name, ()) if settings.get(option) is not None}
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        pixels = keras.Input((height, width, 3), name="resized")
        x = Grey(name="grey", dtype="float32")(pixels) if settings["color"] == "grey" else pixels
        logits = network.layers(x, settings["activation"] or "relu", classes, **chosen)
        return keras.Model(pixels, logits, name=name)
    except ValueError as error:
        message = " ".join(str(error).split())
        raise UserError(f"train.scratch.image_size {[height, width]} is too small for {name} ({message}).") from None
    finally:
        keras.config.set_dtype_policy(policy)
