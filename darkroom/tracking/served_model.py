"""The exported model, logged so that MLflow can serve it."""

import importlib.metadata
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from darkroom.core import paths, reports
from darkroom.core.hashing import PACKAGE, code_files
from darkroom.images.decode import decode
from darkroom.inference import digests, formats

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.models import ModelSignature

# Packages that a served model needs besides those of its format.
PACKAGES = ("mlflow", "numpy", "pandas", "pillow", "pillow-heif")
EXAMPLE_SIDE = 64  # pixels of the example picture's longer side


def log() -> None:
    """Log the fastest of the exported formats into the active run, as a model that `mlflow models serve` can serve.

    The files of models/ are logged with it, so that another training can start from them (see extract.weights).
    """
    import mlflow

    quickest = formats.quickest(paths.EXPORTS)
    exported, packages = paths.EXPORTS / quickest.file, (*PACKAGES, *quickest.packages)
    with tempfile.TemporaryDirectory(prefix="darkroom-") as temporary:
        folder = Path(temporary)
        mlflow.pyfunc.log_model(
            name="model",
            python_model=str(Path(__file__).with_name("pyfunc_model.py")),
            artifacts={"exports": str(_copy_export(exported, folder / "exports")), "models": str(paths.MODELS)},
            code_paths=[str(_copy_code(folder / "darkroom"))],
            pip_requirements=[f"{package}=={importlib.metadata.version(package)}" for package in packages],
            signature=_signature(),
            input_example=_example(),
        )


def _copy_export(exported: Path, folder: Path) -> Path:
    """A folder with one exported model, its class names, its model card, and the digests of these files."""
    folder.mkdir()
    for path in (exported, paths.EXPORTED_CLASSES, paths.MODEL_CARD):
        digests.verify(path)  # the copy's digests would vouch for a damaged file
        copy = shutil.copytree if path.is_dir() else shutil.copy
        copy(path, folder / path.name)
    digests.write(folder)
    return folder


def _copy_code(folder: Path) -> Path:
    """A copy of the package with only the code that inference needs."""
    for source in code_files("inference"):
        target = folder / source.relative_to(PACKAGE)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
    return folder


def _signature() -> "ModelSignature":
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import Map

    outputs = [
        ColSpec("string", "label"),
        ColSpec("double", "probability"),
        ColSpec(Map(DataType.double), "probabilities"),
    ]
    return ModelSignature(Schema([ColSpec("binary", "image")]), Schema(outputs))


def _example() -> "pd.DataFrame | None":
    """A small copy of the first test picture; None where the pictures were not pulled with the model."""
    import io

    import pandas as pd
    from PIL import Image

    path = Path(reports.predictions()[0]["path"])
    if not path.exists():
        return None
    image = Image.fromarray(decode(path))
    image.thumbnail((EXAMPLE_SIDE, EXAMPLE_SIDE))
    image.save(stream := io.BytesIO(), "PNG")
    return pd.DataFrame({"image": [stream.getvalue()]})
