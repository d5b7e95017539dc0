"""Head `dense`: hidden layers trained by gradient descent."""

import itertools
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from darkroom.core.errors import UserError
from darkroom.core.params import Section, Share
from darkroom.core.resources import require_memory
from darkroom.models.heads.base import Head, Settings, register, rounded

if TYPE_CHECKING:
    from optuna import Trial


class DenseSettings(Section):
    """Its keys of `train.head`."""

    hidden: list[Annotated[int, Field(ge=1, le=100_000)]] = Field([256], max_length=100)
    activation: Literal["relu", "tanh", "sigmoid", "leaky_relu"] = "relu"
    batch_norm: bool = False
    dropout: Share | Annotated[list[Share], Field(max_length=101)] = 0.5
    output: Literal["softmax", "sigmoid"] = "softmax"


@register
class Dense(Head):
    """Hidden layers with dropout before each; output `sigmoid` is one logit z, as logits (0, z)."""

    name = "dense"
    position = 0
    settings = DenseSettings
    prepare = ("one",)
    not_searched = ("output",)

    def contradiction(self, settings: Any) -> str | None:
        """Dropout must be one rate, or one for each layer."""
        layers = len(settings.hidden) + 1
        if isinstance(settings.dropout, list) and len(settings.dropout) != layers:
            return (
                f"head.dropout has {len(settings.dropout)} values, but there are {layers} dense layers with the last "
                "one: set one number, or one for each"
            )
        return None

    def build(self, settings: Settings, classes: int, x: Any) -> Any:
        """The layers.

        Raises:
            UserError: output `sigmoid` with more than two classes, or more weights than fit into memory.
        """
        import keras

        # Layers have names, since Keras' numbers would depend on what else the process has built and are in the file.
        hidden, dropout = settings["hidden"], settings["dropout"]
        widths = [int(x.shape[-1]), *hidden, classes]
        weights = sum(before * after for before, after in itertools.pairwise(widths))
        require_memory(
            4 * 4 * weights,  # float32; with the gradient and the two moments of adam
            f"train.head.hidden {hidden} on {widths[0]:,} features",
            "choose fewer units, or extract.pooling avg",
        )
        *rates, last = dropout if isinstance(dropout, list) else [dropout] * (len(hidden) + 1)
        for number, (units, rate) in enumerate(zip(hidden, rates, strict=True), start=1):
            x = keras.layers.Dropout(rate, name=f"dropout_{number}")(x)
            x = keras.layers.Dense(units, name=f"hidden_{number}")(x)
            x = keras.layers.BatchNormalization(name=f"batch_norm_{number}")(x) if settings["batch_norm"] else x
            x = keras.layers.Activation(settings["activation"], name=f"activation_{number}")(x)
        x = keras.layers.Dropout(last, name="dropout")(x)
        if settings["output"] == "softmax":
            return keras.layers.Dense(classes, name="logits")(x)
        if classes != 2:
            raise UserError(
                f"train.head.output sigmoid is for two classes, but there are {classes}: set it to softmax."
            )
        z = keras.layers.Dense(1, name="logit")(x)
        return keras.ops.concatenate([keras.ops.zeros_like(z), z], axis=1)

    @property
    def start(self) -> dict[str, Any]:
        """The defaults of params.yaml."""
        return {
            "layers": 1,
            "units_1": 256,
            "activation": "relu",
            "batch_norm": False,
            "dropout": 0.5,
            "optimizer": "adam",
            "learning_rate": 3e-4,
            "label_smoothing": 0.0,
            "batch_size": 256,
        }

    def draw(self, trial: "Trial") -> dict[str, Any]:
        """Choose layers, regularisation, the optimizer and its rate."""
        layers = trial.suggest_int("dense.layers", 0, 2)
        optimizer = trial.suggest_categorical("dense.optimizer", ["adam", "adamw", "rmsprop"])
        decay = trial.suggest_float("dense.weight_decay", 1e-5, 1e-1, log=True) if optimizer == "adamw" else None
        units = [trial.suggest_int(f"dense.units_{number + 1}", 32, 1024, log=True) for number in range(layers)]
        return {
            "head": {
                "hidden": units,
                "activation": trial.suggest_categorical("dense.activation", ["relu", "leaky_relu", "tanh"]),
                "batch_norm": trial.suggest_categorical("dense.batch_norm", [False, True]),
                "dropout": rounded(trial.suggest_float("dense.dropout", 0.0, 0.8, step=0.05)),
            },
            "optimizer": optimizer,
            "learning_rate": rounded(trial.suggest_float("dense.learning_rate", 1e-4, 2e-2, log=True)),
            "weight_decay": decay and rounded(decay),
            "label_smoothing": rounded(trial.suggest_float("dense.label_smoothing", 0.0, 0.2, step=0.05)),
            "batch_size": trial.suggest_categorical("dense.batch_size", [32, 64, 128, 256]),
        }
