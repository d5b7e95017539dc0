"""Section `train` of params.yaml and its parts, for the script and for what it calls."""

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, field_validator, model_validator

from darkroom.augment.params import Changes
from darkroom.augment.transforms import Transforms
from darkroom.core.params import Pooling, Precision, Section

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1)]


class Descent(Section):
    """Gradient descent, for every model that is trained by it."""

    epochs: Count = 50
    steps: Count | None = None
    validate_every: Count | None = None
    patience: Count | None = 5
    keep: Literal["best", "last"] | Count = "best"
    checkpoints: Literal["best", "all"] = "best"
    batch_size: Count = 256
    shuffle: bool = True
    optimizer: Literal["adam", "adamw", "sgd", "rmsprop"] = "adam"
    learning_rate: Positive = 3e-4
    momentum: float = Field(0.0, ge=0, lt=1)
    nesterov: bool = False
    weight_decay: float | None = Field(None, ge=0)
    schedule: Literal["constant", "cosine", "plateau"] = "constant"
    plateau_factor: float = Field(0.3, gt=0, lt=1)
    plateau_patience: Count = 2
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    class_weights: Literal["balanced", "none"] = "none"
    precision: Precision = "auto"
    tensorboard: Literal["none", "scalars", "activations"] = "none"

    @model_validator(mode="after")
    def _length(self) -> "Descent":
        if self.steps and (not self.validate_every or self.steps % self.validate_every):
            raise ValueError(f"steps {self.steps} must be a multiple of validate_every, not {self.validate_every}")
        if isinstance(self.keep, int) and self.checkpoints != "all":
            raise ValueError(f"keep {self.keep} needs checkpoints: all")
        return self

    def most_epochs(self) -> int:
        """Epochs at most; with `validate_every` an epoch has so many steps."""
        return self.epochs if self.steps is None else self.steps // (self.validate_every or 1)

    def weights_of(self, numbers: np.ndarray, classes: int) -> np.ndarray | None:
        """A weight for each class (classes,), so that all count the same in training; or None for no weights."""
        if self.class_weights == "none":
            return None
        return (len(numbers) / (classes * np.bincount(numbers, minlength=classes))).astype(np.float32)


class Head(Section):
    """`train.head`: what kind, how features are prepared for it, and each kind's own settings."""

    type: Literal["dense", "logistic", "linear_svm", "rbf_svm", "knn", "tree", "forest"] = "dense"
    prepare: list[Literal["sqrt", "l2", "each", "one"]] | None = None
    hidden: list[Count] = Field([256])
    activation: Literal["relu", "tanh", "sigmoid", "leaky_relu"] = "relu"
    batch_norm: bool = False
    dropout: Share | list[Share] = 0.5
    output: Literal["softmax", "sigmoid"] = "softmax"
    c: list[Positive] = Field([0.3, 1.0, 3.0, 10.0, 30.0], alias="C", min_length=1)
    neighbours: list[Count] = Field([5, 10, 15, 20, 30], min_length=1)
    leaf: list[Count] = Field([5, 10, 20, 50], min_length=1)
    trees: list[Count] = Field([300], min_length=1)

    @field_validator("prepare")
    @classmethod
    def _once(cls, steps: list[str] | None) -> list[str] | None:
        if steps and len(set(steps)) < len(steps):
            raise ValueError("each step may stand there once")
        return steps


class Pixels(Section):
    """What is done to pictures each epoch anew, where a network is trained on pixels."""

    online: Changes = Changes()
    mixup: float = Field(0.0, ge=0)
    cutmix: float = Field(0.0, ge=0, le=1)

    def pixels_change(self) -> bool:
        """Whether an epoch's pictures differ from the last one's."""
        return self.online.transforms() != Transforms() or self.mixup > 0 or self.cutmix > 0


class FineTune(Pixels):
    """`train.fine_tune`: what is trained after the head's warm-up, and how."""

    unfreeze: str | Count = "block5"
    top: str | None = None
    pooling: Pooling = "avg"
    warm_up: bool = True
    epochs: Count = 10
    learning_rate: Positive = 1e-5
    batch_size: Count = 32

    @field_validator("unfreeze")
    @classmethod
    def _named(cls, value: str | int) -> str | int:
        if value == "":
            raise ValueError("must be all, none, the name of a layer or block, or a number of layers")
        return value


class Scratch(Pixels):
    """`train.scratch`: what a network that is trained from nothing sees."""

    image_size: list[Count] = Field([32, 32], min_length=2, max_length=2)
    color: Literal["rgb", "grey"] = "rgb"
    activation: Literal["relu", "tanh", "sigmoid", "leaky_relu"] | None = None


class Params(Descent):
    """Section `train` of params.yaml."""

    mode: Literal["head", "fine_tune", "scratch"] = "head"
    head: Head = Head()
    fine_tune: FineTune = FineTune()
    network: Literal["fashion_cnn", "mnist_cnn", "mini_vggnet", "dense", "small_resnet"] = "mini_vggnet"
    scratch: Scratch = Scratch()
    strategy: Literal["auto", "none", "mirrored"] = "auto"
    device: str | None = Field(None, pattern=r"^(cpu|gpu):\d+$")
    log_devices: bool = False
    calibration: Literal["temperature", "none"] = "temperature"

    @model_validator(mode="after")
    def _together(self) -> "Params":
        if self.mode == "fine_tune" and self.head.type != "dense":
            raise ValueError(f"mode fine_tune needs a head of type dense: {self.head.type} has no gradient")
        if self.mode != "scratch" and self.label_smoothing and self.head.type != "dense":
            raise ValueError(f"label_smoothing is for a head of type dense, not for {self.head.type}")
        if isinstance(self.head.dropout, list) and len(self.head.dropout) != len(self.head.hidden) + 1:
            raise ValueError(
                f"head.dropout has {len(self.head.dropout)} values, but there are {len(self.head.hidden) + 1} dense "
                "layers with the last one: give one number, or one for each"
            )
        if self.mode == "fine_tune" and self.steps:
            raise ValueError("steps is for modes head and scratch: set it to null, and fine_tune.epochs")
        longest = self.most_epochs()
        if self.mode == "fine_tune":
            longest = self.fine_tune.epochs + (longest if self.fine_tune.warm_up else 0)
        if isinstance(self.keep, int) and self.keep > longest:
            raise ValueError(f"keep {self.keep} is an epoch after the last one, {longest}")
        if self.device and self.strategy == "mirrored":
            raise ValueError(f"strategy mirrored is for several devices, but device is {self.device}: set it to null")
        return self

    def decisive(self) -> dict[str, Any]:
        """What decides the trained weights: the part of the params in the key of a training state."""
        from darkroom.core import runtime

        settings = self.model_dump(exclude={"keep", "log_devices", "calibration"})
        return settings | {"precision": runtime.precision(self.precision)}

    def relevant(self) -> dict[str, Any]:
        """The settings that matter in this mode, apart from the model's own, for a reader of the report."""
        keys = {"class_weights", "label_smoothing", "calibration"}
        if self.head.type == "dense" or self.mode == "scratch":
            keys |= {"optimizer", "learning_rate", "schedule", "batch_size", "epochs", "steps", "patience", "keep"}
        if self.mode in ("fine_tune", "scratch"):
            keys |= {self.mode}
        return self.model_dump(mode="json", by_alias=True, include=keys)
