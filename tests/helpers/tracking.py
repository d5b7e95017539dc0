"""MLflow stores of small projects: their runs, and outputs that look like another training or evaluation."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import Run

from darkroom.core.files import write_csv
from darkroom.core.model_spec import SPEC, model_sha256
from darkroom.core.paths import HISTORY, METRICS, MODELS, PREDICTIONS, TRAIN_REPORT
from darkroom.tracking import live_run, pipeline_log, tags
from tests.helpers.project import set_params

EPOCHS = 20


def client(folder: Path) -> mlflow.MlflowClient:
    """Return a client of a project's own store."""
    return mlflow.MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")


def runs(folder: Path, kind: str | None = None) -> list[Run]:
    """Return the runs in a project's own store, or those of a kind, oldest first."""
    store = client(folder)
    experiment = store.get_experiment_by_name("darkroom").experiment_id
    kept = [run for run in store.search_runs([experiment], max_results=1000) if kind in (None, run.data.tags["kind"])]
    return sorted(kept, key=lambda run: run.info.start_time)


def curve(folder: Path, run: Run, metric: str = "val_loss") -> list[tuple[int, float]]:
    """Return the epochs and values of a metric of a run."""
    return [(point.step, point.value) for point in client(folder).get_metric_history(run.info.run_id, metric)]


def parent_and_child(folder: Path) -> list[Run]:
    """Return the two runs in a store, the child last."""
    parent, child = sorted(runs(folder), key=lambda run: tags.PARENT in run.data.tags)
    assert child.data.tags[tags.PARENT] == parent.info.run_id
    return [parent, child]


def snapshot(folder: Path) -> dict[str, tuple[Any, ...]]:
    """Return all that a store holds of each run, for comparison."""
    return {
        run.info.run_id: (
            (run.data.metrics, run.data.params, run.data.tags),
            run.info.end_time,
            [len(curve(folder, run, name)) for name in sorted(run.data.metrics)],
        )
        for run in runs(folder)
    }


def change_json(path: Path, **changes: Any) -> None:
    """Change keys in a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def change_evaluation(accuracy: float) -> None:
    """Turn the evaluation here into another one of the same model: another accuracy, and one picture fewer."""
    change_json(METRICS, accuracy=accuracy, n_test=json.loads(METRICS.read_text())["n_test"] - 1)
    PREDICTIONS.write_text("".join(PREDICTIONS.read_text().splitlines(keepends=True)[:-1]))


def change_model(folder: Path, temperature: float) -> None:
    """Turn the model into another one, by its temperature."""
    change_json(folder / MODELS / SPEC, temperature=temperature)
    change_json(folder / TRAIN_REPORT, model_sha256=model_sha256(folder / MODELS))


def train_fold(folder: Path, fold: int, accuracy: float, epochs: int = 6, temperature: float | None = None) -> None:
    """Leave what `dvc exp run -S split.fold=FOLD` leaves: another model, and its metrics."""
    set_params(folder, {"split.method": "kfold", "split.folds": 3, "split.fold": fold, "train.epochs": epochs})
    change_model(folder, temperature or fold + epochs / 100)
    change_json(folder / METRICS, accuracy=accuracy, ece=accuracy / 10, model_sha256=model_sha256(folder / MODELS))


def log_fold(folder: Path, fold: int, accuracy: float, **changes: Any) -> None:
    """Train a fold in the current folder and log it."""
    train_fold(folder, fold, accuracy, **changes)
    pipeline_log.log_training()
    pipeline_log.log_evaluation()


def log_many_epochs(seed: int) -> None:
    """Log a training in the current folder whose losses are a function of the seed."""
    rows = [(epoch, seed + epoch / 100) for epoch in range(1, EPOCHS + 1)]
    with live_run.training_run(Path("run_id")) as log:
        for epoch, loss in rows:
            log(epoch, {"loss": loss, "val_loss": loss})
        columns = ("epoch", "loss", "val_loss", "accuracy", "val_accuracy")
        write_csv(HISTORY, columns, [(epoch, loss, loss, 0.5, 0.5) for epoch, loss in rows])
        change_json(TRAIN_REPORT, epochs=EPOCHS)


def check_epochs(found: Iterable[tuple[str, str, Sequence[tuple[int, float]]]], count: int) -> None:
    """Check the seed, status and curve of each run that `log_many_epochs` left."""
    by_seed = {int(seed): (status, dict(points)) for seed, status, points in found}
    assert sorted(by_seed) == list(range(count))
    for seed, (status, points) in by_seed.items():
        assert status == "FINISHED"
        assert points == {epoch: seed + epoch / 100 for epoch in range(1, EPOCHS + 1)}
