"""Training batches as a function of the seed and the step alone, so that a training can resume at any step."""

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
from darkroom.train import teacher
from darkroom.train.params import Descent, Pixels

UNCHANGED = Transforms()


class Batches:
    """Rows and one-hot or soft labels, read on demand; with class weights also a weight for each row.

    Each pass over the rows has its own order, or without `shuffle` that of the file names. The last batch of a pass may
    be smaller; it is left out on several devices, which would weigh its rows differently.
    """

    def __init__(self, inputs: Inputs, classes: Sequence[str], descent: Descent, seed: int) -> None:
        self.inputs, self.seed, self.shuffle = inputs, seed, descent.shuffle
        numbers = inputs.numbers(classes)
        self.class_weights = descent.weights_of(numbers, len(classes))
        self.targets = np.eye(len(classes), dtype=np.float32)[numbers]
        if descent.teacher:
            self.targets = teacher.soft_labels(self.targets, inputs, classes, descent)
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        self.size, self.even = descent.batch_size * replicas, replicas > 1
        self.in_a_pass = len(inputs) // self.size if self.even else -(-len(inputs) // self.size)
        if not self.in_a_pass:
            raise UserError(
                f"train.batch_size {descent.batch_size} on {replicas} devices is more than the {len(inputs)} training "
                "pictures: make it smaller."
            )
        self.order = functools.lru_cache(maxsize=2)(self._order)

    def __getitem__(self, step: int) -> tuple[np.ndarray, ...]:
        """Return rows (batch, …), labels (batch, classes) and any weights (batch,) of a step, from 0 on."""
        number, place = divmod(step, self.in_a_pass)
        rows = self.order(number)[place * self.size : (place + 1) * self.size]
        data, classes = self.prepared(rows, step)
        weights = () if self.class_weights is None else (classes @ self.class_weights,)
        return (data, classes, *weights)

    def prepared(self, rows: np.ndarray, step: int) -> tuple[np.ndarray, np.ndarray]:
        """The data and the labels (batch, classes) of some rows at a step."""
        return self.inputs.stored(rows), self.targets[rows]

    def stream(self, first: int) -> tf.data.Dataset:
        """All batches from step `first` on, without end, loaded in parallel and ahead of their use."""
        example = self[first]
        size = self.size if self.even else None

        def load(step: Any) -> Any:
            # Declared stateless, since TensorFlow's determinism would forbid two stateful ones to run at a time.
            batch = tf.numpy_function(
                lambda number: self[int(number)], [step], [array.dtype for array in example], stateful=False
            )
            for tensor, array in zip(batch, example, strict=True):
                tensor.set_shape((size, *array.shape[1:]))
            return tf.cast(batch[0], tf.float32), *batch[1:]

        steps = tf.data.Dataset.range(first, np.iinfo(np.int64).max)
        return steps.map(load, num_parallel_calls=cores(), deterministic=True).prefetch(2)

    def _by_name(self, row: int) -> tuple[list[str | int], str]:
        path = self.inputs.paths[row]
        return natural_key(path.rsplit("/", 1)[1]), path

    def _order(self, number: int) -> np.ndarray:
        """The order of the rows in a pass."""
        if self.shuffle:
            return seeds.stream(self.seed, "shuffle", number).permutation(len(self.inputs))
        return np.array(sorted(range(len(self.inputs)), key=self._by_name))


class ChangedPictures(Batches):
    """Pictures that are transformed differently in each pass, and mixed with one another (mixup, cutmix)."""

    def __init__(
        self, pictures: Pictures, classes: Sequence[str], descent: Descent, seed: int, changes: Pixels
    ) -> None:
        super().__init__(pictures, classes, descent, seed)
        self.pictures, self.transforms = pictures, changes.online.transforms()
        self.mixers = [
            mixer(alpha)
            for mixer, alpha in ((keras.layers.MixUp, changes.mixup), (keras.layers.CutMix, changes.cutmix))
            if alpha
        ]

    def prepared(self, rows: np.ndarray, step: int) -> tuple[np.ndarray, np.ndarray]:
        """The changed pictures and their mixed classes."""
        with tf.device("cpu:0"):  # TensorFlow calls this in threads where no other choice of a device holds
            return self._changed(*super().prepared(rows, step), rows, step)

    def _changed(
        self, images: np.ndarray, labels: np.ndarray, rows: np.ndarray, step: int
    ) -> tuple[np.ndarray, np.ndarray]:
        if self.transforms != UNCHANGED:
            number = step // self.in_a_pass
            names = [(self.pictures.digests[row], number) for row in rows]
            images = change(images, self.transforms, seeds.derive(self.seed, "online"), names).astype(np.float32)
        if self.mixers:
            draw = seeds.derive(self.seed, "mix", step)
            mixer = self.mixers[draw % len(self.mixers)]  # of two, either is as likely
            mixing = mixer.get_random_transformation(images, seed=keras.random.SeedGenerator(draw))
            images = keras.ops.convert_to_numpy(mixer.transform_images(images, mixing))
            labels = keras.ops.convert_to_numpy(mixer.transform_labels(labels, mixing))
        return images, labels
