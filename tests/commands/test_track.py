"""The command that adds outputs to MLflow; what it adds is tested in tests/tracking."""

import pytest

from darkroom.commands import track
from darkroom.core.errors import UserError


def test_it_needs_a_model(workspace):
    with pytest.raises(
        UserError, match=r"^models holds no model: run `dvc repro`, or `dvc pull models` if it was pushed"
    ):
        track.main()
    assert not (workspace / "mlflow.db").exists()
