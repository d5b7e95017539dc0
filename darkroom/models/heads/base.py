"""What a type of head consists of.

Neither this module nor the file of a head imports Keras or scikit-learn at its top: every stage checks params.yaml,
whose keys and names come from here.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar

import numpy as np

from darkroom.core.params import Section
from darkroom.core.resources import require_memory

if TYPE_CHECKING:
    from optuna import Trial

Settings = dict[str, Any]  # section `train.head`; for a classical head also `fitted`, the outcome of its fit


class Data(NamedTuple):
    """What scikit-learn fits on."""

    x: np.ndarray  # prepared features (rows, n), float32
    y: np.ndarray  # class numbers (rows,)
    weights: np.ndarray  # of each class (classes,)
    seed: int

    @property
    def class_weight(self) -> dict[int, float] | None:
        """The weights as scikit-learn takes them; weights of 1 would change the random draws of a forest."""
        if (self.weights == 1).all():
            return None
        return {number: float(weight) for number, weight in enumerate(self.weights)}


class Fitted(NamedTuple):
    """The outcome of a fit: the sizes with which the Keras layers are built, and their weights by layer name."""

    sizes: dict[str, Any]
    weights: dict[str, list[np.ndarray]]


Fitter = Callable[[Any], Fitted]  # takes a value of the knob


class Head(ABC):
    """A type of head, from prepared features to logits, trained by gradient descent."""

    name: ClassVar[str]  # in train.head.type
    position: ClassVar[int]  # among the types; its keys of train.head are in the same order
    settings: ClassVar[type[Section]]  # its keys of train.head, with their defaults
    prepare: ClassVar[tuple[str, ...]]  # steps on the features where train.head.prepare is null
    not_searched: ClassVar[tuple[str, ...]] = ()  # its keys that a sweep leaves as they are
    # A small change of a feature changes nothing, or moves a whole vote: the head has no gradient, and an export, whose
    # arithmetic rounds differently, may differ by a vote.
    counts_votes: ClassVar[bool] = False

    def contradiction(self, settings: Any) -> str | None:
        """A contradiction between keys of `train.head` that are valid by themselves; None if there is none."""
        return None

    @abstractmethod
    def build(self, settings: Settings, classes: int, x: Any) -> Any:
        """Prepared features (batch, n) to logits (batch, classes), as symbolic Keras tensors."""

    @property
    @abstractmethod
    def start(self) -> dict[str, Any]:
        """The first trial of a sweep: parameters of `draw`, without the type in their names."""

    @abstractmethod
    def draw(self, trial: "Trial") -> dict[str, Any]:
        """Let Optuna choose keys of section `train`, those of `train.head` below `head`.

        The name of a parameter begins with the type's, since the same key of two types differs for the sampler.
        """


class Classical(Head):
    """A head that scikit-learn fits with each value of one key, its knob; the result becomes weights of Keras layers.

    So it is saved without pickle, and needs no scikit-learn to predict.
    """

    knob: ClassVar[str]
    usual: ClassVar[float]  # value of the knob with which a sweep starts
    limits: ClassVar[tuple[float, float]]  # of the knob in a sweep, on a logarithmic scale; two integers for an integer

    @abstractmethod
    def fitter(self, data: Data, settings: Settings) -> Fitter:
        """A function that fits the head with a value of the knob.

        Raises:
            UserError: the fit needs more memory than there is.
        """

    @property
    def start(self) -> dict[str, Any]:
        """The usual value of the knob."""
        return {self.knob: self.usual}

    def draw(self, trial: "Trial") -> dict[str, Any]:
        """Choose a value of the knob."""
        low, high = self.limits
        suggest: Any = trial.suggest_int if isinstance(low, int) else trial.suggest_float
        value = suggest(f"{self.name}.{self.knob}", low, high, log=True)
        # Smoothed and soft labels are for gradient descent.
        return {"head": {self.knob: [rounded(value)]}, "label_smoothing": 0.0, "teacher": None}


REGISTRY: dict[str, Head] = {}
Kind = TypeVar("Kind", bound=type[Head])


def register(kind: Kind) -> Kind:
    """Add a type of head to those that `train.head.type` can name."""
    REGISTRY[kind.name] = kind()
    return kind


def rounded(value: float) -> float:
    """Three significant digits, for people to read; an integer stays one."""
    return value if isinstance(value, int) else float(f"{value:.3g}")


def require_memory_of(name: str, needed: float, shape: tuple[int, ...]) -> None:
    """Stop before a head is fitted that needs more memory than there is.

    Args:
        name: type of the head.
        needed: bytes.
        shape: of the training features.

    Raises:
        UserError: less memory is free.
    """
    require_memory(
        needed,
        f"train.head {name} on {shape[0]:,} pictures with {shape[1]:,} features",
        "choose head dense, extract.pooling avg, or fewer pictures (download.limit_per_class)",
    )
