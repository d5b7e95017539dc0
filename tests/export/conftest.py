"""The small project's model in every format, exported once."""

import contextlib
import io
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from darkroom.core.params import Base
from tests.helpers.stores import new_store

PICTURES = 10


@dataclass(frozen=True)
class Export:
    """A folder in which the stage has run, what it printed, and the Keras model that it exported."""

    folder: Path
    output: str
    model: Any
    whole: Any

    @property
    def card(self) -> str:
        return (self.folder / "exports/MODEL_CARD.md").read_text()

    @property
    def reports(self) -> dict[str, Any]:
        return json.loads((self.folder / "reports/export.json").read_text())


@pytest.fixture(scope="session")
def exported(project, tensorflow, tmp_path_factory):
    from darkroom.models.classifier import Classifier
    from stages import export

    folder = tmp_path_factory.mktemp("exported")
    for name in ("models", "reports", "data/features", "data/split", "darkroom"):
        shutil.copytree(project / name, folder / name)
    shutil.copy(project / "params.yaml", folder)
    new_store(folder / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        with contextlib.redirect_stdout(io.StringIO()) as output:
            export.main(Base(seed=1), export.Params(formats=list(export.FORMATS), check_pictures=PICTURES))
    model = Classifier.load(folder / "models")
    return Export(folder, output.getvalue(), model, model.whole())
