"""Models in MLflow's registry: their versions, and the runs that hold their training and evaluation."""

from typing import TYPE_CHECKING, Any

from darkroom.core import reports
from darkroom.core.errors import UserError, is_of_the_machine
from darkroom.core.metric_table import Estimate
from darkroom.tracking import runs, tags
from darkroom.tracking.address import display_uri
from darkroom.tracking.failures import one_line

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

CANDIDATE = "candidate"
CHAMPION = "champion"


def register(name: str, run: "Run") -> None:
    """Make the model that a run logged a version of `name` and its candidate, unless it is a version already.

    A version without a description is one whose registration was cut off: it is finished.
    """
    import mlflow

    client, run_id = mlflow.MlflowClient(), run.info.run_id
    versions = [version for version in client.search_model_versions(f"name = '{name}'") if version.run_id == run_id]
    if any(version.description for version in versions):
        return
    figures = reports.metrics()
    version = versions[0] if versions else _new_version(name, run, figures)
    client.set_registered_model_alias(name, CANDIDATE, version.version)
    accuracy = Estimate.of(figures, "accuracy").text()
    description = f"Test accuracy {accuracy}, on {figures['n_test']:,} pictures"
    client.update_model_version(name, version.version, description)


def _new_version(name: str, run: "Run", figures: dict[str, Any]) -> "ModelVersion":
    """A version of the model that a run logged last."""
    import mlflow

    client, run_id = mlflow.MlflowClient(), run.info.run_id
    newest_first = [{"field_name": "creation_timestamp", "ascending": False}]
    logged = client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run_id}'", order_by=newest_first)
    shown = ("accuracy", "accuracy_low", "accuracy_high", "log_loss", "n_test")
    version_tags = {tags.MODEL: figures["model_sha256"], **{key: f"{figures[key]:.6g}" for key in shown}}
    return mlflow.register_model(logged[0].model_uri, name, tags=version_tags)


def version_by_alias(name: str, alias: str) -> "ModelVersion | None":
    """The version of a registered model that has an alias, if there is one.

    Raises:
        UserError: no model of this name is registered.
    """
    import mlflow

    try:
        model = mlflow.MlflowClient().get_registered_model(name)
    except mlflow.MlflowException:
        raise UserError(
            f"no model is registered as {name} in MLflow at {display_uri()}: set export.register and run `dvc repro`."
        ) from None
    number = model.aliases.get(alias)
    return mlflow.MlflowClient().get_model_version(name, number) if number else None


def get_run(run_id: str) -> "Run":
    """The run with an id.

    Raises:
        UserError: the store has no such run.
    """
    import mlflow

    try:
        return mlflow.get_run(run_id)
    except mlflow.MlflowException:
        raise UserError(f"MLflow at {display_uri()} has no run {run_id}.") from None


def training_run_of(run: "Run") -> "Run":
    """The run that holds the training of a model which `run` logged or evaluated: `run` itself, or its parent."""
    return get_run(run.data.tags[tags.PARENT]) if runs.is_supplement(run) else run


def evaluation_run_of(run: "Run") -> "Run":
    """The run that holds the evaluation which lay beside the export that `run` logged.

    It may be any run of the same training. If the store does not have it, the evaluation in `run` or in its parent is
    the next best.
    """
    parent, digest = training_run_of(run), run.data.tags.get(tags.EXPORTED_WITH)
    for candidate in [parent, *runs.children(parent)] if digest else []:
        if candidate.data.tags.get(tags.EVALUATION) == digest:
            return candidate
    return run if has_evaluation(run) else parent


def has_evaluation(run: "Run") -> bool:
    """Whether a run has test metrics of its own."""
    return "test_accuracy" in run.data.metrics


def source_run_id(address: str) -> str:
    """The id of the run that logged the model at an address such as `models:/animals@champion`.

    Raises:
        UserError: there is no such model.
    """
    import mlflow

    try:
        return str(mlflow.models.get_model_info(address).run_id)
    except Exception as error:  # whatever a store on a network may raise
        if is_of_the_machine(error):
            raise
        raise UserError(f"{address} cannot be read from MLflow at {display_uri()} ({one_line(error)}).") from None
