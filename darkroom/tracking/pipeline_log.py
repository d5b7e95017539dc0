"""What the stages add to a model's MLflow run once they have written their files: training, evaluation, export.

Everything is read from those files, so that `python -m darkroom track` can write a run at any later time, on another
machine too, and writing it twice changes nothing. No output depends on this package.
"""

from pathlib import Path

from darkroom.core import paths, reports
from darkroom.core.errors import UserError
from darkroom.core.files import read_json
from darkroom.core.model_spec import model_sha256
from darkroom.tracking import folds, registry, runs, served_model, tags, training_record

EVALUATION_FILES = (
    paths.METRICS,
    paths.PER_CLASS,
    paths.PREDICTIONS,
    paths.ROC,
    paths.PRECISION_RECALL,
    paths.RELIABILITY,
    paths.LABEL_ISSUES,
    paths.REPORT,
)
IDENTIFYING = [paths.METRICS, paths.PREDICTIONS, paths.REPORT]  # files by which evaluations are told apart
NOT_OF_TEST = ("label_issues", "temperature")


class OtherModelError(UserError):
    """The files in reports/ or exports/ belong to another model than the one in models/."""


def log_training() -> None:
    """Create the model's run from the files if the store does not have it."""
    folds.gather(runs.model_run().info.run_id)


def log_evaluation(seconds: float | None = None) -> None:
    """Add the evaluation in reports/ to the model's run, or to a child run if that one holds another evaluation.

    Args:
        seconds: that the stage took, if known.

    Raises:
        OtherModelError: the evaluation belongs to another model; nothing is written.
    """
    import mlflow

    _check_model(paths.METRICS, "the evaluation in reports/")

    def add() -> None:
        if runs.is_supplement(mlflow.active_run()):
            training_record.log_dataset()  # its test data may differ from that in the model's run
        metrics = reports.metrics()
        training_record.describe(metrics)
        del metrics["model_sha256"]
        mlflow.log_metrics({metric_name(name): value for name, value in metrics.items()})
        for path in EVALUATION_FILES:
            mlflow.log_artifact(str(path), "evaluation")
        mlflow.log_artifacts(str(paths.PLOTS), "evaluation/plots")
        _log_seconds("evaluate_seconds", seconds)

    folds.gather(runs.add_once(tags.EVALUATION, IDENTIFYING, add).info.run_id)


def metric_name(name: str) -> str:
    """MLflow's name of a metric in reports/metrics.json: `final_train_accuracy`, `final_val_n`, `test_accuracy`."""
    if name in NOT_OF_TEST:
        return name
    stem, _, part = name.rpartition("_")
    return f"final_{part}_{stem}" if part in ("train", "val") else f"test_{name.removesuffix('_test')}"


def log_export(
    register: str | None, seconds: float | None = None, milliseconds: dict[str, float] | None = None
) -> None:
    """Add the exported model to the model's run so that MLflow can serve it, and register it if a name is given.

    Args:
        register: name in the model registry; the version that the model becomes gets the alias `candidate`.
        seconds: that the stage took, if known.
        milliseconds: format to the time of one picture, if known.

    Raises:
        OtherModelError: the export belongs to another model, and nothing is written; or the evaluation does, and
            nothing is registered, since a version is described by its metrics.
    """
    import mlflow

    _check_model(paths.EXPORT_REPORT, "the export in exports/")

    def add() -> None:
        served_model.log()
        report = read_json(paths.EXPORT_REPORT, model_sha256=str)
        sizes = {name: entry["bytes"] for name, entry in report.items() if isinstance(entry, dict)}
        mlflow.log_metrics({f"export_bytes_{name}": size for name, size in sizes.items()})
        mlflow.log_metrics({f"export_ms_{name}": value for name, value in (milliseconds or {}).items()})
        for path in (paths.EXPORT_REPORT, paths.MODEL_CARD):
            mlflow.log_artifact(str(path), "export")
        if _is_current_model(paths.METRICS):
            mlflow.set_tag(tags.EXPORTED_WITH, runs.fingerprint(IDENTIFYING))
        _log_seconds("export_seconds", seconds)

    run = runs.add_once(tags.EXPORT, [paths.EXPORT_REPORT], add)
    if register:
        _check_model(paths.METRICS, f"the evaluation in reports/, which would describe it as {register},")
        registry.register(register, run)


def _is_current_model(report: Path) -> bool:
    """Whether a report exists and belongs to the model in models/; a killed `dvc repro` leaves older ones."""
    model = read_json(report, model_sha256=str)["model_sha256"] if report.exists() else None
    return bool(model == model_sha256(paths.MODELS))


def _check_model(report: Path, subject: str) -> None:
    if not _is_current_model(report):
        raise OtherModelError(f"{subject} belongs to another model: run `dvc repro`.")


def _log_seconds(name: str, seconds: float | None) -> None:
    import mlflow

    if seconds is not None:
        mlflow.log_metric(name, seconds)
