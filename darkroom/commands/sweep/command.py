"""Search for a better head, and write the best one as a recipe.

Optuna chooses the settings of each trial from the results of earlier ones, by the calibrated log loss on validation.
Dense heads that lag behind are pruned early. The test split is not read. The same command resumes a sweep that was
stopped or killed, and several processes may work on one sweep. Every trial is a run in MLflow, below the sweep's run.

Reads   data/features (train and val), reports/extract.json, params.yaml
Writes  recipes/NAME.yaml; outside git, the trials in .cache/training
"""

import logging
import re
import time
from typing import Any

from darkroom.commands.sweep import results, search, study
from darkroom.commands.sweep.runs import Recorder
from darkroom.commands.sweep.trial import Data, evaluate
from darkroom.core import runtime
from darkroom.core.errors import UserError
from darkroom.core.hashing import code_digest
from darkroom.core.model_spec import SPEC, BackboneSpec, verified_sha256
from darkroom.core.params import overlay
from darkroom.core.paths import EXTRACT_REPORT, FEATURES, MODELS
from darkroom.extract.params import Params as Extract
from darkroom.models.inputs import Features
from darkroom.pipeline import params
from darkroom.tracking import store


def main(name: str, trials: int, minutes: float | None, seed: int | None, heads: str, force: bool) -> None:
    """Check everything, run the trials that are missing, and write the best one's recipe."""
    deadline = time.monotonic() + 60 * minutes if minutes is not None else float("inf")
    head_types = checked(name, trials, heads)
    content = params.load()
    sections = params.check(content)
    if (MODELS / SPEC).exists():
        verified_sha256()  # a damaged project is not searched for something better
    spec = extracted(sections.extract)
    experiment = store.connect()
    runtime.prepare(sections.base.seed)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns about every new model of a trial
    from darkroom.train import checkpoints

    train, val = (Features(FEATURES, part, spec.layers) for part in ("train", "val"))
    data = Data(train, val, sorted(set(train.labels)), sections.base.seed)
    settings: dict[str, Any] = {"name": name, "heads": head_types, "seed": data.seed if seed is None else seed}
    folder = checkpoints.folder(
        {
            "sweep": settings,
            "code": code_digest("commands/sweep"),
            "base": data.seed,
            **search.fixed(sections.train),
        },
        [EXTRACT_REPORT, *FEATURES.glob("train.*"), *FEATURES.glob("val.*")],
    )
    sweep = study.Sweep(folder, head_types, settings["seed"])
    target = results.target(name, sweep, force)
    recorder = Recorder(experiment, name, sweep, {f"sweep.{key}": value for key, value in settings.items()})
    try:
        with runtime.device_scope(sections.train.strategy, sections.train.device):
            run_trials(sweep, recorder, data, content, trials, deadline)
    except KeyboardInterrupt:
        done = len(sweep.ranked()) + len(sweep.pruned())
        print(
            f"\nsweep: stopped after {done} trials, which are kept. The same command resumes the sweep; with "
            f"--trials {done} it writes the recipe of the best so far.",
            flush=True,
        )
        recorder.close("KILLED")
        raise
    if not sweep.ranked():
        recorder.close("FAILED")
        raise UserError("no trial succeeded: see the lines above, or run more trials.")
    results.write(target, content, sweep, len(val))
    recorder.close("FINISHED", target)
    print(results.table(name, sweep, len(val)))


def checked(name: str, trials: int, heads: str) -> list[str]:
    """The requested types of heads, in the order in which they are tried first.

    Raises:
        UserError: the name, the number of trials, or a type is not valid.
    """
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise UserError(f"{name!r} is not a valid name for a recipe: use letters, digits, dots, - and _.")
    if trials < 1:
        raise UserError(f"--trials is {trials}, but must be 1 or more.")
    requested = heads.split(",")
    unknown = [head_type for head_type in requested if head_type not in search.TYPES]
    if unknown:
        raise UserError(f"--heads has {', '.join(map(repr, unknown))}, but may have only {', '.join(search.TYPES)}.")
    return [head_type for head_type in search.TYPES if head_type in requested]


def extracted(settings: Extract) -> BackboneSpec:
    """How the features in data/features were extracted.

    Raises:
        UserError: there are none, or they were extracted with other settings than those in params.yaml.
    """
    if settings.backbone is None:
        raise UserError("a sweep needs features, but extract.backbone is null: set it to a network.")
    spec = BackboneSpec.load(EXTRACT_REPORT)
    actual = spec.model_dump(mode="json", by_alias=True)
    expected = settings.model_dump(mode="json", exclude={"precision"})  # "auto" depends on the machine
    if any(actual[key] != value for key, value in expected.items()):
        raise UserError("data/features was extracted with other settings of extract: run `dvc repro extract`.")
    return spec


def run_trials(
    sweep: study.Sweep, recorder: Recorder, data: Data, content: dict[str, Any], total: int, deadline: float
) -> None:
    """Run trials until there are `total` or the deadline has passed, and print a line for each."""
    while time.monotonic() < deadline and (new := sweep.start(total)):
        trial, change = new
        started = time.monotonic()
        value, attributes = evaluate(trial, overlay(content, {"train": change}), data)
        seconds = time.monotonic() - started
        with sweep.finishing(trial, value, attributes | {"settings": change, "seconds": seconds}) as finished:
            recorder.add(finished)
        result = f"pruned after epoch {len(attributes['curve']['loss'])}" if attributes["curve"] else ""
        if value is not None:
            result = f"log loss {value:.4f}, accuracy {attributes['figures']['final_val_accuracy']:.4f}"
        result = attributes.get("error", result)
        count = f"trial {finished.number}, {len(sweep.counted())} of {total}"
        print(f"{count}: {results.line(finished.params)}: {result} ({seconds:.1f} s)", flush=True)


ARGUMENTS: dict[str, dict[str, Any]] = {
    "name": {"metavar": "NAME", "help": "of the sweep and of its recipe"},
    "--trials": {"type": int, "default": 50, "metavar": "N", "help": "in total, earlier calls included (50)"},
    "--minutes": {"type": float, "metavar": "M", "help": "after which no new trial starts"},
    "--seed": {"type": int, "metavar": "N", "help": "of the search (base.seed)"},
    "--heads": {
        "default": ",".join(search.TYPES),
        "metavar": "TYPES",
        "help": f"to try, separated by commas ({','.join(search.TYPES)})",
    },
    "--force": {"action": "store_true", "help": "overwrite a recipe that this sweep did not write"},
}
