"""Say in a few lines what the last run came to and where its results are.

Reads   reports/metrics.json, reports/dataset.json, the names in exports, MLflow's address and experiment
"""

import json

from darkroom.core.errors import UserError
from darkroom.core.paths import DATASET_REPORT, EXPORTS, METRICS, REPORT
from darkroom.inference.formats import FILES
from darkroom.tracking import views
from darkroom.tracking.store import connect, is_server, public

UI = "http://127.0.0.1:5000"  # where mlflow ui listens by itself


def summary() -> str:
    """The lines.

    Raises:
        UserError: nothing has run yet.
    """
    if not METRICS.exists():
        raise UserError(f"there is no {METRICS} yet: run `dvc repro`.")
    figures, data = json.loads(METRICS.read_text()), json.loads(DATASET_REPORT.read_text())
    return "\n".join(
        [
            f"Test accuracy   {figures['accuracy']:.4f}, 95 % interval {figures['accuracy_low']:.4f} to "
            f"{figures['accuracy_high']:.4f}, on {figures['n_test']:,} pictures of {len(data['classes'])} classes",
            f"Report          {REPORT}",
            f"Exported model  {EXPORTS}: {', '.join(name for name in FILES.values() if (EXPORTS / name).exists())}",
            "Predict         .venv/bin/python -m darkroom predict PATH",
            f"MLflow store    {public()}",
            f"Open MLflow     {public() if is_server() else f'.venv/bin/mlflow ui --backend-store-uri {public()}'}",
            f"Compare runs    {comparison()}",
        ]
    )


def comparison() -> str:
    """The page that compares runs: of the server, or of the one that `mlflow ui` starts."""
    try:
        return views.address(public() if is_server() else UI, connect())
    except UserError as error:
        return str(error)
