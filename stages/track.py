"""Write what the outputs hold into MLflow: the run of the model in models/, its evaluation, its export.

For a model that was pulled from a remote, or after a time when the MLflow server was away. Doing it twice changes
nothing. An evaluation or an export that is of another model is left out, and that is said.

Reads   models, reports, exports, params.yaml
"""

from collections.abc import Callable
from pathlib import Path

from stages.common import params
from stages.common.models.classifier import settings
from stages.common.paths import EXPORT_REPORT, METRICS, MODELS
from stages.common.stage import command
from stages.common.tracking import tracking
from stages.common.tracking.store import answering, public


def main() -> None:
    """Find or make the run, then add what is there of this model and not yet in it."""
    settings(MODELS)
    register = params.check(params.load())["export"].register_as  # type: ignore[attr-defined]
    with answering():
        tracking.log_training()
    steps: list[tuple[Path, Callable[[], None]]] = [
        (METRICS, tracking.log_evaluation),
        (EXPORT_REPORT, lambda: tracking.log_export(register)),
    ]
    for report, log in steps:
        try:
            if report.exists():
                with answering():
                    log()
        except tracking.OtherModelError as error:
            print(f"track: left out: {error}")
    print(f"track: MLflow at {public()} holds this model's run")


if __name__ == "__main__":
    command("track", main)
