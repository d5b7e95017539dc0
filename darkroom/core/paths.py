"""All paths, relative to the project's root, where DVC runs the stages."""

import os
from pathlib import Path

PARAMS = Path("params.yaml")

INCOMING = Path("data/incoming")  # the user's own pictures
DECISIONS = Path("data/decisions.csv")  # what people decided on labels
UNLABELLED = "unlabelled"  # in the place of the part, in names of pictures for which the source has no label
RAW = Path("data/raw")
SPLIT = Path("data/split")
AUGMENTED = Path("data/augmented")
LEFT_OUT = ".left_out.csv"  # in AUGMENTED; hidden, so that it is not taken for a class
FEATURES = Path("data/features")
WEIGHTS = Path("data/weights")  # the user's own weights files and earlier models
MODELS = Path("models")
EXPORTS = Path("exports")
EXPORTED_CLASSES = EXPORTS / "classes.json"
MODEL_CARD = EXPORTS / "MODEL_CARD.md"

DATASET_REPORT = Path("reports/dataset.json")
DATASET_PLOTS = Path("reports/dataset")
GROUPS = Path("reports/groups.csv")
ISSUES = Path("reports/issues.csv")
SPLIT_REPORT = Path("reports/split.csv")
SPLIT_SUMMARY = Path("reports/split.json")
AUGMENT_FILES = Path("reports/augment.csv")
AUGMENT_REPORT = Path("reports/augment.json")
AUGMENT_SHEET = Path("reports/augment.jpg")
EXTRACT_REPORT = Path("reports/extract.json")
TRAIN_REPORT = Path("reports/train.json")
MODEL_SUMMARY = Path("reports/model.txt")
HISTORY = Path("reports/history.csv")
METRICS = Path("reports/metrics.json")
PER_CLASS = Path("reports/per_class.csv")
PREDICTIONS = Path("reports/predictions.csv")
LABEL_ISSUES = Path("reports/label_issues.csv")
LABEL_QUALITY = Path("reports/label_quality.csv")  # of all other pictures
ROC = Path("reports/roc.csv")
PRECISION_RECALL = Path("reports/precision_recall.csv")
RELIABILITY = Path("reports/reliability.csv")
PLOTS = Path("reports/plots")
REPORT = Path("reports/report.html")
EXPORT_REPORT = Path("reports/export.json")


def home() -> Path:
    """Return the main repository's root, where the cache and the default MLflow store are.

    DVC runs queued experiments in temporary copies below its `.dvc/tmp/exps`; they share both.
    """
    root = Path.cwd()
    return next((folder.parent for folder in root.parents if folder.name == ".dvc"), root)


def sqlite_address(path: Path) -> str:
    """Return SQLAlchemy's address of a database: relative where the path has characters that an address encodes.

    SQLAlchemy takes what follows a ? for options, and MLflow decodes %20, but neither encodes them.
    """
    odd = set("%?#") & set(str(path))
    return f"sqlite:///{os.path.relpath(path) if odd else path}"


def cache() -> Path:
    """Return the folder of work that outlasts a killed stage or a deleted output; keyed by content, ignored by git."""
    return home() / ".cache"


def logs() -> Path:
    """Return the folder of TensorBoard's event files."""
    return home() / "logs"
