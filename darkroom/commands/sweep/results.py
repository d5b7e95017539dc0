"""The result of a sweep: as a recipe, and as a table."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from darkroom.commands.sweep.study import Sweep
from darkroom.core.errors import UserError
from darkroom.core.files import whole_file
from darkroom.core.hashing import sha256
from darkroom.core.params import overlay
from darkroom.core.terminal import table as aligned
from darkroom.pipeline import recipes

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

RECIPE = "recipe_sha256"  # attribute of the study: the recipe that it wrote last
SHOWN = 5


def target(name: str, sweep: Sweep, force: bool) -> Path:
    """The path of the recipe.

    Raises:
        UserError: there is a file which this sweep did not write, or which was changed since.
    """
    path = recipes.RECIPES / f"{name}.yaml"
    if path.exists() and not force and sweep.study.user_attrs.get(RECIPE) != sha256(path):
        raise UserError(f"{path} was not written by this sweep: choose another name, or overwrite it with --force.")
    return path


def write(path: Path, content: dict[str, Any], sweep: Sweep, pictures: int) -> None:
    """Write the best trial as a recipe and remember its hash; its title is shown in the list of recipes."""
    best, trials = sweep.ranked()[0], len(sweep.counted())
    accuracy = best.user_attrs["figures"]["final_val_accuracy"]
    with whole_file(path) as partial, partial.open("w", encoding="utf-8") as stream:
        stream.write(
            f"{recipes.SCHEMA}\n"
            f"# Head {best.params['type']}, the best of {trials} trials: log loss {best.value:.4f}, accuracy "
            f"{accuracy:.4f} on {pictures} validation pictures.\n"
            f"# From python -m darkroom sweep {path.stem}. It was chosen on validation, which makes these figures "
            "optimistic: report its test figures.\n"
            "# Data and features: as in params.yaml at that time; download.path stays yours.\n\n"
        )
        recipes.dump(recipes.from_content(overlay(content, {"train": best.user_attrs["settings"]})), stream)
    sweep.study.set_user_attr(RECIPE, sha256(path))


def table(name: str, sweep: Sweep, pictures: int) -> str:
    """The best trials, which settings mattered, and the next step."""
    best = sweep.ranked()
    head_type = best[0].params["type"]
    shares = ", ".join(f"{key} {share:.0%}" for key, share in sweep.importance(head_type).items() if share >= 0.01)
    return "\n".join(
        [
            f"\nThe best of {len(sweep.counted())} trials, on {pictures} validation pictures:",
            aligned([("trial", "log loss", "accuracy", "seconds", "head"), *map(_row, best[:SHOWN])]),
            *([f"Settings that decide whether a {head_type} head is among the best: {shares}"] if shares else []),
            "These figures are optimistic, since the best of many was chosen by them. For its figures on test: "
            f"make recipe NAME={name} (or python -m darkroom recipe {name})",
        ]
    )


def _row(trial: "FrozenTrial") -> tuple[str, ...]:
    figures, seconds = trial.user_attrs["figures"], trial.user_attrs["seconds"]
    accuracy = figures["final_val_accuracy"]
    return (str(trial.number), f"{trial.value:.4f}", f"{accuracy:.4f}", f"{seconds:.1f}", line(trial.params))


def line(settings: dict[str, Any]) -> str:
    """The settings of a trial on one line."""
    (_, head_type), *others = settings.items()
    return ", ".join([head_type, *(f"{name.partition('.')[2]} {_short(value)}" for name, value in others)])


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
