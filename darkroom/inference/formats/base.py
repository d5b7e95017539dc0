"""What an export format is, the registry of formats, and how an export is found and loaded.

Every format takes raw RGB pixels of any size, returns probabilities, and holds its class names.
"""

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from darkroom.core.errors import UserError, is_of_the_machine
from darkroom.core.files import read_json
from darkroom.core.hashing import sha256
from darkroom.core.paths import EXPORT_REPORT, EXPORTS
from darkroom.inference import digests

if TYPE_CHECKING:
    import keras

PIXELS, PROBABILITIES = "pixels", "probabilities"  # the input and the output of every format
HEAD = "head"  # what the names of operations above the features begin with, in graphs
CLASSES = "classes.json"  # the class names, in formats that hold files
# The argument of commands that load exports.
TRUST: dict[str, Any] = {"action": "store_true", "help": "open a model that could run any program on this machine"}
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date that a zip file can hold


class UntrustedError(UserError):
    """An export of somebody else that might run any program."""


@dataclass(frozen=True)
class Exported:
    """A loaded model.

    Attributes:
        classes: class names by number.
        probabilities: uint8 RGB pixels (batch, height, width, 3) of any size to float32 probabilities
            (batch, classes); thread-safe.
    """

    classes: list[str]
    probabilities: Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Halves:
    """A loaded model in two halves, of the very operations and weights in its file.

    Attributes:
        backbone_sha256: of the first half.
        features: uint8 RGB pixels (batch, height, width, 3) of any size to float32 features (batch, …).
        probabilities: features to float32 probabilities (batch, classes).
    """

    backbone_sha256: str
    features: Callable[[np.ndarray], np.ndarray]
    probabilities: Callable[[np.ndarray], np.ndarray]


class Conversion(Protocol):
    """A model to be written, and what several formats are made from (see darkroom/export/conversion.py)."""

    classes: list[str]

    @property
    def whole(self) -> "keras.Model":
        """The Keras model from pixels to probabilities."""

    @property
    def halves(self) -> tuple[Any, Any]:
        """TensorFlow GraphDefs with weights as constants: from pixels to features, and on to probabilities."""

    @property
    def function(self) -> Any:
        """Both as one TensorFlow function: pixels to a dictionary with the probabilities."""

    def recall(self, kind: str, graph: Any, convert: Callable[[Any], bytes]) -> bytes:
        """What `convert` makes of a graph, from the cache if that graph was converted before."""


class Gate(NamedTuple):
    """How closely a format must agree with Keras, as shares of the test pictures."""

    near: float  # pictures whose probabilities are all within the tolerance
    same_label: float  # pictures with the same label, or one that Keras finds equally probable

    def loosened(self, other: "Gate") -> "Gate":
        """The looser of the two in each respect."""
        return Gate(min(self.near, other.near), min(self.same_label, other.same_label))


EXACT = Gate(near=1.0, same_label=1.0)


@dataclass(frozen=True)
class Format:
    """An export format.

    Attributes:
        name: as in `export.formats`.
        file: the name of its file or folder in exports.
        load: reads an export.
        write: writes a model to a path.
        packages: what serving it needs.
        order: its place in lists of formats.
        preference: its place when a folder holds several exports; those that load faster come first.
        marker: for a format that is a folder, a file by which it is recognised; others are recognised by their suffix.
        gate: how closely it must agree with Keras.
        halves: loads an export in two halves, or None if that is not possible.
        unlimited: whether it can hold more than 2 GiB of weights.
        danger: what opening an export of somebody else might do, or None if it is only data.
    """

    name: str
    file: str
    load: Callable[[Path], Exported]
    write: Callable[[Conversion, Path], None]
    packages: tuple[str, ...]
    order: int
    preference: int
    marker: str = ""
    gate: Gate = EXACT
    halves: Callable[[Path], Halves] | None = None
    unlimited: bool = False
    danger: Callable[[Path], str | None] = lambda _: None

    def recognises(self, path: Path) -> bool:
        """Whether a path looks like an export in this format."""
        if self.marker:
            return (path / self.marker).is_file()
        return path.is_file() and path.suffix == Path(self.file).suffix


FORMATS: dict[str, Format] = {}  # by name, in their order


def register(*formats: Format) -> None:
    """Add formats to `FORMATS`."""
    everything = sorted([*FORMATS.values(), *formats], key=lambda registered: registered.order)
    FORMATS.clear()
    FORMATS.update((registered.name, registered) for registered in everything)


def quickest(folder: Path) -> Format:
    """The format that loads fastest of those that a folder holds.

    Raises:
        UserError: the folder holds no export.
    """
    by_preference = sorted(FORMATS.values(), key=lambda registered: registered.preference)
    for candidate in by_preference:
        if (folder / candidate.file).exists():
            return candidate
    names = ", ".join(candidate.file for candidate in by_preference)
    raise UserError(f"{folder} holds no exported model ({names}): run `dvc repro`, which makes one.")


def locate(path: Path) -> Path:
    """The export at a path: the path itself, or the quickest export in a folder of exports.

    Raises:
        UserError: the folder holds no export.
    """
    is_export = any(candidate.recognises(path) for candidate in FORMATS.values())
    return path / quickest(path).file if path.is_dir() and not is_export else path


def load(path: Path, trust: bool = False) -> Exported:
    """Load an export; its format is recognised by its suffix or, for a folder, by its content.

    Args:
        path: the export.
        trust: whether to open an export of somebody else that might do anything.

    Raises:
        UntrustedError: the export might do anything and is not trusted.
        UserError: it is missing, damaged, differs from its digest, or was not made by Darkroom.
    """
    if not path.exists():
        raise UserError(f"there is no model at {path}: run `dvc repro`, which makes exports.")
    matching = next((candidate for candidate in FORMATS.values() if candidate.recognises(path)), None)
    if matching is None:
        files = ", ".join(registered.file for registered in FORMATS.values())
        raise UserError(f"{path} is not a model exported by Darkroom: it should be one of {files}.")
    own = digests.verify(path) and _is_own(path)
    try:
        if not trust and not own and (danger := matching.danger(path)):
            raise UntrustedError(
                f"{path} was not exported by this project (by {EXPORT_REPORT}), and {danger}: add --trust "
                "only if you trust whoever made it and whoever could change it since, or use an ONNX or LiteRT export."
            )
        exported = matching.load(path)
        check_classes(exported.classes)
        width = exported.probabilities(np.zeros((1, 8, 8, 3), np.uint8)).shape[1]
        if width != len(exported.classes):
            raise ValueError(f"{width} probabilities, but {len(exported.classes)} class names")
    except UntrustedError:
        raise
    except Exception as error:  # each library has its own errors for damaged files
        if is_of_the_machine(error):
            raise
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"{path} is damaged or not a model exported by Darkroom ({reason}).") from None
    return exported


def _is_own(path: Path) -> bool:
    """Whether a file lies in exports/, and `export` has reported the digests there as its own."""
    sums = EXPORTS / digests.SUMS
    if path.resolve().parent != EXPORTS.resolve() or not sums.is_file():
        return False
    try:
        return bool(read_json(EXPORT_REPORT, sums_sha256=str)["sums_sha256"] == sha256(sums))
    except UserError:  # missing, or damaged
        return False


def check_classes(classes: object) -> None:
    """Raise a ValueError unless class names from a file are a list of strings that can be written."""
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise ValueError("its class names are not a list of strings")
    "".join(classes).encode()


def zip_entry(name: str) -> zipfile.ZipInfo:
    """An entry of a zip file with a fixed date, so that writing it again gives the same bytes."""
    return zipfile.ZipInfo(name, _EPOCH)
