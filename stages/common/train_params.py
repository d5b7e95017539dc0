"""The parts of section `train` of params.yaml, for the script and for what it calls."""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field, field_validator

from stages.common.params import Pooling, Section
from stages.common.transforms import Changes, Transforms

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class Descent(Section):
    """Gradient descent, for every model that is trained by it."""

    epochs: Count
    patience: Count
    batch_size: Count
    optimizer: Literal["adam", "adamw", "sgd", "rmsprop"]
    learning_rate: Positive
    momentum: float = Field(0.0, ge=0, lt=1)
    nesterov: bool = False
    weight_decay: float | None = Field(None, ge=0)
    schedule: Literal["constant", "cosine", "plateau"] = "constant"
    plateau_factor: float = Field(0.3, gt=0, lt=1)
    plateau_patience: Count = 2
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    class_weights: Literal["balanced", "none"] = "none"

    def weights_of(self, numbers: np.ndarray, classes: int) -> np.ndarray | None:
        """A weight for each class (classes,), so that all count the same in training; or None for no weights."""
        if self.class_weights == "none":
            return None
        return (len(numbers) / (classes * np.bincount(numbers, minlength=classes))).astype(np.float32)


class Head(Section):
    """`train.head`: what kind, how features are prepared for it, and each kind's own settings."""

    type: Literal["dense", "logistic", "linear_svm", "rbf_svm", "knn", "tree", "forest"]
    prepare: list[Literal["sqrt", "l2", "each", "one"]] | None = None
    hidden: list[Count]
    activation: Literal["relu", "tanh", "sigmoid", "leaky_relu"] = "relu"
    batch_norm: bool = False
    dropout: float = Field(ge=0, lt=1)
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


class FineTune(Section):
    """`train.fine_tune`: what is trained after the head's warm-up, and how."""

    unfreeze: str | Count = "block5"
    top: str | None = None
    pooling: Pooling = "avg"
    epochs: Count = 10
    learning_rate: Positive = 1e-5
    batch_size: Count = 32
    precision: Literal["float32", "mixed_bfloat16"] = "float32"  # float16 would want its loss scaled
    online: Changes = Field(default_factory=lambda: Changes.model_validate({}))
    mixup: float = Field(0.0, ge=0)
    cutmix: float = Field(0.0, ge=0, le=1)

    @field_validator("unfreeze")
    @classmethod
    def _named(cls, value: str | int) -> str | int:
        if value == "":
            raise ValueError("must be all, the name of a layer or block, or a number of layers")
        return value

    def pixels_change(self) -> bool:
        """Whether an epoch's pictures differ from the last one's."""
        return self.online.transforms() != Transforms() or self.mixup > 0 or self.cutmix > 0
