"""What reduced precision costs: features in mixed_bfloat16 against float32, and the accuracy of a head on both.

    python -m benchmarks.reduced FOLDER [--backbone VGG16] [--layer block5_pool] [--size 224] [--count 1000]

FOLDER has a folder of pictures for each class. The difference is the norm of that of a picture's averaged features,
relative to the norm of those in float32. Accuracy is that of logistic regression on features of length 1, by
cross-validation in five folds, the same for both. Rounds would repeat the same figures, so there are none.
"""

import argparse
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer

from benchmarks import rounds
from darkroom.backbones import keras_apps, weights
from darkroom.core import precision, runtime
from darkroom.extract.forward import features
from darkroom.images.folders import labelled
from darkroom.tracking.store import download

POLICIES = (precision.EXACT, "mixed_bfloat16")


def extracted(arguments: argparse.Namespace, paths: list[Path], policy: str) -> np.ndarray:
    """Averaged features (pictures, n) as float64."""
    size = (arguments.size, arguments.size)
    network = keras_apps.network(arguments.backbone, size, policy)
    weights.load(network, arguments.backbone, "imagenet", download)
    model = keras_apps.feature_extractor(network, arguments.backbone, size, [arguments.layer], "avg")
    batches = features(model, paths, size, policy)
    return np.concatenate([batch[arguments.layer] for batch in batches]).astype(np.float64)


def main() -> None:
    """Print a row of a Markdown table for each precision."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--backbone", default="VGG16")
    parser.add_argument("--layer", default="block5_pool")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    runtime.prepare(42)
    pictures = rounds.spread(labelled(arguments.folder), arguments.count)
    labels = np.array([picture.label for picture in pictures])
    values = {policy: extracted(arguments, [picture.path for picture in pictures], policy) for policy in POLICIES}
    exact = values[precision.EXACT]
    result: dict[str, dict[str, float]] = {}
    rounds.header("features in", "difference, median", "most", "right, of all", "accuracy")
    for policy, rows in values.items():
        difference = np.linalg.norm(rows - exact, axis=1) / np.linalg.norm(exact, axis=1)
        head = make_pipeline(Normalizer(), LogisticRegression(C=30, max_iter=1000))
        folds = StratifiedKFold(5, shuffle=True, random_state=42)
        right = int((cross_val_predict(head, rows, labels, cv=folds) == labels).sum())
        median, most = float(np.median(difference)), float(difference.max())
        accuracy = right / len(labels)
        result[policy] = {"median": median, "most": most, "accuracy": accuracy}
        rounds.row(policy, f"{median:.4f}", f"{most:.4f}", f"{right:,} of {len(labels):,}", f"{accuracy:.4f}")
    rounds.save(arguments.json, result)


if __name__ == "__main__":
    main()
