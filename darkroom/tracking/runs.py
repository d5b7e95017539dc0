"""Runs in MLflow: one per trained model, found by the model's SHA-256 and created where the store does not have it."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from darkroom.core import paths
from darkroom.core.hashing import sha256
from darkroom.core.model_spec import model_sha256, verified_sha256
from darkroom.core.partial_files import remove
from darkroom.tracking import run_text, tags
from darkroom.tracking.failures import best_effort
from darkroom.tracking.store import connect
from darkroom.tracking.training_record import has_current_params, write_training

if TYPE_CHECKING:
    from mlflow.entities import Run


def add_once(tag: str, files: list[Path], add: Callable[[], None]) -> "Run":
    """Call `add` inside the model's run unless the run holds exactly these files already.

    Args:
        tag: holds the fingerprint of the files that a run has.
        files: their contents identify what is added.
        add: logs to the active run.

    Returns:
        The run that holds them: the model's, or a child of it if the model's run holds others.
    """
    import mlflow

    digest = fingerprint(files)
    run = model_run()
    current = run.data.tags.get(tag)
    if current not in (None, digest):
        run = _child(run, tag, digest)
        current = run.data.tags.get(tag)
    if current != digest:
        with mlflow.start_run(run_id=run.info.run_id):
            add()
            mlflow.set_tag(tag, digest)
    return run


def fingerprint(files: list[Path]) -> str:
    """SHA-256 over the SHA-256 digests of files, in this order.

    Runs are tagged with it: another formula would log again what they hold.
    """
    return hashlib.sha256("".join(sha256(path) for path in files).encode()).hexdigest()


def model_run() -> "Run":
    """The run of the model in models/, preferably this workspace's own; created from the files if there is none."""
    experiment, model = connect(), verified_sha256()
    own, others = _training_runs(experiment, tags.MODEL, model)
    if own or others:
        return (own or others)[0]
    return _replay(experiment, model)


def _training_runs(experiment: str, tag: str, value: str) -> "tuple[list[Run], list[Run]]":
    """The training runs with a tag, newest first: this workspace's own, and the others."""
    import mlflow

    query = f"tags.{tag} = '{value}' and tags.{tags.KIND} = '{tags.TRAINING}'"
    runs = mlflow.MlflowClient().search_runs([experiment], query, order_by=["attributes.start_time DESC"])
    own = [run for run in runs if run.data.tags.get(tags.WORKSPACE) == str(Path.cwd())]
    return own, [run for run in runs if run not in own]


def _replay(experiment: str, model: str) -> "Run":
    """Write a training's run from its files, continuing one that was cut off or an earlier attempt that failed."""
    import mlflow

    incomplete = interrupted_run(incomplete_run_file(), experiment)
    attempts = [incomplete] if incomplete else _training_runs(experiment, tags.INTENDED + tags.MODEL, model)[0]
    run_id = next((run.info.run_id for run in attempts if has_current_params(run)), None)
    new_tags = {**tags.provenance(), "replayed": "true", tags.INTENDED + tags.MODEL: model}
    with mlflow.start_run(run_id=run_id, experiment_id=experiment, run_name=run_text.title(), tags=new_tags) as run:
        write_training()
    incomplete_run_file().unlink(missing_ok=True)
    return mlflow.get_run(run.info.run_id)


def incomplete_run_file() -> Path:
    """The file with the id of the run that lacks part of the training of the model in models/."""
    return paths.cache() / "unfinished" / model_sha256(paths.MODELS)


def interrupted_run(id_file: Path, experiment: str) -> "Run | None":
    """The run whose id is in a file, if the store has it and its params are the current ones.

    A run with other params is marked as killed: MLflow would refuse the new ones.
    """
    import mlflow

    if not id_file.exists():
        return None
    try:
        run = mlflow.get_run(id_file.read_text(encoding="utf-8").strip())
    except mlflow.MlflowException:
        return None  # it is in another store
    except (UnicodeDecodeError, IsADirectoryError):  # damaged
        remove(id_file)
        return None
    if not has_current_params(run):
        best_effort(lambda: mlflow.MlflowClient().set_terminated(run.info.run_id, "KILLED"))
        return None
    return run if run.info.experiment_id == experiment and run.info.lifecycle_stage == "active" else None


def _child(parent: "Run", tag: str, digest: str) -> "Run":
    """The child run of `parent` that holds `digest` or was created to hold it, or a new one."""
    import mlflow

    client = mlflow.MlflowClient()
    for run in children(parent):
        if digest in (run.data.tags.get(tag), run.data.tags.get(tags.INTENDED + tag)):
            return run
    new_tags = {
        **tags.provenance(),
        tags.PARENT: parent.info.run_id,
        tags.KIND: tags.SUPPLEMENT,
        tags.INTENDED + tag: digest,
    }
    name = f"{parent.info.run_name}, other {tag.removesuffix('_sha256')}"
    child = client.create_run(parent.info.experiment_id, run_name=name, tags=new_tags)
    return client.get_run(child.info.run_id)


def is_supplement(run: "Run") -> bool:
    """Whether a run is the child of a model's run; that one may have a parent too, such as the run of all folds."""
    return bool(run.data.tags.get(tags.KIND) == tags.SUPPLEMENT)


def children(parent: "Run") -> "list[Run]":
    """The child runs of a run."""
    import mlflow

    query = f"tags.`{tags.PARENT}` = '{parent.info.run_id}'"
    return list(mlflow.MlflowClient().search_runs([parent.info.experiment_id], query))
