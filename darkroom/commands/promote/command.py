"""Make a registered model's candidate its champion, if it is not worse than the present one on one validation set.

    python -m darkroom promote animals

Both are loaded from MLflow's registry, as they would be served, and see this project's pictures of data/split/val. The
candidate becomes the champion if its log loss there is not higher, and its accuracy not lower by more than chance
(McNemar's test, p below 0.05): the log loss weighs every probability, and so tells more of few pictures than a count of
right answers does. Where there is no champion yet, the candidate becomes it. One that was trained on another split than
this is refused, since it may have learnt these pictures. The figures on test are shown and decide nothing.

Reads   data/split/val, MLflow
Writes  the alias `champion` in MLflow
"""

from typing import TYPE_CHECKING, Any

from darkroom.commands.compare import paired
from darkroom.commands.compare.paired import Interval, Paired
from darkroom.commands.promote.validation import validated
from darkroom.core.errors import UserError
from darkroom.core.paths import SPLIT
from darkroom.images.folders import listed
from darkroom.tracking import registry, runs
from darkroom.tracking.store import connect

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion


def main(name: str, anyway: bool) -> None:
    """Measure both, print, decide, and set the alias."""
    import mlflow

    connect()
    candidate, champion = (registry.version(name, alias) for alias in (registry.CANDIDATE, registry.CHAMPION))
    if candidate is None:
        raise UserError(f"{name} has no version with the alias {registry.CANDIDATE}: export registers one.")
    if champion and champion.version == candidate.version:
        print(f"promote: version {candidate.version} of {name} is both candidate and champion already")
        return
    try:
        refusal = judged(champion, candidate)
    except UserError as error:
        refusal = str(error).rstrip(".")
    if refusal and not anyway:
        raise UserError(f"{refusal}: nothing is changed; --anyway makes version {candidate.version} the champion.")
    if refusal:
        print(f"{refusal}. Promoted anyway.")
    mlflow.MlflowClient().set_registered_model_alias(name, registry.CHAMPION, candidate.version)
    print(f"promote: version {candidate.version} is the champion of {name}, models:/{name}@{registry.CHAMPION}")


def judged(champion: "ModelVersion | None", candidate: "ModelVersion") -> str | None:
    """Print what val and test say of the champion, if there is one, and the candidate; why the latter is to be refused.

    Raises:
        UserError: they cannot be measured, or not be compared.
    """
    rows = listed("val")
    if not rows:
        raise UserError(f"{SPLIT / 'val'} holds no pictures to compare on: give val a share in split.ratio.")
    sides = [
        validated(version, f"{alias:<9}  version {version.version:>2}", rows)
        for alias, version in ((registry.CHAMPION, champion), (registry.CANDIDATE, candidate))
        if version
    ]
    print(f"Validation, {len(rows):,} pictures of {SPLIT / 'val'}:")
    print("\n".join(side.validation() for side in sides))
    here, refusal, new = runs.origin().get(runs.SPLIT_MD5), None, sides[-1]
    if champion:
        old = sides[0]
        if here and old.split != here:
            print(f"  {old.title}  was trained on another split than this: it may have learnt some of these pictures")
        if set(old.classes) != set(new.classes):
            raise UserError(
                f"the champion knows the classes {', '.join(old.classes)}, the candidate {', '.join(new.classes)}."
            )
        pair, loss = Paired.of(old.right, new.right), paired.mean_difference(old.losses, new.losses)
        print(f"  candidate - champion   accuracy {pair.difference.text('+')}, McNemar's p = {pair.p:.2g}")
        print(f"                         log loss {loss.text('+')} (lower is better)")
        refusal = refused(pair, loss)
    if here and new.split != here:
        refusal = "the candidate was trained on another split than this, and may have learnt some of these pictures"
    print("Test, which decides nothing:")
    print("\n".join(side.test() for side in sides))
    if len({side.tested_on() for side in sides}) > 1:
        print("  The test sets differ, so that these figures cannot be compared.")
    return refusal


def refused(pair: Paired, loss: Interval) -> str | None:
    """Why the second model must not take the place of the first; None if it may."""
    if loss.value > 0:
        return f"the candidate's log loss on val is higher by {loss.value:.2g}"
    if pair.difference.value < 0 and pair.p < paired.SURE:
        return f"the candidate's accuracy on val is lower by {-pair.difference.value:.4f} (p = {pair.p:.2g})"
    return None


ARGUMENTS: dict[str, dict[str, Any]] = {
    "name": {"metavar": "NAME", "help": "of a model in MLflow's registry"},
    "--anyway": {"action": "store_true", "help": "promote the candidate even where it is worse"},
}
