"""The probabilities that a model gives the pictures of a split."""

import dataclasses

import numpy as np
import pytest

from darkroom.core import paths
from darkroom.evaluate.predictions import predict
from darkroom.models.classifier import Classifier


@pytest.mark.usefixtures("tensorflow")
def test_probabilities_are_those_at_the_temperature_of_the_model(project, monkeypatch):
    monkeypatch.chdir(project)
    model = Classifier.load(paths.MODELS)
    model = dataclasses.replace(model, spec=model.spec.model_copy(update={"temperature": 2.0}))
    predictions = predict(model, "test")
    for probabilities, temperature in ((predictions.uncalibrated, 1), (predictions.probabilities, 2)):
        powers = np.exp(model.logits(model.inputs("test")).astype(np.float64) / temperature)
        assert probabilities.dtype == np.float64
        np.testing.assert_allclose(probabilities, powers / powers.sum(axis=1, keepdims=True), atol=1e-6)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-12)
    assert (predictions.predicted == predictions.uncalibrated.argmax(axis=1)).all()
