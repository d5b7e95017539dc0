"""What DVC would run."""

import json
import subprocess
import sys

from darkroom.core.errors import UserError
from darkroom.pipeline.params import STAGES


def outdated() -> list[str]:
    """The stages that `dvc repro` would run, in their order, as far as it can be told before.

    Raises:
        UserError: DVC cannot tell.
    """
    command = [sys.executable, "-m", "dvc", "status", "--json"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["it gives no reason"])[-1]
        raise UserError(f"DVC cannot tell what has changed ({reason}).")
    changed = json.loads(done.stdout)
    first = next((place for place, stage in enumerate(STAGES) if stage in changed), len(STAGES))
    return list(STAGES[first:])
