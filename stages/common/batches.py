"""Batches for training and validation: a function of the seed, the epoch and the batch's number, nothing else."""

from collections.abc import Sequence

import keras
import numpy as np

from stages.common import seeds
from stages.common.inputs import Inputs, Pictures
from stages.common.transforms import Transforms, change

VAL_BATCH = 256
UNCHANGED = Transforms()


class Batches(keras.utils.PyDataset):
    """Rows and one-hot classes, read from disk as they come; with class weights also a weight for each row."""

    def __init__(
        self,
        inputs: Inputs,
        classes: Sequence[str],
        size: int,
        seed: int | None = None,
        class_weights: np.ndarray | None = None,
    ) -> None:
        """With a seed each epoch has an order of its own; without one, rows come in theirs."""
        super().__init__()
        self.inputs, self.size, self.seed, self.class_weights = inputs, size, seed, class_weights
        self.one_hot = np.eye(len(classes), dtype=np.float32)[inputs.numbers(classes)]
        self.order = np.arange(len(inputs))
        self.start(0)

    def __len__(self) -> int:
        return -(-len(self.inputs) // self.size)

    def __getitem__(self, number: int) -> tuple[np.ndarray, ...]:
        """Rows (batch, …), one-hot classes (batch, classes), and with class weights (batch,)."""
        chosen = np.sort(self.order[number * self.size : (number + 1) * self.size])
        rows, classes = self.prepared(chosen, number)
        weights = () if self.class_weights is None else (classes @ self.class_weights,)
        return (rows, classes, *weights)

    def prepared(self, chosen: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
        """What the chosen rows of batch `number` are trained on."""
        return self.inputs.rows(chosen), self.one_hot[chosen]

    def start(self, epoch: int) -> None:
        """Draw the order of an epoch, counted from 0; Keras' own hooks come once more than there are epochs."""
        self.epoch = epoch
        if self.seed is not None:
            self.order = seeds.stream(self.seed, "shuffle", self.epoch).permutation(len(self.inputs))


class ChangedPictures(Batches):
    """Pictures that are changed anew each epoch, and mixed with one another."""

    def __init__(
        self,
        pictures: Pictures,
        classes: Sequence[str],
        size: int,
        seed: int,
        class_weights: np.ndarray | None = None,
        transforms: Transforms = UNCHANGED,
        mixup: float = 0,
        cutmix: float = 0,
    ) -> None:
        super().__init__(pictures, classes, size, seed, class_weights)
        self.pictures, self.changes_seed, self.transforms = pictures, seed, transforms
        self.mixers = [
            kind(value) for kind, value in ((keras.layers.MixUp, mixup), (keras.layers.CutMix, cutmix)) if value
        ]

    def prepared(self, chosen: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Changed pictures and their mixed classes."""
        images, labels = super().prepared(chosen, number)
        if self.transforms != UNCHANGED:
            names = [(self.pictures.digests[row], self.epoch) for row in chosen]
            images = change(images, self.transforms, seeds.derive(self.changes_seed, "online"), names).astype(
                np.float32
            )
        if self.mixers:
            draw = seeds.derive(self.changes_seed, "mix", self.epoch, number)
            mixer = self.mixers[draw % len(self.mixers)]  # with both, every other batch or so
            how = mixer.get_random_transformation(images, seed=keras.random.SeedGenerator(draw))
            images = keras.ops.convert_to_numpy(mixer.transform_images(images, how))
            labels = keras.ops.convert_to_numpy(mixer.transform_labels(labels, how))
        return images, labels
