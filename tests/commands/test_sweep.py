"""Sweeps on the real features of the small project: the trials, what is killed, MLflow, the recipe."""

import contextlib
import itertools
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from darkroom.commands import recipe
from darkroom.commands.sweep import command as sweep
from darkroom.commands.sweep import search
from darkroom.core import params
from darkroom.core.errors import UserError
from darkroom.models.heads import STEPS
from darkroom.tracking import runs
from darkroom.train.classical import KNOBS
from darkroom.train.params import Params
from tests.helpers.project import ROOT, interruptible, run, set_param

NEEDED = ("params.yaml", "dvc.lock", "recipes", "reports/extract.json", "data/features", "data/split/test")
COUNTED = (TrialState.COMPLETE, TrialState.PRUNED)


@pytest.fixture
def place(project, tmp_path, monkeypatch):
    """What a sweep reads of the small project (of the features every eighth), as the current folder."""
    for name in NEEDED:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (project / name).is_dir() else shutil.copy
        copy(project / name, tmp_path / name)
    for path in (tmp_path / "data/features").glob("*.npy"):
        few = np.ascontiguousarray(np.load(path)[:, ::8])
        path.unlink()  # it may be a link into DVC's cache
        np.save(path, few)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    yield tmp_path
    mlflow.set_tracking_uri(None)


def swept(name="mine", trials=4, heads="dense,knn", seed=None, force=False):
    sweep.main(name, trials, None, seed, heads, force)


def trials(folder):
    """The trials of the only sweep in a folder, in order."""
    (file,) = (folder / ".cache/training").glob("*/trials.db")
    return optuna.load_study(study_name="sweep", storage=f"sqlite:///{file}").trials


def told(folder):
    """What was tried in the trials that count, and what came of it."""
    return [
        (trial.params, trial.value, trial.state, trial.intermediate_values)
        for trial in trials(folder)
        if trial.state in COUNTED
    ]


def kept(folder, kind):
    """Runs of a kind in MLflow."""
    client = mlflow.MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("darkroom").experiment_id
    return client.search_runs([experiment], f"tags.kind = '{kind}'", max_results=1000)


def forget(folder):
    shutil.rmtree(folder / ".cache")
    (folder / "recipes/mine.yaml").unlink()


def every_trial_is_a_run_below_the_sweeps(place):
    (parent,) = kept(place, "sweep")
    assert parent.info.run_name == "sweep mine"
    assert parent.data.params["sweep.heads"] == "['dense']"
    best = min(trials(place), key=lambda trial: trial.value if trial.state == TrialState.COMPLETE else np.inf)
    assert parent.data.metrics["best_final_val_log_loss"] == best.value
    assert parent.data.tags["best_trial"] == str(best.number)
    children = {int(child.data.tags["trial"]): child for child in kept(place, "trial")}
    client = mlflow.MlflowClient(f"sqlite:///{place / 'mlflow.db'}")
    states = []
    for trial in trials(place):
        child = children.pop(trial.number)
        states.append(child.data.tags["state"])
        assert child.data.params["train.head.type"] == trial.params["type"]
        assert child.data.metrics["train_seconds"] > 0
        if trial.state == TrialState.COMPLETE:
            assert child.data.tags["state"] == "complete"
            assert child.data.metrics["final_val_log_loss"] == trial.value
            assert 0 < child.data.metrics["final_val_accuracy"] <= 1
        else:
            assert "final_val_log_loss" not in child.data.metrics
        curve = client.get_metric_history(child.info.run_id, "val_loss")
        assert {point.step: point.value for point in curve} == trial.intermediate_values
        assert not any("test" in name for name in child.data.metrics)
        assert runs.MODEL not in child.data.tags
    assert not children
    assert set(states) == {"complete", "pruned"}
    assert not kept(place, "training")


def test_a_seed_gives_one_sweep_and_the_test_split_is_not_read(place, capsys):
    """The second time, everything of the test split is rubbish."""
    swept(trials=14, heads="dense")
    first, recipe_ = told(place), Path("recipes/mine.yaml").read_bytes()
    assert len(first) == 14
    assert {state for _, _, state, _ in first} == set(COUNTED)  # some heads were given up
    every_trial_is_a_run_below_the_sweeps(place)
    forget(place)
    shutil.rmtree("data/split/test")
    for path in Path("data/features").glob("test.*"):
        path.write_bytes(b"rubbish")
    capsys.readouterr()
    swept(trials=14, heads="dense")
    assert told(place) == first
    assert Path("recipes/mine.yaml").read_bytes() == recipe_
    best = min(value for _, value, state, _ in first if state == TrialState.COMPLETE)
    said = capsys.readouterr().out
    assert said.count("given up after epoch") == sum(state == TrialState.PRUNED for _, _, state, _ in first)
    assert f"log loss {best:.4f}, accuracy " in said
    assert "Epoch" not in said
    forget(place)
    swept(trials=2, heads="dense", seed=1)
    assert told(place)[0] == first[0]  # as the type comes
    assert told(place)[1] != first[1]


@pytest.mark.parametrize("heads", ["dense", "forest"])
def test_train_makes_of_the_recipe_what_the_trial_said(place, heads):
    set_param(place, "train.class_weights", "balanced")
    swept(trials=3, heads=heads)
    best = min(trials(place), key=lambda trial: trial.value)
    recipe.write(recipe.merged("mine", []))
    run("python", "-m", "stages.train", cwd=place, PYTHONPATH=str(ROOT))
    report = json.loads(Path("reports/train.json").read_text())
    for name, value in best.user_attrs["figures"].items():
        assert report[name] == value
    assert report["final_val_log_loss"] == best.value
    first, second = Path("recipes/mine.yaml").read_text().splitlines()[:2]
    assert first.startswith(f"# Head {heads}, the best of 3 trials: log loss {best.value:.4f}, accuracy 0.")
    assert second.startswith("# From python -m darkroom sweep mine. ")
    assert first[2:] in recipe.listing()


def test_the_recipe_is_the_same_experiment_after_any_other(place):
    set_param(place, "download.classes", {"Bag": "bag", "Coat": "coat"})
    set_param(place, "split.ratio", [0.6, 0.2, 0.2])
    before = params.load()
    swept(trials=1, heads="knn")
    alone = recipe.merged("mine", [])
    for other in sorted(path.stem for path in Path("recipes").glob("*.yaml")):
        own = recipe.merged(other, [])
        recipe.write(own)
        assert recipe.merged("mine", [])["train"] == alone["train"]
        assert recipe.merged("mine", [])["split"] == before["split"]
        recipe.write(recipe.merged("mine", []))
        assert recipe.merged(other, [])["train"] == own["train"]


def start():
    words = [sys.executable, "-u", "-m", "stages.sweep", "mine", "--trials", "9", "--heads", "dense,knn"]
    return subprocess.Popen(
        words,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=interruptible,
    )


def halted(process):
    """Stop a process in the middle of a trial, by SIGSTOP."""
    (file,) = Path(".cache/training").glob("*/trials.db")
    while process.poll() is None:
        process.send_signal(signal.SIGSTOP)
        with contextlib.suppress(sqlite3.OperationalError), contextlib.closing(sqlite3.connect(file)) as known:
            known.execute("pragma busy_timeout = 100")  # it may have been about to write
            if known.execute("select count(*) from trials where state = 'RUNNING'").fetchone()[0]:
                return
        process.send_signal(signal.SIGCONT)
        time.sleep(0.01)
    raise AssertionError("it ended before it was seen in a trial")


@pytest.mark.full
def test_a_sweep_that_is_killed_goes_on_as_if_it_had_not_been(place):
    """Once by SIGKILL, once by Ctrl-C; each in the middle of a trial."""
    with start() as process:
        assert any(line.startswith("trial 2, 3 of 9") for line in process.stdout)
        halted(process)
        process.kill()
    assert [parent.info.status for parent in kept(place, "sweep")] == ["RUNNING"]
    with start() as process:
        assert any(re.match(r"trial \d, 4 of 9", line) for line in process.stdout)
        halted(process)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGCONT)
        said = process.stdout.read()
    assert process.returncode == 130, said
    done = int(re.search(r"sweep: stopped after (\d) trials, which are kept. The same command goes on", said)[1])
    assert done == len(told(place)) >= 4
    assert "Traceback" not in said
    assert kept(place, "sweep")[0].info.status == "KILLED"
    assert not Path("recipes/mine.yaml").exists()
    swept(trials=done)
    assert f"the best of {done} trials" in Path("recipes/mine.yaml").read_text()
    swept(trials=9)
    interrupted, again = told(place), Path("recipes/mine.yaml").read_bytes()
    assert sum(trial.state == TrialState.FAIL for trial in trials(place)) == 2

    (parent,) = kept(place, "sweep")
    assert parent.info.status == "FINISHED"
    children = kept(place, "trial")
    numbers = [int(child.data.tags["trial"]) for child in children]
    assert sorted(numbers) == [trial.number for trial in trials(place)]
    assert {child.data.tags["mlflow.parentRunId"] for child in children} == {parent.info.run_id}
    assert [child.info.status for child in children].count("FAILED") == 2
    assert parent.data.metrics["trials_fail"] == 2
    forget(place)
    swept(trials=9)
    assert told(place) == interrupted
    assert Path("recipes/mine.yaml").read_bytes() == again


@pytest.mark.full
def test_two_processes_share_a_sweep(place):
    both = [start(), start()]
    said = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sorted(trial.number for trial in trials(place)) == list(range(9))
    assert {trial.state for trial in trials(place)} <= set(COUNTED)
    lines = [re.findall(r"^trial (\d)", one, re.M) for one in said]
    assert all(lines)  # each did some
    assert sorted(itertools.chain(*lines)) == list("012345678")
    tried = [json.dumps(trial.params, sort_keys=True) for trial in trials(place)]
    assert len(set(tried)) == 9
    assert len(kept(place, "sweep")) == 1
    assert len(kept(place, "trial")) == 9
    best = min(trial.value for trial in trials(place) if trial.state == TrialState.COMPLETE)
    assert f"log loss {best:.4f}" in Path("recipes/mine.yaml").read_text()


def test_a_store_that_is_away_is_named_before_the_work(place, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"the MLflow store http://127\.0\.0\.1:9 does not answer"):
        swept()
    assert not list(Path(".cache").rglob("trials.db"))


def rename(old, new):
    """A table of MLflow's store."""
    with contextlib.closing(sqlite3.connect("mlflow.db")) as opened:
        opened.execute("pragma legacy_alter_table = on")
        opened.execute(f"alter table {old} rename to {new}")


def test_a_store_that_fails_costs_nothing_and_is_caught_up_with(place, capsys):
    class Failing(sweep.Record):
        def add(self, trial):
            super().add(trial)
            if trial.number == 0:
                rename("runs", "elsewhere")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweep, "Record", Failing)
        swept(trials=3, heads="knn,tree")
    said = capsys.readouterr().out
    assert "The best of 3 trials" in said
    assert said.count("MLflow: not written (") == 2  # when it began, and at the end
    assert "later: the same command writes it" in said
    assert "the best of 3 trials" in Path("recipes/mine.yaml").read_text()
    rename("elsewhere", "runs")
    assert len(kept(place, "trial")) == 1
    swept(trials=3, heads="knn,tree")
    assert sorted(child.data.tags["trial"] for child in kept(place, "trial")) == ["0", "1", "2"]
    assert [parent.info.status for parent in kept(place, "sweep")] == ["FINISHED"]


def test_a_head_that_cannot_be_trained_is_told_and_does_not_stop_the_sweep(place, capsys):
    set_param(place, "train.head.output", "sigmoid")
    swept(trials=3, heads="dense,knn")
    said = capsys.readouterr().out
    assert "train.head.output sigmoid is for two classes, but there are 10: set it to softmax." in said
    assert [child.data.tags["state"] for child in kept(place, "trial")].count("failed") >= 1
    with pytest.raises(UserError, match=r"^no trial came to a figure: see the lines above, and give it more trials\.$"):
        swept("other", trials=2, heads="dense")
    assert not Path("recipes/other.yaml").exists()


def test_a_recipe_of_somebody_elses_is_not_replaced(place):
    own = Path("recipes/mine.yaml")
    own.write_text("# My own.\n")
    with pytest.raises(UserError, match=r"^recipes/mine\.yaml was not written by this sweep: choose another name, or"):
        swept(trials=1, heads="knn")
    assert own.read_text() == "# My own.\n"
    assert not trials(place)
    swept(trials=1, heads="knn", force=True)
    written = own.read_text()
    swept(trials=2, heads="knn")  # its own
    assert "the best of 2 trials" in own.read_text()
    own.write_text(written + "# and by hand\n")
    with pytest.raises(UserError, match="was not written by this sweep"):
        swept(trials=3, heads="knn")
    assert own.read_text().endswith("# and by hand\n")


def test_what_a_trial_sets_itself_makes_no_other_sweep(place):
    """So a sweep goes on after its recipe was run."""
    swept(trials=2, heads="dense,knn")
    recipe.write(recipe.merged("mine", ["train.epochs=6", "train.batch_size=99"]))
    swept(trials=3, heads="dense,knn")
    assert len(trials(place)) == 3
    set_param(place, "train.class_weights", "balanced")
    swept(trials=1, heads="dense,knn", force=True)
    assert len(list(Path(".cache/training").glob("*/trials.db"))) == 2


@pytest.mark.parametrize(
    ("change", "words", "said"),
    [
        ({"extract.backbone": None}, (), "a sweep needs features, but extract.backbone is null: name a network there."),
        (
            {"extract.pooling": "avg"},
            (),
            "data/features was made by other settings of extract: run `dvc repro extract`.",
        ),
        ({}, ("--heads", "dense,svm"), f"--heads knows {', '.join(search.TYPES)}, but not 'svm'."),
        ({}, ("--trials", "0"), "--trials is 0: take 1 or more."),
        ({"train.epochs": 0}, (), "params.yaml: train.epochs is 0, but should be greater than or equal to 1."),
        ("reports/extract.json", (), "there are no features yet: run `dvc repro extract`."),
    ],
)
def test_what_is_wrong_is_one_sentence(place, change, words, said):
    if isinstance(change, str):
        Path(change).unlink()
    else:
        for key, value in change.items():
            set_param(place, key, value)
    done = run("python", "-X", "importtime", "-m", "stages.sweep", "mine", *words, cwd=place, check=False,
               PYTHONPATH=str(ROOT))  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"sweep: {said}"
    assert "tensorflow" not in done.stderr
    assert "optuna" not in done.stderr


def test_a_name_that_is_no_files_is_refused(place):
    with pytest.raises(UserError, match=r"^'\.\./mine' cannot be a recipe's name: take letters, digits, dots, - and"):
        swept("../mine")


@pytest.mark.parametrize("kind", search.TYPES)
def test_whatever_is_drawn_is_valid_and_every_range_is_used(kind):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(1))
    study.enqueue_trial(search.first(kind))
    heads = []
    for number in range(40):
        change = search.drawn(study.ask(), [kind])
        heads.append(change["head"])
        content = recipe.overlaid(params.load(ROOT / "params.yaml"), {"train": change})
        settings = Params(**content["train"])
        if number == 0:  # as the type comes
            assert settings.head.prepare == STEPS[kind]
            assert (settings.learning_rate, settings.optimizer, settings.batch_size) == (3e-4, "adam", 256)
    key = KNOBS.get(kind, "hidden")
    assert len({str(head[key]) for head in heads}) > 15
    assert len({str(head["prepare"]) for head in heads}) == len(search.PREPARE)
