"""What TensorBoard shows of a training: its curves, and if wanted what the layers give for some validation pictures.

Event files hold times, so they are no output of a stage: they lie in logs/, which git ignores.
"""

import math
import os
from collections import Counter, defaultdict
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from darkroom.core.paths import logs
from darkroom.models.inputs import Inputs

ROWS = 256  # validation pictures whose activations are shown, …
PLACES = 1024  # … of each at most so many numbers of a layer in a histogram, which takes 240 bytes of memory for each
VALUES = 2**25  # numbers that all layers together give for the pictures that are computed at a time

# In a prediction they hand on what they are given: their histogram would be the one before.
UNCHANGED = (keras.layers.Dropout, keras.layers.Flatten, keras.layers.Identity, keras.layers.Reshape)


class Board:
    """Writes one training's events; without a `kind` (none, scalars, activations) it writes nothing.

    What the training wrote before it was killed stays as it is, with its times, and is not written again.
    """

    def __init__(self, state: Path, phase: str, kind: str) -> None:
        self.kind = kind
        self.folder = logs() / f"{os.environ.get('DVC_EXP_NAME', 'training')}-{state.name[:8]}" / phase
        self.probe: Probe | None = None

    def scalars(self, epoch: int, figures: dict[str, float]) -> None:
        """Loss, accuracy and learning rate after an epoch, under the names that Keras gives them."""
        if self.kind == "none" or epoch <= self._written["curves"]:
            return
        for name, value in figures.items():
            part = "validation" if name.startswith("val_") else "train"
            with self._writers[part].as_default():
                tf.summary.scalar(f"epoch_{name.removeprefix('val_')}", value, step=epoch)
        self._flush()

    def activations(self, epoch: int, model: keras.Model, val: Inputs) -> None:
        """A histogram of what each layer gives, and its sparsity: the share that is 0. The model is always the same."""
        if self.kind != "activations" or epoch <= self._written["layers"]:
            return
        self.probe = self.probe or Probe(model)
        with self._writers["validation"].as_default():
            for name, (values, sparsity) in self.probe.sample(val).items():
                tf.summary.histogram(f"activations/{name}", values[np.isfinite(values)], step=epoch)
                tf.summary.scalar(f"sparsity/{name}", sparsity, step=epoch)
        self._flush()

    @cached_property
    def _written(self) -> dict[str, int]:
        """The last epoch that lies there whole: of the curves, whose last is the validation loss, and of the layers."""
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        steps: dict[str, int] = {}
        if (self.folder / "validation").exists():
            events = EventAccumulator(str(self.folder / "validation")).Reload()
            steps = {tag: events.Tensors(tag)[-1].step for tag in events.Tags()["tensors"]}
        layers = [step for tag, step in steps.items() if tag.startswith("sparsity/")]
        return {"curves": steps.get("epoch_loss", 0), "layers": min(layers, default=0)}

    @cached_property
    def _writers(self) -> dict[str, Any]:
        return {
            # An epoch's values are held until they are flushed together, so that it lies there whole or not at all.
            part: tf.summary.create_file_writer(str(self.folder / part), max_queue=100_000)
            for part in ("train", "validation")
        }

    def _flush(self) -> None:
        for writer in self._writers.values():
            writer.flush()


class Probe:
    """Looks into a model: what each of its layers gives for some pictures, as in a prediction."""

    def __init__(self, model: keras.Model) -> None:
        layers = every_layer(model)
        self.size = max(1, VALUES // sum(math.prod(output.shape[1:]) for output in layers.outputs))
        known = [tf.TensorSpec(model.input_shape, tf.float32)]  # of any number of pictures, so that it is traced once
        self.forward = tf.function(lambda rows: layers(rows, training=False)[1], input_signature=known)

    def sample(self, val: Inputs) -> dict[str, tuple[np.ndarray, float]]:
        """By layer: some of the numbers that it gives for pictures from all over `val`, and the share of all that is 0.

        Of a layer these are the same places in each picture, (pictures, places).
        """
        chosen = np.unique(np.linspace(0, len(val) - 1, ROWS).astype(int))
        values: dict[str, list[np.ndarray]] = {}
        zeros: defaultdict[str, float] = defaultdict(float)
        for start in range(0, len(chosen), self.size):
            rows = val.rows(chosen[start : start + self.size])
            for name, output in self.forward(rows).items():
                flat = ops.convert_to_numpy(ops.cast(output, "float32")).reshape(len(rows), -1)
                places = np.random.default_rng(0).choice(flat.shape[1], min(flat.shape[1], PLACES), replace=False)
                values.setdefault(name, []).append(flat[:, places])
                zeros[name] += float(np.mean(flat == 0)) * len(rows)
        return {name: (np.concatenate(parts), zeros[name] / len(chosen)) for name, parts in values.items()}


def every_layer(model: keras.Model) -> keras.Model:
    """The same layers, but giving all that they give: rows to the model's output and a dictionary of its layers'.

    A layer in a model inside counts as one of the model's; where two have one name, the model inside goes before it.
    """
    given: dict[str, Any] = {}

    def call(layer: Any, *arguments: Any, **keywords: Any) -> Any:
        if isinstance(layer, keras.Model) and not isinstance(layer, keras.Sequential):
            output, inside = every_layer(layer)(*arguments, **keywords)
            given.update({f"{layer.name}/{name}": value for name, value in inside.items()})
        else:
            output = layer(*arguments, **keywords)
            if isinstance(layer, keras.layers.Layer) and not isinstance(layer, UNCHANGED):
                given[layer.name] = output
        return output

    # Without the optimizer of a compiled model, which Keras would copy too.
    plain = keras.Model(model.input, model.output, name=model.name)
    again = keras.models.clone_model(plain, clone_function=lambda layer: layer, call_function=call)
    shared = Counter(name.rsplit("/", 1)[-1] for name in given)
    last = {name: name.rsplit("/", 1)[-1] for name in given}
    named = {last[name] if shared[last[name]] == 1 else name: value for name, value in given.items()}
    return keras.Model(again.input, [again.output, named], name=model.name)
