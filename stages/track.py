"""Write what the outputs hold into MLflow: the run of the model in models/, its evaluation, its export.

For a model that was pulled from a remote, or after a time when the MLflow server was away. Doing it twice changes
nothing.

Reads   models, reports, exports, params.yaml
"""

from stages.common import params, tracking
from stages.common.classifier import settings
from stages.common.paths import EXPORT_REPORT, METRICS, MODELS
from stages.common.stage import command
from stages.common.store import store


def main() -> None:
    """Find or make the run, then add what is there and not yet in it."""
    settings(MODELS)
    tracking.log_training()
    if METRICS.exists():
        tracking.log_evaluation()
    if EXPORT_REPORT.exists():
        tracking.log_export(params.check(params.load())["export"].register_as)  # type: ignore[attr-defined]
    print(f"track: MLflow at {store()} holds this model's run")


if __name__ == "__main__":
    command("track", main)
