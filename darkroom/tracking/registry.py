"""Models in MLflow: the exported one, made so that MLflow can serve it, and its versions in the registry."""

import importlib.metadata
import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darkroom.core import paths
from darkroom.core.errors import UserError
from darkroom.core.files import read_csv
from darkroom.core.hashing import PACKAGE, code_files
from darkroom.images.decode import decode
from darkroom.inference import formats
from darkroom.tracking import runs
from darkroom.tracking.store import public

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.models import ModelSignature

CANDIDATE = "candidate"
CHAMPION = "champion"
# Packages that a served model needs besides those of its format.
PACKAGES = ("mlflow", "numpy", "pandas", "pillow")
OF_FORMAT = {
    "onnx": ("onnxruntime",),
    "litert": ("ai-edge-litert",),
    "litert_int8": ("ai-edge-litert",),
    "saved_model": ("tensorflow",),
    "keras": ("tensorflow", "keras", "psutil"),
}
EXAMPLE_SIDE = 64  # pixels of the example picture's longer side


def log_served_model() -> None:
    """Log the quickest of the exported formats into the open run, as a model that `mlflow models serve` can serve.

    With it lie the files of models/, so that another training can go on from it (see extract.weights).
    """
    import mlflow

    exported = formats.locate(paths.EXPORTS)
    kind = next(kind for kind, name in formats.FILES.items() if name == exported.name)
    packages = (*PACKAGES, *OF_FORMAT[kind])
    with tempfile.TemporaryDirectory(prefix="darkroom-") as temporary:
        folder = Path(temporary)
        mlflow.pyfunc.log_model(
            name="model",
            python_model=str(Path(__file__).with_name("pyfunc_model.py")),
            artifacts={"exports": str(_alone(exported, folder / "exports")), "models": str(paths.MODELS)},
            code_paths=[str(_code(folder / "darkroom"))],
            pip_requirements=[f"{name}=={importlib.metadata.version(name)}" for name in packages],
            signature=_signature(),
            input_example=_example(),
        )


def _alone(exported: Path, folder: Path) -> Path:
    """A folder with one exported model and what belongs to it."""
    folder.mkdir()
    copy = shutil.copytree if exported.is_dir() else shutil.copy
    copy(exported, folder / exported.name)
    for path in (paths.EXPORTED_CLASSES, paths.MODEL_CARD):
        shutil.copy(path, folder)
    return folder


def _code(folder: Path) -> Path:
    """A copy of the package with the rooms alone by which a model predicts."""
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

    path = Path(read_csv(paths.PREDICTIONS)[0]["path"])
    if not path.exists():
        return None
    image = Image.fromarray(decode(path))
    image.thumbnail((EXAMPLE_SIDE, EXAMPLE_SIDE))
    image.save(stream := io.BytesIO(), "PNG")
    return pd.DataFrame({"image": [stream.getvalue()]})


def register(name: str, run: "Run") -> None:
    """Make the model that a run logged a version of `name` and its candidate, unless it is a version already.

    A version without a description is one whose registration was cut off: it is finished.
    """
    import mlflow

    client, run_id = mlflow.MlflowClient(), run.info.run_id
    versions = [known for known in client.search_model_versions(f"name = '{name}'") if known.run_id == run_id]
    if any(known.description for known in versions):
        return
    figures = json.loads(paths.METRICS.read_text())
    version = versions[0] if versions else _new_version(name, run, figures)
    client.set_registered_model_alias(name, CANDIDATE, version.version)
    said = "Test accuracy {accuracy:.4f} (95 % interval {accuracy_low:.4f} to {accuracy_high:.4f}, {n_test:,} pictures)"
    client.update_model_version(name, version.version, said.format(**figures))


def _new_version(name: str, run: "Run", figures: dict[str, Any]) -> "ModelVersion":
    """A version of the model that a run logged last."""
    import mlflow

    client, run_id = mlflow.MlflowClient(), run.info.run_id
    newest_first = [{"field_name": "creation_timestamp", "ascending": False}]
    logged = client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run_id}'", order_by=newest_first)
    shown = ("accuracy", "accuracy_low", "accuracy_high", "log_loss", "n_test")
    tags = {runs.MODEL: figures[runs.MODEL], **{key: f"{figures[key]:.6g}" for key in shown}}
    return mlflow.register_model(logged[0].model_uri, name, tags=tags)


def version(name: str, alias: str) -> "ModelVersion | None":
    """The version of a registered model that has an alias, if there is one.

    Raises:
        UserError: no model of this name is registered.
    """
    import mlflow

    try:
        model = mlflow.MlflowClient().get_registered_model(name)
    except mlflow.MlflowException:
        raise UserError(
            f"no model is registered as {name} in MLflow at {public()}: set export.register and run `dvc repro`."
        ) from None
    number = model.aliases.get(alias)
    return mlflow.MlflowClient().get_model_version(name, number) if number else None


def run_of(run_id: str) -> "Run":
    """A run.

    Raises:
        UserError: the store has no such run.
    """
    import mlflow

    try:
        return mlflow.get_run(run_id)
    except mlflow.MlflowException:
        raise UserError(f"MLflow at {public()} has no run {run_id}.") from None


def trained_run(run: "Run") -> "Run":
    """The run that holds the training of a model which a run logged or evaluated: the run itself, or its parent."""
    return run_of(run.data.tags[runs.PARENT]) if runs.is_other(run) else run


def evaluated_run(run: "Run") -> "Run":
    """The run that holds the evaluation of a model which a run logged: the one that lay beside that export.

    It may be in any run of the same training. Where the store does not have it, what the run holds itself or its parent
    does is the next best.
    """
    parent, wanted = trained_run(run), run.data.tags.get(runs.EXPORTED_WITH)
    for one in [parent, *runs.children(parent)] if wanted else []:
        if one.data.tags.get(runs.EVALUATION) == wanted:
            return one
    return run if holds_evaluation(run) else parent


def holds_evaluation(run: "Run") -> bool:
    """Whether a run has test figures of its own."""
    return "test_accuracy" in run.data.metrics


def logged_by(address: str) -> str:
    """The id of the run that logged the model at an address in MLflow.

    Raises:
        UserError: there is no such model.
    """
    import mlflow

    try:
        return str(mlflow.models.get_model_info(address).run_id)
    except Exception as error:  # whatever a store on a network may raise
        said = public(" ".join(str(error).split()))[:200]
        raise UserError(f"MLflow at {public()} does not give {address} ({said}).") from None
