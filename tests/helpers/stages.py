"""The pipeline's stages in one process, so that imports are paid once: `python -m tests.helpers.stages [STAGE...]`."""

import importlib
import sys
from collections.abc import Sequence

from darkroom.pipeline import params


def run_stages(names: Sequence[str] = params.STAGES) -> None:
    """Call the `main` of each stage in turn, with the current folder's checked params."""
    import mlflow  # noqa: F401  (else `train` would have another process import it)

    sections = params.current()
    for name in names:
        importlib.import_module(f"stages.{name}").main(sections.base, getattr(sections, name))


if __name__ == "__main__":
    run_stages(sys.argv[1:] or params.STAGES)
