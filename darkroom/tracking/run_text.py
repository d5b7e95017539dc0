"""The text of a run in MLflow: its name, the tags shown as columns, its description."""

import contextlib
import os
import shlex
from collections import Counter
from typing import Any

from darkroom.core import reports
from darkroom.core.errors import UserError
from darkroom.core.markdown import escaped
from darkroom.core.metric_table import METRICS, Estimate
from darkroom.core.params import flat
from darkroom.pipeline import params, recipes

RECIPE = "DARKROOM_RECIPE"  # environment variable: the recipe that the run was started from
NOTE = "mlflow.note.content"  # MLflow's tag for a description, in Markdown
CLASSES = 12  # named with their counts
NAME = 200  # characters of a name: MLflow cuts what is longer than 8,000 in all


def title() -> str:
    """The run's name: that of the DVC experiment, or of what is trained."""
    content = params.complete(params.load())
    fold = f", fold {content['split']['fold']}" if content["split"]["method"] == "kfold" else ""
    return os.environ.get("DVC_EXP_NAME") or model_name(content) + fold


def model_name(content: dict[str, Any]) -> str:
    """What is trained: `VGG16 block5_pool + rbf_svm`, `VGG16 fine-tuned from block5`, `mini_vggnet from scratch`."""
    extract, train = content["extract"], content["train"]
    if train["mode"] == "scratch":
        return f"{train['network']} from scratch"
    if train["mode"] == "head":
        return f"{extract['backbone']} {'+'.join(extract['layers'])} + {train['head']['type']}"
    match train["fine_tune"]["unfreeze"]:
        case int(count):
            tuning = f"fine-tuned, last {count} layers"
        case "all":
            tuning = "fine-tuned entirely"
        case "none":
            tuning = "frozen, head on augmented pictures"
        case layer:
            tuning = f"fine-tuned from {layer}"
    return f"{extract['backbone']} {tuning}"


def columns() -> dict[str, str]:
    """Tags that are worth a column in a table of runs."""
    content = params.complete(params.load())
    scratch = content["train"]["mode"] == "scratch"
    tags = {"backbone": "none" if scratch else content["extract"]["backbone"], "mode": content["train"]["mode"]}
    return tags | ({"recipe": name} if (name := recipe(content)) else {})


def recipe(content: dict[str, Any]) -> str:
    """The recipe with these settings, or the one the run was started from with its changes.

    Args:
        content: all params, defaults included.

    Returns:
        Such as `fashion_cnn` or `fashion_cnn with train.epochs=3`; empty if there is neither.
    """
    changes = {}
    for name in recipes.names():
        with contextlib.suppress(UserError):  # a recipe that is not valid must not stop a training
            changes[name] = flat(recipes.deviations(name, content))
    if matches := [name for name, changed in changes.items() if not changed]:
        return ", ".join(matches)
    started = os.environ.get(RECIPE)
    if started not in changes:
        return ""
    return f"{started} with {' '.join(f'{key}={value}' for key, value in changes[started].items())}"


def note(metrics: dict[str, Any] | None, tags: dict[str, str]) -> str:
    """A description in Markdown, from the files: test metrics, model, data, how to reproduce it.

    Args:
        metrics: what reports/metrics.json holds, if it belongs to this model.
        tags: the run's, which record its origin.
    """
    return "\n\n".join([*([_metrics(metrics)] if metrics else []), _model(), _data(), _reproduction(tags)])


def _metrics(metrics: dict[str, Any]) -> str:
    estimates = [(metric.label, Estimate.of(metrics, metric.key)) for metric in METRICS if metric.headline]
    rows = [f"| {label} | {estimate.value:.4f} | {estimate.interval()} |" for label, estimate in estimates]
    return "\n".join([f"| on {metrics['n_test']:,} test pictures | | 95 % interval |", "| --- | --- | --- |", *rows])


def _model() -> str:
    content = params.complete(params.load())
    parts = [f"**Model**: {escaped(model_name(content), NAME)}"]
    if name := recipe(content):
        parts.append(f"recipe {escaped(name, NAME)}")
    return ", ".join(parts) + f", seed {content['base']['seed']}."


def _data() -> str:
    """The pictures of each class and part; new pictures of `augment` do not count."""
    parts = Counter(row["split"] for row in reports.split())
    classes = reports.dataset()["classes"]
    counts = [f"{escaped(name, NAME)} {count:,}" for name, count in list(classes.items())[:CLASSES]]
    if len(classes) > CLASSES:
        counts.append(f"{len(classes) - CLASSES:,} more")
    splits = ", ".join(f"{parts[part]:,} {part}" for part in ("train", "val", "test"))
    download = params.complete(params.load())["download"]
    source = download["name"] if download["source"] == "tfds" else download["url"] or download["path"]
    return (
        f"**Data**: {sum(classes.values()):,} pictures of {len(classes):,} classes from {escaped(source, NAME)} "
        f"({', '.join(counts)}); {splits}."
    )


def _reproduction(tags: dict[str, str]) -> str:
    """Commands: code from git, settings from the DVC experiment or the run's own params.yaml, outputs from DVC."""
    commands = [f"git checkout {commit}"] if (commit := tags["git_commit"]) != "none" else []
    params_hint = "copy params.yaml from this run's artifacts"
    if experiment := tags.get("dvc_experiment"):
        quoted = shlex.quote(" ".join(experiment.replace("`", "?").split()))  # else it could end the block
        commands.append(f"dvc exp apply {quoted}  # without it: {params_hint}; dvc repro")
    else:
        commands += [f"# {params_hint}, then:", "dvc repro"]
    heading = "**To reproduce it** (nothing that DVC's cache or remote holds is computed again):"
    return "\n".join([heading, "", "```sh", *commands, "```"])
