"""Fixtures for tests with MLflow."""

import os

import mlflow
import pytest


@pytest.fixture(autouse=True)
def mlflow_environment():
    """Connecting to a store sets MLflow's variables and address, which the next test must not see."""
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)
    mlflow.set_tracking_uri(None)
