"""What a sweep found: as a recipe, and as a table for people."""

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages import recipe
from stages.common import params
from stages.common.errors import StageError
from stages.common.files import sha256, whole_file
from stages.common.sweeps.study import Trials
from stages.common.tracking.described import RECIPES

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

WRITTEN = "recipe_sha256"  # in the study: the recipe that it wrote last
SHOWN = 5


def target(name: str, study: Trials, force: bool) -> Path:
    """Where the recipe goes.

    Raises:
        StageError: there is one already, and this sweep did not write it as it stands.
    """
    path = RECIPES / f"{name}.yaml"
    if path.exists() and not force and study.study.user_attrs.get(WRITTEN) != sha256(path):
        raise StageError(f"{path} was not written by this sweep: choose another name, or replace it by --force.")
    return path


def write(path: Path, content: dict[str, Any], study: Trials, pictures: int) -> None:
    """Write the best trial as a recipe, and remember which; its first line is what the list of recipes shows."""
    best, trials = study.complete()[0], len(study.counted())
    accuracy = best.user_attrs["figures"]["final_val_accuracy"]
    with whole_file(path) as partial, partial.open("w", encoding="utf-8") as stream:
        stream.write(
            f"# Head {best.params['type']}, the best of {trials} trials: log loss {best.value:.4f}, accuracy "
            f"{accuracy:.4f} on {pictures} validation pictures.\n"
            f"# From python -m stages.sweep {path.stem}. Validation chose it, which flatters it: report what its "
            "run says on test.\n"
            "# Data and features: as params.yaml had them; download.path is yours.\n\n"
        )
        recipe.yaml_form().dump(overlay(path, content, best.user_attrs["settings"]), stream)
    study.study.set_user_attr(WRITTEN, sha256(path))


def overlay(path: Path, content: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """What the recipe at `path` holds: each key that another one sets, as params.yaml has it, and a trial's settings.

    So the recipe is the same experiment whatever recipe ran before it, on the data and features of the sweep.
    """
    others = [params.load(other) for other in sorted(RECIPES.glob("*.yaml")) if other != path]
    wanted = functools.reduce(recipe.overlaid, others, {"train": change})
    full = {name: section.model_dump(mode="json", by_alias=True) for name, section in params.check(content).items()}
    return recipe.overlaid(_picked(full, wanted), {"train": change})


def _picked(content: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """The values of `content` at the keys of `wanted`."""
    return {
        key: _picked(content[key], inner)
        if isinstance(inner, dict) and isinstance(content[key], dict) and key != "classes"  # the user's names, not keys
        else content[key]
        for key, inner in ((key, wanted[key]) for key in content if key in wanted)
    }


def table(name: str, study: Trials, pictures: int) -> str:
    """The best trials, what mattered, and what to do next."""
    best = study.complete()
    kind = best[0].params["type"]
    shares = ", ".join(f"{key} {share:.0%}" for key, share in study.importance(kind).items() if share >= 0.01)
    return "\n".join(
        [
            f"\nThe best of {len(study.counted())} trials, on {pictures} validation pictures:",
            "trial  log loss  accuracy  seconds  head",
            *map(_row, best[:SHOWN]),
            *([f"Whether a {kind} head is among the best is decided by: {shares}"] if shares else []),
            "The pictures that chose the best of many flatter it; what it is worth on test: "
            f"make recipe NAME={name} (or python -m stages.recipe {name})",
        ]
    )


def _row(trial: "FrozenTrial") -> str:
    figures, seconds = trial.user_attrs["figures"], trial.user_attrs["seconds"]
    accuracy = figures["final_val_accuracy"]
    return f"{trial.number:>5}  {trial.value:>8.4f}  {accuracy:>8.4f}  {seconds:>7.1f}  {shown(trial.params)}"


def shown(drawn: dict[str, Any]) -> str:
    """A trial's settings in a line."""
    kind, *others = drawn.items()
    return ", ".join([kind[1], *(f"{name.partition('.')[2]} {_short(value)}" for name, value in others)])


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
