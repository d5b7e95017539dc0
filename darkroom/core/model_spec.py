"""`models/model.json`: the specification of a trained model, from which it is rebuilt before its weights are loaded.

models/model.json           the specification
models/classes.json         class names in order, for other programs
models/backbone.weights.h5  weights of the whole backbone; the same file for all heads on the same features
models/head.weights.h5      weights of the head
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from darkroom.core import outputs
from darkroom.core.errors import UserError
from darkroom.core.files import read_json, write_json
from darkroom.core.hashing import folder_sha256
from darkroom.core.paths import MODELS, TRAIN_REPORT

SPEC = "model.json"
CLASSES = "classes.json"
BACKBONE = "backbone.weights.h5"
HEAD = "head.weights.h5"
JOINT = "features"  # the tensor between backbone and head, in exports and in the layers of a whole model


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BackboneSpec(_Frozen):
    """The backbone and how its features were extracted (reports/extract.json); all fields are null without one."""

    name: str | None = Field(alias="backbone")
    weights: str | None = None
    weights_sha256: str | None = None
    image_size: tuple[int, int] | None = None  # height, width
    layers: tuple[str, ...] = ()
    pooling: Literal["avg", "max", "flatten"] | None = None
    mirror: bool = False  # features are the mean over a picture and its mirror image
    precision: str | None = None
    keras: str | None = None
    tensorflow: str | None = None
    features: int | None = None  # per picture, all layers together

    @classmethod
    def load(cls, path: Path) -> "BackboneSpec":
        """Read what `extract` wrote.

        Raises:
            UserError: it is missing or damaged.
        """
        try:
            content = read_json(path)
            if isinstance(content, dict):
                content.pop("precision_reason", None)  # of the machine that extracted; it changes no feature
            return cls.model_validate(content)
        except ValidationError:
            raise outputs.damaged(path, "it does not describe features") from None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width to which pictures are resized."""
        assert self.image_size is not None  # noqa: S101 - null only without a backbone
        return self.image_size


class TunedSpec(_Frozen):
    """The part of the backbone that was fine-tuned: the layers after `start` (null: from the pixels on) up to `top`."""

    start: str | None
    top: str
    pooling: Literal["avg", "max", "flatten"]


class ModelSpec(_Frozen):
    """A trained model without its weights.

    The head takes the features of `layers`; without `layers`, the model takes pixels. After fine-tuning, the backbone's
    layers between them and the head have weights of their own (`tuned`). A network trained from scratch is a head on
    pixels, without a backbone.
    """

    backbone: BackboneSpec
    layers: tuple[str, ...]
    tuned: TunedSpec | None
    head: dict[str, Any]  # settings of the head, with its fitted values; or those of the network
    features: int | None  # inputs of the head; null for a network
    classes: tuple[str, ...]  # in the order of the outputs
    mirror: bool = False  # of pixels: logits are the mean over a picture and its mirror image
    temperature: float = 1.0  # by which logits are divided
    epoch: int = 1  # the one whose weights were kept

    @field_validator("head")
    @classmethod
    def _is_data(cls, head: dict[str, Any]) -> dict[str, Any]:
        """A dict in place of an activation's name would tell Keras what to import."""
        if not isinstance(head.get("activation"), str | None):
            raise ValueError("the activation must be a name")
        return head

    @property
    def mode(self) -> Literal["head", "fine_tune", "scratch"]:
        """The `train.mode` of its training."""
        if self.backbone.name is None:
            return "scratch"
        return "fine_tune" if self.tuned else "head"

    @property
    def head_type(self) -> str:
        """The type of the head, or the name of the network."""
        return str(self.head["name"] if self.mode == "scratch" else self.head["type"])

    @classmethod
    def load(cls, folder: Path) -> "ModelSpec":
        """Read the specification of the model in a folder.

        Raises:
            UserError: it holds no model, or its specification is not valid.
        """
        path = folder / SPEC
        if not path.exists():
            raise no_model(folder)
        try:
            return cls.model_validate_json(outputs.read_text(path))
        except ValidationError:
            raise outputs.damaged(path, "it is not the specification of a Darkroom model") from None

    def save(self, folder: Path) -> None:
        """Write model.json and classes.json."""
        write_json(folder / SPEC, self.model_dump(mode="json", by_alias=True, exclude_unset=True))
        write_json(folder / CLASSES, self.classes)


def model_sha256(folder: Path) -> str:
    """Return the identity of a trained model: the SHA-256 over all files of its folder (see `files_sha256`)."""
    return folder_sha256(folder)


def verified_sha256() -> str:
    """Return the identity of the model in models/ if it is the one that `train` wrote and reported.

    Raises:
        UserError: it is missing or damaged, or was changed.
    """
    if not (MODELS / SPEC).exists():
        raise no_model(MODELS)
    actual = model_sha256(MODELS)
    if actual != read_json(TRAIN_REPORT, model_sha256=str)["model_sha256"]:
        raise outputs.damaged(MODELS, f"it does not match model_sha256 in {TRAIN_REPORT}")
    return actual


def no_model(folder: Path) -> UserError:
    """The error on a folder without a model."""
    return UserError(f"{folder} holds no model: run `dvc repro`, or `dvc pull {folder}` if it was pushed.")
