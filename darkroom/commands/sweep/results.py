"""What a sweep found: as a recipe, and as a table for people."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from darkroom.commands.sweep.study import Trials
from darkroom.core.errors import UserError
from darkroom.core.files import whole_file
from darkroom.core.hashing import sha256
from darkroom.core.params import overlay
from darkroom.pipeline import recipes

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

WRITTEN = "recipe_sha256"  # in the study: the recipe that it wrote last
SHOWN = 5


def target(name: str, study: Trials, force: bool) -> Path:
    """Where the recipe goes.

    Raises:
        UserError: there is one already, and this sweep did not write it as it stands.
    """
    path = recipes.RECIPES / f"{name}.yaml"
    if path.exists() and not force and study.study.user_attrs.get(WRITTEN) != sha256(path):
        raise UserError(f"{path} was not written by this sweep: choose another name, or replace it by --force.")
    return path


def write(path: Path, content: dict[str, Any], study: Trials, pictures: int) -> None:
    """Write the best trial as a recipe, and remember which; its first line is what the list of recipes shows."""
    best, trials = study.complete()[0], len(study.counted())
    accuracy = best.user_attrs["figures"]["final_val_accuracy"]
    with whole_file(path) as partial, partial.open("w", encoding="utf-8") as stream:
        stream.write(
            f"# Head {best.params['type']}, the best of {trials} trials: log loss {best.value:.4f}, accuracy "
            f"{accuracy:.4f} on {pictures} validation pictures.\n"
            f"# From python -m darkroom sweep {path.stem}. Validation chose it, which flatters it: report what its "
            "run says on test.\n"
            "# Data and features: as params.yaml had them; download.path stays yours.\n\n"
        )
        recipes.dump(recipes.of(overlay(content, {"train": best.user_attrs["settings"]})), stream)
    study.study.set_user_attr(WRITTEN, sha256(path))


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
            f"make recipe NAME={name} (or python -m darkroom recipe {name})",
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
