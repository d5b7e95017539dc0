"""TensorBoard logs of a training: its curves, and on request the layers' activations on some validation pictures.

Event files contain times, so they are not outputs of the stage: they are in logs/, which git ignores.
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

ROWS = 256  # validation pictures whose activations are shown
PLACES = 1024  # values of a layer in a histogram for each picture; TensorBoard's histogram takes 240 bytes for a value
VALUES = 2**25  # activations of all layers that are computed at a time

# In inference their output is their input: a histogram would repeat the one before.
PASS_THROUGH = (keras.layers.Dropout, keras.layers.Flatten, keras.layers.Identity, keras.layers.Reshape)


class Board:
    """Writes the events of one training, or of one phase of it; with kind `none` it writes nothing.

    Events that were written before the training was killed are kept, with their times, and not written again.
    """

    def __init__(self, state: Path, phase: str, kind: str) -> None:
        """Choose the folder.

        Args:
            state: the folder of the training's state, after which the folder of the events is named.
            phase: its subfolder; may be empty.
            kind: none, scalars or activations.
        """
        self.kind = kind
        self.folder = logs() / f"{os.environ.get('DVC_EXP_NAME', 'training')}-{state.name[:8]}" / phase
        self.probe: Probe | None = None

    def scalars(self, epoch: int, figures: dict[str, float]) -> None:
        """Write loss, accuracy and learning rate after an epoch, under Keras' names."""
        if self.kind == "none" or epoch <= self._written["curves"]:
            return
        for name, value in figures.items():
            part = "validation" if name.startswith("val_") else "train"
            with self._writers[part].as_default():
                tf.summary.scalar(f"epoch_{name.removeprefix('val_')}", value, step=epoch)
        self._flush()

    def activations(self, epoch: int, model: keras.Model, val: Inputs) -> None:
        """Write a histogram of each layer's activations, and its sparsity: the share of zeros.

        Every call must pass the same model.
        """
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
        """The last complete epoch in the event files: of the curves, and of the layers."""
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        steps: dict[str, int] = {}
        if (self.folder / "validation").exists():
            events = EventAccumulator(str(self.folder / "validation")).Reload()
            # Files are read in the order of their names, which need not be that of their epochs.
            steps = {tag: max(event.step for event in events.Tensors(tag)) for tag in events.Tags()["tensors"]}
        layers = [step for tag, step in steps.items() if tag.startswith("sparsity/")]
        return {"curves": steps.get("epoch_loss", 0), "layers": min(layers, default=0)}

    @cached_property
    def _writers(self) -> dict[str, Any]:
        return {
            # An epoch's values are queued and flushed together, so that an epoch is written completely or not at all.
            part: tf.summary.create_file_writer(str(self.folder / part), max_queue=100_000)
            for part in ("train", "validation")
        }

    def _flush(self) -> None:
        for writer in self._writers.values():
            writer.flush()


class Probe:
    """Computes the activations of a model's layers on some pictures, in inference mode."""

    def __init__(self, model: keras.Model) -> None:
        layers = every_layer(model)
        self.size = max(1, VALUES // sum(math.prod(output.shape[1:]) for output in layers.outputs))
        any_batch = [tf.TensorSpec(model.input_shape, tf.float32)]  # so that the function is traced once
        self.forward = tf.function(lambda rows: layers(rows, training=False)[1], input_signature=any_batch)

    def sample(self, val: Inputs) -> dict[str, tuple[np.ndarray, float]]:
        """Activations by layer for pictures spread over `val`: some values (pictures, places), and the share of zeros.

        The places of a layer are the same in every picture.
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
    """The same layers in a model from rows to the model's output and a dictionary of the outputs of all layers.

    Layers of a nested model count as the model's own; where two share a name, the nested model's name is put before it.
    """
    outputs: dict[str, Any] = {}

    def call(layer: Any, *arguments: Any, **keywords: Any) -> Any:
        if isinstance(layer, keras.Model) and not isinstance(layer, keras.Sequential):
            output, inside = every_layer(layer)(*arguments, **keywords)
            outputs.update({f"{layer.name}/{name}": value for name, value in inside.items()})
        else:
            output = layer(*arguments, **keywords)
            if isinstance(layer, keras.layers.Layer) and not isinstance(layer, PASS_THROUGH):
                outputs[layer.name] = output
        return output

    # Not the model itself: Keras would copy the optimizer of a compiled one.
    plain = keras.Model(model.input, model.output, name=model.name)
    again = keras.models.clone_model(plain, clone_function=lambda layer: layer, call_function=call)
    shared = Counter(name.rsplit("/", 1)[-1] for name in outputs)
    last = {name: name.rsplit("/", 1)[-1] for name in outputs}
    named = {last[name] if shared[last[name]] == 1 else name: value for name, value in outputs.items()}
    return keras.Model(again.input, [again.output, named], name=model.name)
