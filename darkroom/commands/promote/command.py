"""Promote a registered model's candidate if it is not worse.

    python -m darkroom promote animals

The files of both versions are downloaded from MLflow's registry (the code among them is not run) and classify this
project's pictures in data/split/val. The candidate becomes the champion if its log loss there is not higher and its
accuracy not significantly lower (McNemar's test, p below 0.05). The log loss comes first because it uses every
probability, and so tells more on few pictures than counts of right answers. Without a champion the candidate becomes
it. A candidate that was trained on another split is refused, since it may have seen these pictures; one whose run has
no evaluation is always refused. Test metrics are shown for information only.

Reads   data/split/val, MLflow
Writes  the alias `champion` in MLflow
"""

from typing import TYPE_CHECKING, Any

from darkroom.commands.promote.validation import Validated, validate
from darkroom.core.errors import UserError
from darkroom.core.metric_table import Estimate
from darkroom.core.model_spec import SPEC, verified_sha256
from darkroom.core.paths import MODELS, SPLIT
from darkroom.evaluate.statistics import SIGNIFICANT, Paired, mean_difference
from darkroom.images.folders import listed
from darkroom.tracking import registry, tags
from darkroom.tracking.store import connect

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion


def main(name: str, anyway: bool) -> None:
    """Compare champion and candidate, and move the alias."""
    import mlflow

    if (MODELS / SPEC).exists():
        verified_sha256()  # a damaged project's pictures and figures are no base for the decision
    connect()
    candidate, champion = (registry.version_by_alias(name, alias) for alias in (registry.CANDIDATE, registry.CHAMPION))
    if candidate is None:
        raise UserError(f"{name} has no version with the alias {registry.CANDIDATE}: export registers one.")
    if champion and champion.version == candidate.version:
        print(f"promote: version {candidate.version} of {name} is both candidate and champion already")
        return
    if not registry.has_evaluation(registry.evaluation_run_of(registry.get_run(str(candidate.run_id)))):
        raise UserError(
            f"version {candidate.version} of {name} has no evaluation in MLflow, so nobody could tell how good it is: "
            "`dvc repro` and `python -m darkroom track`, where it was trained, add one."
        )
    try:
        objection = compare(champion, candidate)
    except UserError as error:
        objection = str(error).rstrip(".")
    if objection and not anyway:
        raise UserError(f"{objection}: nothing is changed; --anyway makes version {candidate.version} the champion.")
    if objection:
        print(f"{objection}. Promoted anyway.")
    mlflow.MlflowClient().set_registered_model_alias(name, registry.CHAMPION, candidate.version)
    print(f"promote: version {candidate.version} is the champion of {name}, models:/{name}@{registry.CHAMPION}")


def compare(champion: "ModelVersion | None", candidate: "ModelVersion") -> str | None:
    """Print the validation and test metrics of the champion, if there is one, and the candidate.

    Returns:
        The reason not to promote the candidate, if there is one.

    Raises:
        UserError: a version cannot be evaluated, or the two cannot be compared.
    """
    pictures = listed("val")
    if not pictures:
        raise UserError(f"{SPLIT / 'val'} holds no pictures to compare on: give val a share in split.ratio.")
    versions = {alias: version for alias, version in (("champion", champion), ("candidate", candidate)) if version}
    results = [
        validate(version, f"{alias:<9}  version {version.version:>2}", pictures) for alias, version in versions.items()
    ]
    print(f"Validation, {len(pictures):,} pictures of {SPLIT / 'val'}:")
    print("\n".join(result.validation() for result in results))
    split, new = tags.provenance().get(tags.SPLIT_MD5), results[-1]
    objection = against_champion(results[0], new, split) if champion else None
    if split and new.split != split:
        objection = "the candidate was trained on another split and may have seen some of these pictures"
    print("Test, for information only:")
    print("\n".join(result.test() for result in results))
    if len({result.test_set() for result in results}) > 1:
        print("  The test sets differ, so these metrics cannot be compared.")
    return objection


def against_champion(old: Validated, new: Validated, split: str | None) -> str | None:
    """Print how the candidate differs from the champion; return the reason not to promote it, if there is one.

    Raises:
        UserError: their classes differ.
    """
    if split and old.split != split:
        print(f"  {old.title}  was trained on another split and may have seen some of these pictures")
    if set(old.classes) != set(new.classes):
        raise UserError(
            f"the champion has the classes {', '.join(old.classes)}, the candidate {', '.join(new.classes)}."
        )
    pair, log_loss = Paired.of(old.right, new.right), mean_difference(old.log_losses, new.log_losses)
    print(f"  candidate - champion   accuracy {pair.difference.text('+.4f')}, McNemar's p = {pair.p:.2g}")
    print(f"                         log loss {log_loss.text('+.4f')} (lower is better)")
    return worse(pair, log_loss)


def worse(pair: Paired, log_loss: Estimate) -> str | None:
    """In what respect the second model is worse than the first, if it is.

    Args:
        pair: right answers of both models.
        log_loss: of the second model minus that of the first.
    """
    if log_loss.value > 0:
        return f"the candidate's log loss on val is higher by {log_loss.value:.2g}"
    if pair.difference.value < 0 and pair.p < SIGNIFICANT:
        return f"the candidate's accuracy on val is lower by {-pair.difference.value:.4f} (p = {pair.p:.2g})"
    return None


ARGUMENTS: dict[str, dict[str, Any]] = {
    "name": {"metavar": "NAME", "help": "name of a model in MLflow's registry"},
    "--anyway": {"action": "store_true", "help": "promote the candidate even if it is worse"},
}
