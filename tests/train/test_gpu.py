"""A smoke test for a machine with an NVIDIA GPU: `make test-gpu`. Not yet run on one."""

import numpy as np
import pytest
import tensorflow as tf
import yaml

from darkroom.backbones import keras_apps, weights
from darkroom.core import runtime
from darkroom.core.files import write_csv
from darkroom.models.inputs import Features
from stages import extract, train
from tests.helpers.project import ROOT
from tests.helpers.training import session

pytestmark = pytest.mark.gpu


def test_one_epoch_in_mixed_float16_with_memory_growth(pictures, tmp_path, capfd):
    gpus = tf.config.list_physical_devices("GPU")
    assert gpus, "TensorFlow sees no GPU"
    assert tf.config.experimental.get_memory_growth(gpus[0])
    assert runtime.precision("auto") == "mixed_float16"
    tf.debugging.set_log_device_placement(True)
    network = keras_apps.network("VGG16", (64, 64), "mixed_float16")
    weights.load(network, "VGG16", "imagenet")
    model = keras_apps.feature_extractor(network, "VGG16", (64, 64), ["block4_pool"], "flatten")
    features = [batch["block4_pool"] for batch in extract.compute(model, pictures, (64, 64), "mixed_float16")]
    tf.debugging.set_log_device_placement(False)
    assert "device:GPU:0" in "".join(capfd.readouterr())
    for part in ("train", "val"):
        np.save(tmp_path / f"{part}.block4_pool.npy", np.concatenate(features))
        rows = [("", str(path), path.parent.name) for path in pictures]
        write_csv(tmp_path / f"{part}.csv", ("sha256", "path", "label"), rows)
    both = [Features(tmp_path, part, ["block4_pool"]) for part in ("train", "val")]
    section = yaml.safe_load((ROOT / "params.yaml").read_text())["train"] | {"epochs": 1}
    history = train.fit_head(train.Params(**section), *both, sorted(set(both[0].labels)), session())[-1]
    assert np.isfinite(history["loss"]).all()
