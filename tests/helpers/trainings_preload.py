"""Import what a training imports, without starting TensorFlow, whose threads would not survive a fork."""

from darkroom.core.runtime import import_tensorflow

import_tensorflow()

import mlflow  # noqa: F401

from darkroom.tracking import live_run  # noqa: F401
from darkroom.train import features, fine_tuning, loop, scratch  # noqa: F401
from stages import train  # noqa: F401
