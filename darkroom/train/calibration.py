"""Temperature scaling, so that probabilities match how often the model is right."""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature, by which logits are divided, with the lowest log loss.

    Guo et al., On Calibration of Modern Neural Networks, 2017; with the targets of Platt, Probabilistic outputs for
    support vector machines, 1999, which are slightly below 1: otherwise a few pictures without a mistake would lead to
    a temperature of 0. Rounded to be the same on every machine.

    Args:
        logits: (pictures, classes).
        labels: class numbers (pictures,).
    """
    count, classes = logits.shape
    doubt = 1 / (count + 2)

    def loss(log_temperature: float) -> float:
        logs = log_softmax(logits.astype(np.float64) / np.exp(log_temperature), axis=1)
        right = logs[np.arange(count), labels]
        wrong = (logs.sum(axis=1) - right) / (classes - 1)
        return float(-((1 - doubt) * right + doubt * wrong).mean())

    return float(f"{np.exp(minimize_scalar(loss, bounds=(-5, 5), method='bounded').x):.4g}")


def log_loss(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean negative log probability of the right class, from logits (pictures, classes) and class numbers."""
    return float(-log_softmax(logits.astype(np.float64), axis=1)[np.arange(len(labels)), labels].mean())
