"""Fixtures for tests with MLflow."""

import os

import pytest


@pytest.fixture(autouse=True)
def mlflow_environment():
    """Connecting to a store sets MLflow's variables, which the next test must not see."""
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)
