"""Section `train` of params.yaml."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, Field, create_model, field_validator, model_validator

from darkroom.augment.params import Changes
from darkroom.augment.transforms import Transforms
from darkroom.core.params import Count, OneOf, Pooling, Positive, Precision, Section, Share, Side
from darkroom.core.paths import WEIGHTS
from darkroom.models import heads, networks
from darkroom.models.heads.base import Classical
from darkroom.models.heads.base import Head as HeadType
from darkroom.train.optimizers import OPTIMIZERS

MOST_EPOCHS = 100_000  # each is a row of the history
Batch = Annotated[int, Field(ge=1, le=65_536)]


def _alpha(value: float) -> float:
    """The parameter of a beta distribution, from which nothing can be drawn where it is tiny."""
    if value != 0 and value < 0.001:
        raise ValueError("should be 0 or at least 0.001")
    return value


class Descent(Section):
    """Gradient descent, for every model that is trained by it."""

    epochs: Annotated[int, Field(ge=1, le=MOST_EPOCHS)] = 50
    steps: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = None
    validate_every: Count | None = None
    patience: Count | None = 5
    keep: Literal["best", "last"] | Count = "best"
    checkpoints: Literal["best", "all"] = "best"
    batch_size: Batch = 256
    shuffle: bool = True
    optimizer: Annotated[str, OneOf(list(OPTIMIZERS))] = "adam"
    learning_rate: Positive = 3e-4
    momentum: float = Field(0.0, ge=0, lt=1)
    nesterov: bool = False
    weight_decay: float | None = Field(None, ge=0, le=1000)
    schedule: Literal["constant", "cosine", "plateau"] = "constant"
    warmup_epochs: Annotated[int, Field(ge=0, le=MOST_EPOCHS)] = 0
    plateau_factor: float = Field(0.3, ge=1e-10, lt=1)
    plateau_patience: Count = 2
    ema: float = Field(0.0, ge=0, lt=1)
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    teacher: str | None = Field(None, min_length=1)
    teacher_weight: float = Field(0.9, ge=0, le=1)
    teacher_temperature: float = Field(2.0, ge=0.1, le=100)
    class_weights: Literal["balanced", "none"] = "none"
    precision: Precision = "auto"
    tensorboard: Literal["none", "scalars", "activations"] = "none"

    @model_validator(mode="after")
    def _length(self) -> "Descent":
        if self.steps:
            if not self.validate_every:
                raise ValueError("steps needs validate_every, the number of steps between two validations")
            if self.steps % self.validate_every:
                raise ValueError(f"steps {self.steps} must be a multiple of validate_every, {self.validate_every}")
            if self.steps // self.validate_every > MOST_EPOCHS:
                raise ValueError(f"steps {self.steps} are validated over {MOST_EPOCHS:,} times: raise validate_every")
        if isinstance(self.keep, int) and self.checkpoints != "all":
            raise ValueError(f"keep {self.keep} needs checkpoints: all")
        if self.warmup_epochs and self.schedule == "plateau":
            raise ValueError("warmup_epochs is for schedules constant and cosine, not for plateau: set it to 0")
        if self.warmup_epochs >= self.most_epochs():
            raise ValueError(f"warmup_epochs {self.warmup_epochs} leaves no epoch for the full rate: lower it")
        if self.teacher and (WEIGHTS not in Path(self.teacher).parents or ".." in Path(self.teacher).parts):
            raise ValueError(
                f"teacher is {self.teacher}, but must be a model's folder below {WEIGHTS}, which DVC tracks"
            )
        return self

    def most_epochs(self) -> int:
        """The largest number of epochs; with `validate_every`, an epoch is that many steps."""
        return self.epochs if self.steps is None else self.steps // (self.validate_every or 1)

    def weights_of(self, numbers: np.ndarray, classes: int) -> np.ndarray | None:
        """Weights (classes,) that make all classes count the same; None where they are not to be weighted.

        Args:
            numbers: class number of each training row.
            classes: number of classes.
        """
        if self.class_weights == "none":
            return None
        return (len(numbers) / (classes * np.bincount(numbers, minlength=classes))).astype(np.float32)


class _CommonHead(Section):
    """Keys of `train.head` that all types have."""

    type: Annotated[str, OneOf(list(heads.registered()))] = "dense"
    prepare: list[Literal["sqrt", "l2", "each", "one"]] | None = None

    @property
    def kind(self) -> HeadType:
        """The type of head that `type` names."""
        return heads.registered()[self.type]

    @field_validator("prepare")
    @classmethod
    def _once(cls, steps: list[str] | None) -> list[str] | None:
        if steps and len(set(steps)) < len(steps):
            raise ValueError("each step may occur only once")
        return steps


if TYPE_CHECKING:
    Head = _CommonHead
else:
    _KEYS = {
        name: (field.annotation, field)
        for kind in heads.registered().values()
        for name, field in kind.settings.model_fields.items()
    }
    Head = create_model("Head", __base__=_CommonHead, __doc__="`train.head`, with the keys of every type.", **_KEYS)


class Pixels(Section):
    """Random changes of the pictures in each epoch, where a network is trained on pixels."""

    online: Changes = Changes()
    mixup: Annotated[float, Field(le=1000), AfterValidator(_alpha)] = 0.0
    cutmix: Annotated[float, Field(le=1), AfterValidator(_alpha)] = 0.0
    mirror: bool = False

    def pixels_change(self) -> bool:
        """Whether an epoch's pictures differ from those of the one before."""
        return self.online.transforms() != Transforms() or self.mixup > 0 or self.cutmix > 0


class FineTune(Pixels):
    """`train.fine_tune`: the layers to train after the head's warm-up, and their settings."""

    unfreeze: str | Count = "block5"
    top: str | None = None
    pooling: Pooling = "avg"
    warm_up: bool = True
    epochs: Annotated[int, Field(ge=1, le=MOST_EPOCHS)] = 10
    learning_rate: Positive = 1e-5
    batch_size: Batch = 32

    @field_validator("unfreeze")
    @classmethod
    def _named(cls, value: str | int) -> str | int:
        if value == "":
            raise ValueError("must be all, none, the name of a layer or block, or a number of layers")
        return value


class Scratch(Pixels):
    """`train.scratch`: the input and the activation of a network that is trained from random weights."""

    image_size: list[Side] = Field([32, 32], min_length=2, max_length=2)
    color: Literal["rgb", "grey"] = "rgb"
    activation: Literal["relu", "tanh", "sigmoid", "leaky_relu"] | None = None
    filters: Annotated[int, Field(ge=1, le=4096)] | None = None
    stochastic_depth: Share = 0.0


class Params(Descent):
    """Section `train` of params.yaml."""

    mode: Literal["head", "fine_tune", "scratch"] = "head"
    head: Head = Head()
    fine_tune: FineTune = FineTune()
    network: Annotated[str, OneOf(networks.names())] = "mini_vggnet"
    scratch: Scratch = Scratch()
    strategy: Literal["auto", "none", "mirrored"] = "auto"
    device: str | None = Field(None, pattern=r"^(cpu|gpu):\d+$")
    log_devices: bool = False
    calibration: Literal["temperature", "none"] = "temperature"

    @model_validator(mode="after")
    def _together(self) -> "Params":
        classical = isinstance(self.head.kind, Classical)
        if self.mode == "fine_tune" and classical:
            raise ValueError(f"mode fine_tune needs a head of type dense: {self.head.type} has no gradient")
        if self.mode != "scratch" and self.label_smoothing and classical:
            raise ValueError(f"label_smoothing is for a head of type dense, not for {self.head.type}")
        if self.teacher and not self.by_descent:
            raise ValueError(f"teacher is for a head of type dense, not for {self.head.type}: set it to null")
        for kind in heads.registered().values():
            if problem := kind.contradiction(self.head):
                raise ValueError(problem)
        if self.mode == "scratch":
            for network, options in networks.OPTIONS.items():
                for option in options if network != self.network else ():
                    if getattr(self.scratch, option):
                        raise ValueError(
                            f"scratch.{option} is for network {network}, not for {self.network}: remove it"
                        )
        if self.mode == "fine_tune" and self.steps:
            raise ValueError("steps is for modes head and scratch: set it to null, and fine_tune.epochs")
        longest = self.most_epochs()
        if self.mode == "fine_tune":
            longest = self.fine_tune.epochs + (longest if self.fine_tune.warm_up else 0)
            if self.warmup_epochs >= self.fine_tune.epochs:
                raise ValueError(f"warmup_epochs {self.warmup_epochs} must be fewer than fine_tune.epochs")
        if isinstance(self.keep, int) and self.keep > longest:
            raise ValueError(f"keep {self.keep} is an epoch after the last one, {longest}")
        if self.device and self.strategy == "mirrored":
            raise ValueError(f"strategy mirrored is for several devices, but device is {self.device}: set it to null")
        return self

    @property
    def by_descent(self) -> bool:
        """Whether the model is trained by gradient descent, in epochs; a classical head is not."""
        return self.mode != "head" or not isinstance(self.head.kind, Classical)

    def state_key(self) -> dict[str, Any]:
        """The settings that change the trained weights, for the key of the training state."""
        from darkroom.core.precision import choose

        settings = self.model_dump(exclude={"keep", "log_devices", "calibration"})
        return settings | {"precision": choose(self.precision).policy}

    def reported(self) -> dict[str, Any]:
        """The settings that this mode uses, for reports/train.json; those of the model itself are in model.json."""
        keys = {"class_weights", "label_smoothing", "calibration"}
        if self.teacher:
            keys |= {"teacher", "teacher_weight", "teacher_temperature"}
        if self.by_descent:
            keys |= {"optimizer", "learning_rate", "schedule", "warmup_epochs", "ema"}
            keys |= {"batch_size", "epochs", "steps", "patience", "keep"}
        if self.mode in ("fine_tune", "scratch"):
            keys |= {self.mode}
        return self.model_dump(mode="json", by_alias=True, include=keys)
