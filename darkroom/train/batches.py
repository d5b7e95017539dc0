"""Batches for training: a function of the seed and the step, nothing else, so that a training can go on at any step."""

import functools
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from darkroom.augment.transforms import Transforms, change
from darkroom.core import seeds
from darkroom.core.errors import UserError
from darkroom.core.files import natural_key
from darkroom.core.parallel import cores
from darkroom.models.inputs import Inputs, Pictures
from darkroom.train.params import Descent, Pixels

UNCHANGED = Transforms()


class Batches:
    """Rows and one-hot classes, read as they are asked for; with class weights also a weight for each row.

    Every pass over the rows has an order of its own, or that of the file names where `how.shuffle` is false. The batch
    of a pass that is left over is smaller, and left out where several devices share the work: they would weigh its
    rows otherwise.
    """

    def __init__(self, inputs: Inputs, classes: Sequence[str], how: Descent, seed: int) -> None:
        self.inputs, self.seed, self.shuffle = inputs, seed, how.shuffle
        numbers = inputs.numbers(classes)
        self.class_weights = how.weights_of(numbers, len(classes))
        self.one_hot = np.eye(len(classes), dtype=np.float32)[numbers]
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        self.size, self.even = how.batch_size * replicas, replicas > 1
        self.in_a_pass = len(inputs) // self.size if self.even else -(-len(inputs) // self.size)
        if not self.in_a_pass:
            raise UserError(
                f"train.batch_size {how.batch_size} on {replicas} devices is more than the {len(inputs)} training "
                "pictures: make it smaller."
            )
        self.order = functools.lru_cache(maxsize=2)(self._order)

    def __getitem__(self, step: int) -> tuple[np.ndarray, ...]:
        """Rows (batch, …), one-hot classes (batch, classes), and with class weights (batch,), of a step from 0 on."""
        turn, place = divmod(step, self.in_a_pass)
        chosen = self.order(turn)[place * self.size : (place + 1) * self.size]
        rows, classes = self.prepared(chosen, step)
        weights = () if self.class_weights is None else (classes @ self.class_weights,)
        return (rows, classes, *weights)

    def prepared(self, chosen: np.ndarray, step: int) -> tuple[np.ndarray, np.ndarray]:
        """What the chosen rows are trained on at a step."""
        return self.inputs.rows(chosen), self.one_hot[chosen]

    def stream(self, first: int) -> tf.data.Dataset:
        """All batches from step `first` on without end, made in parallel ahead of their use."""
        example = self[first]
        size = self.size if self.even else None

        def load(step: Any) -> Any:
            # Stateless, as TensorFlow calls it: else its determinism would forbid that two run at the same time.
            made = tf.numpy_function(
                lambda number: self[int(number)], [step], [array.dtype for array in example], stateful=False
            )
            for tensor, array in zip(made, example, strict=True):
                tensor.set_shape((size, *array.shape[1:]))
            return tuple(made)

        steps = tf.data.Dataset.range(first, np.iinfo(np.int64).max)
        return steps.map(load, num_parallel_calls=cores(), deterministic=True).prefetch(2)

    def _by_name(self, row: int) -> tuple[list[str | int], str]:
        path = self.inputs.paths[row]
        return natural_key(path.rsplit("/", 1)[1]), path

    def _order(self, turn: int) -> np.ndarray:
        if self.shuffle:
            return seeds.stream(self.seed, "shuffle", turn).permutation(len(self.inputs))
        return np.array(sorted(range(len(self.inputs)), key=self._by_name))


class ChangedPictures(Batches):
    """Pictures that are changed anew in each pass, and mixed with one another."""

    def __init__(self, pictures: Pictures, classes: Sequence[str], how: Descent, seed: int, changes: Pixels) -> None:
        super().__init__(pictures, classes, how, seed)
        self.pictures, self.transforms = pictures, changes.online.transforms()
        self.mixers = [
            kind(value)
            for kind, value in ((keras.layers.MixUp, changes.mixup), (keras.layers.CutMix, changes.cutmix))
            if value
        ]

    def prepared(self, chosen: np.ndarray, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Changed pictures and their mixed classes."""
        with tf.device("cpu:0"):  # in a thread of its own, where no other choice of a device would hold
            return self._changed(*super().prepared(chosen, step), chosen, step)

    def _changed(
        self, images: np.ndarray, labels: np.ndarray, chosen: np.ndarray, step: int
    ) -> tuple[np.ndarray, np.ndarray]:
        if self.transforms != UNCHANGED:
            turn = step // self.in_a_pass
            names = [(self.pictures.digests[row], turn) for row in chosen]
            images = change(images, self.transforms, seeds.derive(self.seed, "online"), names).astype(np.float32)
        if self.mixers:
            draw = seeds.derive(self.seed, "mix", step)
            mixer = self.mixers[draw % len(self.mixers)]  # with both, every other batch or so
            how = mixer.get_random_transformation(images, seed=keras.random.SeedGenerator(draw))
            images = keras.ops.convert_to_numpy(mixer.transform_images(images, how))
            labels = keras.ops.convert_to_numpy(mixer.transform_labels(labels, how))
        return images, labels
