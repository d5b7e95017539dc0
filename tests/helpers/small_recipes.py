"""Recipes on few pictures, with settings that make them short."""

import csv
import shutil
from collections.abc import Sequence
from pathlib import Path

from darkroom.images.decode import decode

# Only VGG16's weights are within reach everywhere.
SETTINGS = {
    "animals_minivgg": ["augment.target=40", "train.epochs=2", "train.warmup_epochs=0"],
    "animals_scratch": ["train.epochs=2", "train.warmup_epochs=1", "train.scratch.filters=8"],
    "animals_vgg16_features": ["extract.image_size=[64, 64]"],
    "animals_vgg16_finetune": ["extract.image_size=[64, 64]", "train.epochs=2", "train.fine_tune.epochs=1"],
    "fashion_best": [
        *("download.limit_per_class=100", "train.epochs=2", "train.warmup_epochs=1", "train.scratch.filters=8")
    ],
    "fashion_cnn": ["download.limit_per_class=100", "train.epochs=2"],
    "flowers_vgg16_features": ["extract.image_size=[64, 64]"],
    "flowers_vgg16_finetune": [
        *("augment.target=60", "extract.image_size=[64, 64]", "train.epochs=2", "train.fine_tune.epochs=1")
    ],
    "mnist_best": ["train.epochs=2", "train.scratch.filters=8"],
    "flowers_mobilenetv2": ["extract.weights=random", "extract.image_size=[64, 64]", "train.epochs=2"],
    "horses_inceptionv3": ["extract.weights=random", "extract.image_size=[96, 96]", "train.fine_tune.epochs=1"],
    "mnist_cnn": ["split.fixed=[100, 1]", "train.steps=4", "train.validate_every=2"],
}


def fill(incoming: Path, name: str, pictures: Sequence[Path]) -> None:
    """Put the pictures into an empty data/incoming as a recipe takes them: class folders, or MNIST's CSV files."""
    if name.startswith("mnist"):
        mixed = sorted(pictures, key=lambda path: path.name)  # the number of its row
        rows = [[path.parent.name, *decode(path)[..., 0].ravel()] for path in mixed]
        for file, chosen in (("mnist_train.csv", rows[::2] + rows[1::4]), ("mnist_test.csv", rows[3::4])):
            with (incoming / file).open("w", newline="") as stream:
                csv.writer(stream).writerows(chosen)
        return
    labels = ["Bag", "Coat"] if name == "horses_inceptionv3" else ["Bag", "Coat", "Sandal"]
    for path in pictures:
        if path.parent.name in labels:
            (incoming / path.parent.name).mkdir(exist_ok=True)
            shutil.copy(path, incoming / path.parent.name)
