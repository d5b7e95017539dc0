"""Show the last run's test accuracy and where its results are.

Reads   reports/metrics.json, reports/dataset.json, the file names in exports, MLflow's address and experiment
"""

from typing import Any

from darkroom.core import reports
from darkroom.core.errors import UserError
from darkroom.core.metric_table import Estimate
from darkroom.core.paths import DATASET_REPORT, EXPORTS, METRICS, REPORT
from darkroom.inference.formats import FORMATS
from darkroom.tracking import views
from darkroom.tracking.address import display_uri, is_server
from darkroom.tracking.store import connect

UI = "http://127.0.0.1:5000"  # the default address of `mlflow ui`


def main() -> None:
    """Print the summary."""
    print(summary())


def summary() -> str:
    """Return a few lines on the figures, files and addresses.

    Raises:
        UserError: nothing has been evaluated yet.
    """
    if not METRICS.exists():
        raise UserError(f"there is no {METRICS} yet: run `dvc repro`.")
    exported = [kind.file for kind in FORMATS.values() if (EXPORTS / kind.file).exists()]
    lines = {
        "Test accuracy": accuracy(reports.metrics()),
        "Report": str(REPORT),
        "Exported model": f"{EXPORTS}: {', '.join(exported)}",
        "Predict": ".venv/bin/python -m darkroom predict PATH",
        "MLflow store": display_uri(),
        "Open MLflow": display_uri() if is_server() else f".venv/bin/mlflow ui --backend-store-uri {display_uri()}",
        "Compare runs": comparison(),
    }
    return "\n".join(f"{name:<16}{text}" for name, text in lines.items())


def accuracy(metrics: dict[str, Any]) -> str:
    """Return the accuracy with its interval and the size of the test set, as far as the reports hold them."""
    parts = [Estimate.of(metrics, "accuracy").text()]
    if "n_test" in metrics:
        size = f"on {metrics['n_test']:,} pictures"
        if DATASET_REPORT.exists():
            size += f" of {len(reports.dataset()['classes'])} classes"
        parts.append(size)
    return ", ".join(parts)


def comparison() -> str:
    """Return the address of the page that compares runs, on the server or on the one that `mlflow ui` starts."""
    try:
        return views.address(display_uri() if is_server() else UI, connect())
    except UserError as error:
        return str(error)
