"""The pipeline with DVC's real graph and stages that take no time, for tests of DVC's part: `simplified(folder)`.

Each stage writes all its outputs, whose content is a function of its data dependencies and its params, as JSON, CSV or
text that the project's commands can read. Code is a dependency that changes no output, as after a mere rewording.
"""

import hashlib
import json
import random
import re
import shutil
import sys
from pathlib import Path

import yaml

CLASSES = ("Bag", "Coat", "Dress")
PARAMS = """\
base: {seed: 42}
download: {source: folder, path: data/incoming, unlabelled: data/unlabelled}
split: {method: ratio, folds: 5, fold: 1}
augment: {target: max}
extract: {layers: [block4_pool]}
train:
  head: {dropout: 0.5}
  learning_rate: 0.0003
evaluate: {mistakes: 24}
export: {check_pictures: 50}
tracking: {experiment: darkroom}
"""
METRICS = ("accuracy", "accuracy_low", "accuracy_high", "log_loss", "macro_f1", "ece", "brier", "kappa")
FILES = {  # in the folders that stages write
    "data/split": ["train/Bag/1.png"],
    "data/augmented": ["Bag/1.png"],
    "data/features": ["train.csv", "backbone.weights.h5"],
    "models": ["head.weights.h5", "model.json"],
    "exports": ["model.onnx", "MODEL_CARD.md"],
    "reports/dataset": ["classes.png"],
    "reports/plots": ["confusion.png", "curves.png", "mistakes.png"],
}


def simplified(folder: Path) -> Path:
    """Put such stages in the place of the real ones in a clone's dvc.yaml, and short params, which DVC reads often."""
    path = folder / "dvc.yaml"
    text, count = re.subn(r"cmd: python -m stages\.(\w+)", r"cmd: python -m tests.helpers.cheap \1", path.read_text())
    assert count == 7
    path.write_text(text)
    (folder / "params.yaml").write_text(PARAMS)
    return folder


def main(stage: str) -> None:
    """Write the outputs of a stage."""
    params = yaml.safe_load(Path("params.yaml").read_text())
    entry = yaml.safe_load(Path("dvc.yaml").read_text())["stages"][stage]
    deps = [re.sub(r"\$\{download\.(\w+)\}", lambda key: params["download"][key[1]], name) for name in entry["deps"]]
    seen = hashlib.sha256(json.dumps([params[name] for name in entry["params"]], sort_keys=True).encode())
    for name in deps:
        if not name.startswith(("stages/", "darkroom/")):
            for path in sorted([Path(name), *Path(name).rglob("[!.]*")]):
                seen.update(path.as_posix().encode() + (path.read_bytes() if path.is_file() else b""))
    for name in [*entry["outs"], *entry.get("metrics", [])]:
        write(Path(name), hashlib.sha256((seen.hexdigest() + name).encode()).hexdigest(), Path(deps[0]))


def write(target: Path, digest: str, source: Path) -> None:
    """Write one output; that of `download` in data/raw are its pictures."""
    name = target.as_posix()
    if name == "data/raw":
        shutil.copytree(source, target / "train", ignore=shutil.ignore_patterns(".*"))
    elif name in FILES:
        for file in FILES[name]:
            (target / file).parent.mkdir(parents=True, exist_ok=True)
            (target / file).write_text(f"{digest} {file}\n")
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content(name, random.Random(digest), source) or digest)


def content(name: str, numbers: random.Random, source: Path) -> str:
    """The text of an output that some command reads; of others, none."""
    if name == "reports/dataset.json":
        labels = {path.name: len(list(path.iterdir())) for path in sorted(source.iterdir()) if path.is_dir()}
        return json.dumps({"found": sum(labels.values()), "classes": labels, "digest": numbers.random()})
    if name == "reports/metrics.json":
        names = ("accuracy", "accuracy_low", "accuracy_high", "log_loss", "macro_f1", "ece", "brier", "kappa")
        return json.dumps(
            {"model_sha256": str(numbers.random())} | {name: round(numbers.random(), 8) for name in names}
        )
    if name == "reports/history.csv":
        rows = [(epoch, *(numbers.random() for _ in range(4))) for epoch in range(1, 4)]
        return csv("epoch,accuracy,loss,val_accuracy,val_loss", rows)
    if name == "reports/predictions.csv":
        rows = [(f"data/split/test/{n}.png", CLASSES[n % 3], numbers.choice(CLASSES), 0.5, 0.3) for n in range(40)]
        return csv("path,label,predicted,probability,label_probability", rows)
    headers = {
        "reports/per_class.csv": "class,f1",
        "reports/roc.csv": "class,false_positive_rate,true_positive_rate",
        "reports/precision_recall.csv": "class,recall,precision",
        "reports/reliability.csv": "temperature,confidence,accuracy",
    }
    if name in headers:
        columns = headers[name].count(",")
        return csv(headers[name], [(label, *(numbers.random() for _ in range(columns))) for label in CLASSES])
    return ""


def csv(header: str, rows: list[tuple]) -> str:
    """A CSV file's text."""
    return "\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n"


if __name__ == "__main__":
    main(sys.argv[1])
