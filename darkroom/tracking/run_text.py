"""What people see of a run in MLflow: its name, the tags that make columns, its description."""

import json
import os
from collections import Counter
from typing import Any

from darkroom.core import paths
from darkroom.core.files import read_csv
from darkroom.core.params import flat
from darkroom.pipeline import params, recipes

RECIPE = "DARKROOM_RECIPE"  # in the environment: the recipe that this run was begun from
NOTE = "mlflow.note.content"  # MLflow's tag for a description, in Markdown
SHOWN = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "log_loss": "log loss",
    "ece": "calibration error (ECE)",
}
CLASSES = 12  # that are named with their counts


def title() -> str:
    """The DVC experiment's name, or what is trained."""
    content = params.complete(params.load())
    fold = f", fold {content['split']['fold']}" if content["split"]["method"] == "kfold" else ""
    return os.environ.get("DVC_EXP_NAME") or trained(content) + fold


def trained(content: dict[str, Any]) -> str:
    """`VGG16 block5_pool + rbf_svm`, `VGG16 fine-tuned from block5`, `mini_vggnet from scratch`."""
    extract, train = content["extract"], content["train"]
    if train["mode"] == "scratch":
        return f"{train['network']} from scratch"
    if train["mode"] == "head":
        return f"{extract['backbone']} {'+'.join(extract['layers'])} + {train['head']['type']}"
    said = {"all": "fine-tuned whole", "none": "frozen, head on changing pictures"}
    first = train["fine_tune"]["unfreeze"]
    how = f"fine-tuned, last {first} layers" if isinstance(first, int) else said.get(first, f"fine-tuned from {first}")
    return f"{extract['backbone']} {how}"


def columns() -> dict[str, str]:
    """Tags that are worth a column in a table of runs."""
    content = params.complete(params.load())
    scratch = content["train"]["mode"] == "scratch"
    tags = {"backbone": "none" if scratch else content["extract"]["backbone"], "mode": content["train"]["mode"]}
    return tags | ({"recipe": name} if (name := recipe(content)) else {})


def recipe(content: dict[str, Any]) -> str:
    """The recipe whose settings these are; or the one that the run was started from, with what differs from it:
    `fashion_cnn with train.epochs=3`; or nothing.
    """
    started = os.environ.get(RECIPE)
    changes = {name: flat(recipes.deviations(name, content)) for name in recipes.names()}
    if same := [name for name, changed in changes.items() if not changed]:
        return ", ".join(same)
    if started not in changes:
        return ""
    return f"{started} with {' '.join(f'{key}={value}' for key, value in changes[started].items())}"


def note(figures: dict[str, Any] | None, tags: dict[str, str]) -> str:
    """A description in Markdown, from the files: what is trained, on what, how to get it back; figures where known.

    Args:
        figures: what reports/metrics.json holds, if it is of this model.
        tags: the run's, which say what it comes from.
    """
    return "\n\n".join([*([_figures(figures)] if figures else []), _made(), _data(), _back(tags)])


def _figures(figures: dict[str, Any]) -> str:
    rows = [
        f"| {said} | {figures[key]:.4f} | {figures[f'{key}_low']:.4f} to {figures[f'{key}_high']:.4f} |"
        for key, said in SHOWN.items()
    ]
    return "\n".join([f"| on {figures['n_test']:,} test pictures | | 95 % interval |", "| --- | --- | --- |", *rows])


def _made() -> str:
    content = params.complete(params.load())
    lines = [f"**Model**: {trained(content)}"]
    if name := recipe(content):
        lines.append(f"recipe {name}")
    return ", ".join(lines) + f", seed {content['base']['seed']}."


def _data() -> str:
    """Pictures of each class and part. New pictures of `augment` count as what they are, none of the set."""
    parts = Counter(row["split"] for row in read_csv(paths.SPLIT_REPORT))
    classes = json.loads(paths.DATASET_REPORT.read_text())["classes"]
    named = [f"{name} {count:,}" for name, count in list(classes.items())[:CLASSES]]
    if len(classes) > CLASSES:
        named.append(f"{len(classes) - CLASSES:,} more")
    shares = ", ".join(f"{parts[part]:,} {part}" for part in ("train", "val", "test"))
    source = params.complete(params.load())["download"]
    where = source["name"] if source["source"] == "tfds" else source["url"] or source["path"]
    return (
        f"**Data**: {sum(classes.values()):,} pictures of {len(classes):,} classes from {where} ({', '.join(named)}); "
        f"{shares}."
    )


def _back(tags: dict[str, str]) -> str:
    """Code by git, settings by the experiment or the run's own params.yaml, outputs by DVC's cache."""
    lines = [f"git checkout {tags['git_commit']}", "# copy params.yaml from this run's artifacts, then:", "dvc repro"]
    if experiment := tags.get("dvc_experiment"):
        lines[1:] = [f"dvc exp apply {experiment}  # without it: {lines[1][2:-7]}; dvc repro"]
    said = "**To get it back** (what DVC's cache or remote holds is not computed again):"
    return "\n".join([said, "", "```sh", *lines, "```"])
