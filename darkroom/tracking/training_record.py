"""What an MLflow run records about a training: its params, data set, curves, model files and description."""

import functools
import warnings
from typing import TYPE_CHECKING, Any

from darkroom.core import paths, reports
from darkroom.core.model_spec import SPEC, model_sha256
from darkroom.pipeline import params
from darkroom.tracking import failures, names, run_text, tags, views

if TYPE_CHECKING:
    from mlflow.entities import Run

DATASET_CONTEXTS = {"train": "training", "val": "validation", "test": "test"}


def write_training() -> None:
    """Write a training from its files into the open run; only the epochs that the run lacks are added."""
    import mlflow

    log_inputs()
    logged = _epochs(mlflow.active_run())
    for row in reports.history():
        epoch = int(row.pop("epoch"))
        if epoch not in logged:
            mlflow.log_metrics({name: float(value) for name, value in row.items()}, step=epoch)
    log_model()


def log_inputs() -> None:
    """Log all params (flat), the data set and a description, and give the experiment its view."""
    import mlflow

    views.install(mlflow.active_run().info.experiment_id)
    mlflow.log_params(names.logged(params.complete(params.load())))
    mlflow.log_artifact(str(paths.PARAMS))
    log_dataset()
    describe()


def log_dataset() -> None:
    """Log the data set, with the split of every picture."""
    import mlflow
    import pandas as pd

    pictures = pd.DataFrame(reports.split())
    warnings.filterwarnings("ignore", message="The specified dataset source can be interpreted in multiple ways")
    for part, context in DATASET_CONTEXTS.items():
        rows = pictures[pictures["split"] == part].drop(columns="split")
        data = mlflow.data.from_pandas(rows, source=str(paths.SPLIT), targets="class", name=part)  # type: ignore[attr-defined]
        failures.insert(functools.partial(mlflow.log_input, data, context))


def log_model() -> None:
    """Log the reports of the training, and set the tag by which the model's run is found."""
    import mlflow

    for path in (paths.HISTORY, paths.TRAIN_REPORT, paths.MODEL_SUMMARY, paths.MODELS / SPEC):
        mlflow.log_artifact(str(path), "training")
    report = reports.training()
    mlflow.log_metrics({name: value for name, value in report.items() if isinstance(value, int | float)})
    mlflow.set_tags({"precision": report.get("precision", "float32"), tags.MODEL: model_sha256(paths.MODELS)})


def describe(metrics: dict[str, Any] | None = None) -> None:
    """Set the open run's description, with the metrics of its evaluation if given."""
    import mlflow

    mlflow.set_tag(run_text.NOTE, run_text.note(metrics, mlflow.active_run().data.tags))


def has_current_params(run: "Run") -> bool:
    """Whether the params that a run has logged equal the current ones: MLflow refuses to change any."""
    current = names.logged(params.complete(params.load()))
    return all(current.get(name) == value for name, value in run.data.params.items())


def last_epoch(run: "Run") -> int:
    """The last epoch that a run has logged; 0 if none."""
    return max(_epochs(run), default=0)


def _epochs(run: "Run") -> set[int]:
    """The epochs that a run has logged; all metrics of an epoch are logged together."""
    import mlflow

    return {point.step for point in mlflow.MlflowClient().get_metric_history(run.info.run_id, "val_loss")}
