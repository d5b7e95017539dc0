"""All sections of params.yaml with their typed models, checked before any stage runs.

Every key has its default in the models, so that a recipe or a short params.yaml holds only what differs.
"""

from pathlib import Path
from typing import Any

from pydantic import Field

from darkroom.augment.params import Params as Augment
from darkroom.cluster.params import Compute
from darkroom.core.errors import UserError
from darkroom.core.params import Base, Section, validate
from darkroom.core.paths import PARAMS
from darkroom.core.yaml import read_yaml
from darkroom.download.params import Params as Download
from darkroom.evaluate.params import Params as Evaluate
from darkroom.export.params import Params as Export
from darkroom.extract.params import Params as Extract
from darkroom.split.params import Params as Split
from darkroom.train.params import Params as Train

STAGES = ("download", "split", "augment", "extract", "train", "evaluate", "export")


class Tracking(Section):
    """Section `tracking` of params.yaml: where runs are recorded; never a dependency of a stage."""

    experiment: str = Field("darkroom", min_length=1, max_length=500)  # by MLflow


class Params(Section):
    """The sections of params.yaml."""

    base: Base = Base()
    download: Download = Download()
    split: Split = Split()
    augment: Augment = Augment()
    extract: Extract = Extract()
    train: Train = Train()
    evaluate: Evaluate = Evaluate()
    export: Export = Export()
    compute: Compute = Compute()
    tracking: Tracking = Tracking()


def load(path: Path = PARAMS) -> dict[str, Any]:
    """Read a file of settings without checking it; an empty section becomes an empty mapping.

    Raises:
        UserError: it is missing, not valid YAML, or not a mapping of sections.
    """
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise UserError(f"{path} must be a mapping of sections ({', '.join(Params.model_fields)}).")
    return {name: {} if section is None else section for name, section in content.items()}


def check(content: dict[str, Any]) -> Params:
    """Turn the content of params.yaml into typed objects.

    Raises:
        UserError: one sentence that names every wrong key, its value and what is allowed.
    """
    return validate(Params, content, str(PARAMS))


def current() -> Params:
    """Read and check params.yaml."""
    return check(load())


def complete(content: dict[str, Any]) -> dict[str, Any]:
    """Return content with the defaults of all keys that it does not have."""
    return check(content).model_dump(mode="json", by_alias=True)
