"""Add the model, its evaluation and its export to MLflow.

For a model that was pulled from a remote, or trained while the MLflow server was away. What MLflow holds already is not
added again. An evaluation or an export of another model is left out, with a message.

Reads   models, reports, exports, params.yaml
Writes  MLflow
"""

from collections.abc import Callable
from pathlib import Path

from darkroom.core.model_spec import ModelSpec
from darkroom.core.paths import EXPORT_REPORT, METRICS, MODELS
from darkroom.pipeline import params
from darkroom.tracking import pipeline_log
from darkroom.tracking.address import display_uri
from darkroom.tracking.failures import readable_errors


def main() -> None:
    """Find or create the model's run, then add its evaluation and its export."""
    ModelSpec.load(MODELS)  # raises an error if there is no model
    register = params.current().export.register_as
    with readable_errors():
        pipeline_log.log_training()
    steps: list[tuple[Path, Callable[[], None]]] = [
        (METRICS, pipeline_log.log_evaluation),
        (EXPORT_REPORT, lambda: pipeline_log.log_export(register)),
    ]
    for report, log in steps:
        try:
            if report.exists():
                with readable_errors():
                    log()
        except pipeline_log.OtherModelError as error:
            print(f"track: left out: {error}")
    print(f"track: MLflow at {display_uri()} holds this model's run")
