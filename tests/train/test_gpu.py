"""A smoke test for a machine with an NVIDIA GPU: `make test-gpu`."""

import numpy as np
import pytest

from darkroom.core import precision
from darkroom.train import features
from tests.helpers.training import extracted, head_params, session

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("tensorflow")]


def test_one_epoch_in_mixed_float16_with_memory_growth(tuning, capfd):
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    assert gpus, "TensorFlow sees no GPU"
    assert tf.config.experimental.get_memory_growth(gpus[0])
    assert precision.choose("auto").policy == "mixed_float16"
    tf.debugging.set_log_device_placement(True)
    backbone = extracted(layers=["block4_pool"], precision="auto")
    tf.debugging.set_log_device_placement(False)
    assert "device:GPU:0" in "".join(capfd.readouterr())
    assert backbone.precision == "mixed_float16"
    history = features.fit(head_params(epochs=1), backbone, session()).history
    assert np.isfinite(history["loss"]).all()
