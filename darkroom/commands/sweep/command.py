"""Search for a better head on the features that `extract` wrote, and write the best one as a recipe.

Optuna chooses the settings of each trial from what earlier ones came to; the figure is the log loss on validation after
calibration. Trials of dense heads that lag behind are given up early. The test split is not read. A sweep that was
killed goes on when the same command runs again, and several may work on the same one at a time. Every trial is a run in
MLflow, below the run of the sweep.

Reads   data/features (train and val), reports/extract.json, params.yaml
Writes  recipes/NAME.yaml; beside it, git-ignored: the trials in .cache/training
"""

import logging
import re
import time
from typing import Any

from darkroom.commands.sweep import results, search, study
from darkroom.commands.sweep.runs import Record
from darkroom.commands.sweep.trial import Data, outcome
from darkroom.core import runtime
from darkroom.core.errors import UserError
from darkroom.core.hashing import code_digest
from darkroom.core.model_spec import BackboneSpec
from darkroom.core.params import overlay
from darkroom.core.paths import EXTRACT_REPORT, FEATURES
from darkroom.extract.params import Params as Extract
from darkroom.models.inputs import Features
from darkroom.pipeline import params
from darkroom.tracking import store

MADE_BY = ("name", "backbone", "weights", "image_size", "layers", "pooling")  # settings of extract


def main(name: str, trials: int, minutes: float | None, seed: int | None, heads: str, force: bool) -> None:
    """Check everything, go on with the trials that there are, and write the best one's recipe."""
    ends = time.monotonic() + 60 * minutes if minutes is not None else float("inf")
    kinds = checked(name, trials, heads)
    content = params.load()
    sections = params.check(content)
    extracted = features(sections.extract)
    experiment = store.connect()
    runtime.prepare(sections.base.seed)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # else it warns that every trial compiles a model anew
    from darkroom.train import checkpoints

    rows, val = (Features(FEATURES, part, extracted.layers) for part in ("train", "val"))
    data = Data(rows, val, sorted(set(rows.labels)), sections.base.seed)
    known: dict[str, Any] = {"name": name, "heads": kinds, "seed": data.seed if seed is None else seed}
    inputs = [EXTRACT_REPORT, *FEATURES.glob("train.*"), *FEATURES.glob("val.*")]
    folder = checkpoints.folder(
        {"sweep": known, "code": code_digest("commands/sweep"), "base": data.seed, **search.left(sections.train)},
        inputs,
    )
    found = study.Trials(folder, kinds, known["seed"])
    target = results.target(name, found, force)
    record = Record(experiment, name, found, {f"sweep.{key}": value for key, value in known.items()})
    try:
        with runtime.placed(sections.train.strategy, sections.train.device):
            work(found, record, data, content, trials, ends)
    except KeyboardInterrupt:
        done = len(found.complete()) + len(found.pruned())
        print(f"\nsweep: stopped after {done} trials, which are kept. The same command goes on with them;", end=" ")
        print(f"with --trials {done} it writes the recipe of the best so far.", flush=True)
        record.close("KILLED")
        raise
    if not found.complete():
        record.close("FAILED")
        raise UserError("no trial came to a figure: see the lines above, and give it more trials.")
    results.write(target, content, found, len(val))
    record.close("FINISHED", target)
    print(results.table(name, found, len(val)))


def checked(name: str, trials: int, heads: str) -> list[str]:
    """The types of heads that are wanted, in the order in which they are tried first.

    Raises:
        UserError: one sentence on what is wrong with the name, the number of trials, or the types.
    """
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise UserError(f"{name!r} cannot be a recipe's name: take letters, digits, dots, - and _.")
    if trials < 1:
        raise UserError(f"--trials is {trials}: take 1 or more.")
    wanted = heads.split(",")
    unknown = [kind for kind in wanted if kind not in search.USUAL]
    if unknown:
        raise UserError(f"--heads knows {', '.join(search.USUAL)}, but not {', '.join(map(repr, unknown))}.")
    return [kind for kind in search.USUAL if kind in wanted]


def features(settings: Extract) -> BackboneSpec:
    """What `extract` said of the features that there are.

    Raises:
        UserError: there are none, or they were made by other settings than those in params.yaml.
    """
    if settings.backbone is None:
        raise UserError("a sweep needs features, but extract.backbone is null: name a network there.")
    if not EXTRACT_REPORT.exists():
        raise UserError("there are no features yet: run `dvc repro extract`.")
    extracted = BackboneSpec.model_validate_json(EXTRACT_REPORT.read_bytes())
    made_by = extracted.model_dump(mode="json", by_alias=True, include=set(MADE_BY))
    if made_by != settings.model_dump(mode="json", include=set(MADE_BY)):
        raise UserError("data/features was made by other settings of extract: run `dvc repro extract`.")
    return extracted


def work(found: study.Trials, record: Record, data: Data, content: dict[str, Any], total: int, ends: float) -> None:
    """Try heads until there are so many trials, or it is late; a line for each."""
    while time.monotonic() < ends and (begun := found.begin(total)):
        trial, change = begun
        started = time.monotonic()
        value, known = outcome(trial, overlay(content, {"train": change}), data)
        known |= {"settings": change, "seconds": time.monotonic() - started}
        with found.ending(trial, value, known) as ended:
            record.add(ended)
        said = f"given up after epoch {len(known['curve']['loss'])}" if known["curve"] else ""
        if value is not None:
            said = f"log loss {value:.4f}, accuracy {known['figures']['final_val_accuracy']:.4f}"
        said = known.get("error", said)
        of = f"trial {ended.number}, {len(found.counted())} of {total}"
        print(f"{of}: {results.shown(ended.params)}: {said} ({known['seconds']:.1f} s)", flush=True)


ARGUMENTS: dict[str, dict[str, Any]] = {
    "name": {"metavar": "NAME", "help": "of the sweep, and of the recipe"},
    "--trials": {"type": int, "default": 50, "metavar": "N", "help": "in all, with those of earlier calls (50)"},
    "--minutes": {"type": float, "metavar": "M", "help": "no trial begins after so long"},
    "--seed": {"type": int, "metavar": "N", "help": "of what is tried; without it, base.seed"},
    "--heads": {
        "default": ",".join(search.USUAL),
        "metavar": "TYPES",
        "help": f"some of {','.join(search.USUAL)} (all)",
    },
    "--force": {"action": "store_true", "help": "replace a recipe that this sweep did not write"},
}
