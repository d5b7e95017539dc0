"""Write what the outputs hold into MLflow: the run of the model in models/, its evaluation, its export.

For a model that was pulled from a remote, or after a time when the MLflow server was away. Doing it twice changes
nothing. An evaluation or an export that is of another model is left out, and that is said.

Reads   models, reports, exports, params.yaml
"""

from collections.abc import Callable
from pathlib import Path

from darkroom.core.model_spec import ModelSpec
from darkroom.core.paths import EXPORT_REPORT, METRICS, MODELS
from darkroom.pipeline import params
from darkroom.tracking import pipeline_log
from darkroom.tracking.store import answering, public


def main() -> None:
    """Find or make the run, then add what is there of this model and not yet in it."""
    ModelSpec.load(MODELS)  # or say that there is none
    register = params.current().export.register_as
    with answering():
        pipeline_log.log_training()
    steps: list[tuple[Path, Callable[[], None]]] = [
        (METRICS, pipeline_log.log_evaluation),
        (EXPORT_REPORT, lambda: pipeline_log.log_export(register)),
    ]
    for report, log in steps:
        try:
            if report.exists():
                with answering():
                    log()
        except pipeline_log.OtherModelError as error:
            print(f"track: left out: {error}")
    print(f"track: MLflow at {public()} holds this model's run")
