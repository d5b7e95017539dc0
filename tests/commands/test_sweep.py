"""Sweeps on real features of the small project: trials, interruptions, runs in MLflow, the recipe."""

import contextlib
import gc
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

from darkroom.commands.sweep import command, search, study
from darkroom.core.errors import UserError
from darkroom.pipeline import params, recipes
from darkroom.tracking import tags
from stages import train
from tests.helpers.project import ROOT, interruptible, set_param, set_params
from tests.helpers.stores import new_store
from tests.helpers.tracking import curve, runs

pytestmark = pytest.mark.usefixtures("tensorflow")
INPUTS = ("params.yaml", "dvc.lock", "recipes", "reports/extract.json", "data/features", "data/split/test")
COUNTED = (TrialState.COMPLETE, TrialState.PRUNED)


@pytest.fixture(scope="module")
def inputs(project, tmp_path_factory):
    """What a sweep reads of the small project, with one of 32 features."""
    folder = tmp_path_factory.mktemp("sweep")
    for name in INPUTS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (project / name).is_dir() else shutil.copy
        copy(project / name, folder / name)
    for path in (folder / "data/features").glob("*.npy"):
        features = np.ascontiguousarray(np.load(path)[:, ::32])
        path.unlink()  # it may be a link into DVC's cache
        np.save(path, features)
    new_store(folder / "mlflow.db")
    return folder


@pytest.fixture
def place(inputs, tmp_path, monkeypatch):
    """A copy of these inputs, as the current folder."""
    shutil.copytree(inputs, tmp_path / "place")
    monkeypatch.chdir(tmp_path / "place")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    yield tmp_path / "place"
    mlflow.set_tracking_uri(None)


def sweep(trials=3, heads="knn,tree", name="mine", seed=None, force=False):
    command.main(name, trials, None, seed, heads, force)


def trials(folder):
    """Return the trials of the only sweep in a folder, in order."""
    (file,) = (folder / ".cache/training").glob("*/trials.db")
    return optuna.load_study(study_name="sweep", storage=f"sqlite:///{file}").trials


def outcomes(folder):
    """Return the settings and results of the trials that count."""
    return [
        (trial.params, trial.value, trial.state, trial.intermediate_values)
        for trial in trials(folder)
        if trial.state in COUNTED
    ]


def forget():
    """Remove a sweep and its recipe."""
    shutil.rmtree(".cache")
    Path("recipes/mine.yaml").unlink()


def check_runs(place):
    """Check that every trial is a run below the sweep's, and that none holds test figures or a model."""
    (parent,) = runs(place, "sweep")
    assert (parent.info.run_name, parent.info.status) == ("sweep mine", "FINISHED")
    assert parent.data.params["sweep.heads"] == "['dense']"
    assert parent.data.params["train.class_weights"] == "balanced"
    best = min(trials(place), key=lambda trial: trial.value if trial.state == TrialState.COMPLETE else np.inf)
    assert parent.data.metrics["best_final_val_log_loss"] == best.value
    assert parent.data.tags["best_trial"] == str(best.number)
    children = {int(child.data.tags["trial"]): child for child in runs(place, "trial")}
    for trial in trials(place):
        child = children.pop(trial.number)
        assert child.data.tags[tags.PARENT] == parent.info.run_id
        assert child.data.tags["state"] == trial.state.name.lower()
        assert child.data.params["train.head.type"] == trial.params["type"]
        assert child.data.metrics["train_seconds"] > 0
        if trial.state == TrialState.COMPLETE:
            assert child.data.metrics["final_val_log_loss"] == trial.value
            assert 0 < child.data.metrics["final_val_accuracy"] <= 1
        else:
            assert "final_val_log_loss" not in child.data.metrics
        assert dict(curve(place, child)) == trial.intermediate_values
        assert not any("test" in name for name in child.data.metrics)
        assert tags.MODEL not in child.data.tags
    assert not children
    assert not runs(place, "training")


def check_recipe(place, head, count):
    """Check that the stage `train` makes of the recipe what the best trial came to."""
    best = min(trials(place), key=lambda trial: trial.value if trial.state == TrialState.COMPLETE else np.inf)
    first, second = Path("recipes/mine.yaml").read_text().splitlines()[1:3]
    assert first.startswith(f"# Head {head}, the best of {count} trials: log loss {best.value:.4f}, accuracy 0.")
    assert second.startswith("# From python -m darkroom sweep mine. ")
    assert first[2:] in recipes.listing()
    recipes.write_params(recipes.merged("mine", []))
    sections = params.current()
    train.main(sections.base, sections.train)
    report = json.loads(Path("reports/train.json").read_text())
    for name, value in best.user_attrs["figures"].items():
        assert report[name] == value
    assert report["final_val_log_loss"] == best.value


@pytest.mark.full
def test_a_seed_determines_a_sweep_and_the_test_split_is_not_read(place, capsys, monkeypatch):
    """The second time everything of the test split is garbage."""
    monkeypatch.setattr(study, "PEERS", 2)  # so that few trials are enough for some to be pruned
    monkeypatch.setattr(study, "FREE_EPOCHS", 1)
    set_param(place, "train.class_weights", "balanced")
    sweep(7, "dense")
    first, recipe = outcomes(place), Path("recipes/mine.yaml").read_bytes()
    assert len(first) == 7
    assert {state for _, _, state, _ in first} == set(COUNTED)
    check_runs(place)
    forget()
    shutil.rmtree("data/split/test")
    for path in Path("data/features").glob("test.*"):
        path.write_bytes(b"garbage")
    capsys.readouterr()
    sweep(7, "dense")
    assert outcomes(place) == first
    assert Path("recipes/mine.yaml").read_bytes() == recipe
    output = capsys.readouterr().out
    assert output.count("pruned after epoch") == sum(state == TrialState.PRUNED for _, _, state, _ in first)
    best = min(value for _, value, state, _ in first if state == TrialState.COMPLETE)
    assert f"log loss {best:.4f}, accuracy " in output
    assert "Epoch" not in output
    check_recipe(place, "dense", 7)
    forget()
    set_param(place, "train.class_weights", "balanced")
    sweep(2, "dense", seed=1)
    assert outcomes(place)[0] == first[0]  # the type's first trial, for every seed
    assert outcomes(place)[1] != first[1]


def test_the_stage_trains_a_classical_head_as_the_trial(place):
    sweep(2, "tree")
    check_recipe(place, "tree", 2)


def test_the_recipe_is_the_same_experiment_after_any_other(place):
    set_params(place, {"download.classes": {"Bag": "bag", "Coat": "coat"}, "split.ratio": [0.6, 0.2, 0.2]})
    before = params.load()
    sweep(1, "knn")
    alone = params.complete(recipes.merged("mine", []))
    for other in sorted(path.stem for path in Path("recipes").glob("*.yaml")):
        own = params.complete(recipes.merged(other, []))
        recipes.write_params(own)
        merged = recipes.merged("mine", [])
        assert params.complete(merged)["train"] == alone["train"]
        assert merged["split"]["ratio"] == before["split"]["ratio"]
        recipes.write_params(merged)
        assert params.complete(recipes.merged(other, []))["train"] == own["train"]


def start():
    words = [sys.executable, "-u", "-m", "darkroom", "sweep", "mine", "--trials", "9", "--heads", "dense,knn"]
    return subprocess.Popen(
        words,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=interruptible,
    )


def halt(process):
    """Stop a process in the middle of a trial, by SIGSTOP."""
    (file,) = Path(".cache/training").glob("*/trials.db")
    while process.poll() is None:
        process.send_signal(signal.SIGSTOP)
        with contextlib.suppress(sqlite3.OperationalError), contextlib.closing(sqlite3.connect(file)) as database:
            database.execute("pragma busy_timeout = 100")  # it may have been about to write
            if database.execute("select count(*) from trials where state = 'RUNNING'").fetchone()[0]:
                return
        process.send_signal(signal.SIGCONT)
        time.sleep(0.01)
    raise AssertionError("it ended before it was seen in a trial")


@pytest.mark.full
def test_a_killed_sweep_resumes_as_if_it_had_not_been_killed(place):
    """Once by SIGKILL, once by Ctrl-C, each in the middle of a trial."""
    with start() as process:
        assert any(line.startswith("trial 1, 2 of 9") for line in process.stdout)
        halt(process)
        process.kill()
    assert [parent.info.status for parent in runs(place, "sweep")] == ["RUNNING"]
    with start() as process:
        assert any(re.match(r"trial \d, 3 of 9", line) for line in process.stdout)
        halt(process)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGCONT)
        output = process.stdout.read()
    assert process.returncode == 130, output
    assert "Traceback" not in output
    done = int(re.search(r"sweep: stopped after (\d) trials, which are kept. The same command resumes", output)[1])
    assert done == len(outcomes(place)) >= 3
    sweep(9, "dense,knn")
    interrupted, recipe = outcomes(place), Path("recipes/mine.yaml").read_bytes()
    assert sum(trial.state == TrialState.FAIL for trial in trials(place)) == 2
    assert [child.info.status for child in runs(place, "trial")].count("FAILED") == 2
    forget()
    sweep(9, "dense,knn")
    assert outcomes(place) == interrupted
    assert Path("recipes/mine.yaml").read_bytes() == recipe


@pytest.mark.full
def test_an_interrupted_sweep_resumes_as_if_it_had_not_been_interrupted(place, capsys, monkeypatch):
    """As by Ctrl-C in a trial, twice."""
    heads, evaluate = "knn,logistic", command.evaluate
    for number in (1, 3):

        def interrupted(trial, *arguments, at=number):
            if trial.number == at:
                raise KeyboardInterrupt
            return evaluate(trial, *arguments)

        monkeypatch.setattr(command, "evaluate", interrupted)
        with contextlib.suppress(KeyboardInterrupt):
            sweep(5, heads)
        gc.collect()  # as at the end of a process, the sweep's locks are released
        assert runs(place, "sweep")[0].info.status == "KILLED"
        assert not Path("recipes/mine.yaml").exists()
    monkeypatch.setattr(command, "evaluate", evaluate)
    done = int(re.findall(r"sweep: stopped after (\d) trials, which are kept.", capsys.readouterr().out)[-1])
    assert done == len(outcomes(place)) == 2
    sweep(done, heads)
    assert f"the best of {done} trials" in Path("recipes/mine.yaml").read_text()
    sweep(5, heads)
    again, recipe = outcomes(place), Path("recipes/mine.yaml").read_bytes()
    assert [trial.state for trial in trials(place)].count(TrialState.FAIL) == 2

    (parent,) = runs(place, "sweep")
    assert parent.info.status == "FINISHED"
    children = runs(place, "trial")
    numbers = sorted(int(child.data.tags["trial"]) for child in children)
    assert numbers == [trial.number for trial in trials(place)]
    assert {child.data.tags[tags.PARENT] for child in children} == {parent.info.run_id}
    assert [child.info.status for child in children].count("FAILED") == 2
    assert parent.data.metrics["trials_fail"] == 2
    forget()
    sweep(5, heads)
    assert outcomes(place) == again
    assert Path("recipes/mine.yaml").read_bytes() == recipe


@pytest.mark.full
def test_two_processes_share_a_sweep(place):
    both = [start(), start()]
    output = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], output
    assert sorted(trial.number for trial in trials(place)) == list(range(9))
    assert {trial.state for trial in trials(place)} <= set(COUNTED)
    lines = [re.findall(r"^trial (\d)", text, re.M) for text in output]
    assert all(lines)  # each did some
    assert sorted(itertools.chain(*lines)) == list("012345678")
    tried = [json.dumps(trial.params, sort_keys=True) for trial in trials(place)]
    assert len(set(tried)) == 9
    assert len(runs(place, "sweep")) == 1
    assert len(runs(place, "trial")) == 9
    best = min(trial.value for trial in trials(place) if trial.state == TrialState.COMPLETE)
    assert f"log loss {best:.4f}" in Path("recipes/mine.yaml").read_text()


def test_a_store_that_is_away_is_named_before_the_work(place, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"the MLflow store http://127\.0\.0\.1:9 does not answer"):
        sweep()
    assert not list(Path(".cache").rglob("trials.db"))


def rename(old, new):
    """Rename a table of MLflow's store."""
    with contextlib.closing(sqlite3.connect("mlflow.db")) as database:
        database.execute("pragma legacy_alter_table = on")
        database.execute(f"alter table {old} rename to {new}")


def test_a_store_that_fails_costs_nothing_and_gets_everything_later(place, capsys):
    class Failing(command.Recorder):
        def add(self, trial):
            super().add(trial)
            if trial.number == 0:
                rename("runs", "elsewhere")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "Recorder", Failing)
        sweep(3)
    output = capsys.readouterr().out
    assert "The best of 3 trials" in output
    assert output.count("MLflow: not written: ") == 2  # at the first failure, and at the end
    assert "then run the same command again" in output
    assert "the best of 3 trials" in Path("recipes/mine.yaml").read_text()
    rename("elsewhere", "runs")
    assert len(runs(place, "trial")) == 1
    sweep(3)
    assert sorted(child.data.tags["trial"] for child in runs(place, "trial")) == ["0", "1", "2"]
    assert [parent.info.status for parent in runs(place, "sweep")] == ["FINISHED"]


def test_a_head_that_cannot_be_trained_is_reported_and_does_not_stop_the_sweep(place, capsys):
    set_param(place, "train.head.output", "sigmoid")
    sweep(3, "dense,knn")
    assert "train.head.output sigmoid is for two classes, but there are 10" in capsys.readouterr().out
    assert [child.data.tags["state"] for child in runs(place, "trial")].count("failed") >= 1
    with pytest.raises(UserError, match=r"^no trial succeeded: see the lines above, or run more trials\.$"):
        sweep(2, "dense", name="other")
    assert not Path("recipes/other.yaml").exists()


def test_a_recipe_of_somebody_else_is_not_replaced(place):
    own = Path("recipes/mine.yaml")
    own.write_text("# My own.\n")
    with pytest.raises(UserError, match=r"^recipes/mine\.yaml was not written by this sweep: choose another name, or"):
        sweep(1, "knn")
    assert own.read_text() == "# My own.\n"
    assert not trials(place)
    sweep(1, "knn", force=True)
    written = own.read_text()
    sweep(2, "knn")  # its own recipe
    assert "the best of 2 trials" in own.read_text()
    own.write_text(written + "# and by hand\n")
    with pytest.raises(UserError, match="was not written by this sweep"):
        sweep(3, "knn")
    assert own.read_text().endswith("# and by hand\n")


def test_settings_that_a_trial_chooses_do_not_make_another_sweep(place):
    """So a sweep can be continued after its recipe was run."""
    sweep(2)
    recipes.write_params(recipes.merged("mine", ["train.epochs=6", "train.batch_size=99"]))
    sweep(3)
    assert len(trials(place)) == 3
    set_param(place, "train.class_weights", "balanced")
    sweep(1, force=True)
    assert len(list(Path(".cache/training").glob("*/trials.db"))) == 2


def test_errors_are_one_sentence(place):
    start = Path("params.yaml").read_text()
    for change, arguments, sentence in (
        ({}, {"name": "../mine"}, "'../mine' is not a valid name for a recipe: use letters, digits, dots, - and _."),
        ({}, {"trials": 0}, "--trials is 0, but must be 1 or more."),
        ({}, {"heads": "dense,svm"}, f"--heads has 'svm', but may have only {', '.join(search.TYPES)}."),
        ({"train.epochs": 0}, {}, "params.yaml: train.epochs is 0, but "),
        ({"extract.backbone": None}, {}, "a sweep needs features, but extract.backbone is null: set it to a network."),
        *(
            (change, {}, "data/features was extracted with other settings of extract: run `dvc repro extract`.")
            for change in (
                {"extract.pooling": "avg"},
                {"extract.backbone": "VGG19"},
                {"extract.image_size": [32, 48]},
                {"extract.layers": ["block4_pool"]},
            )
        ),
    ):
        Path("params.yaml").write_text(start)
        set_params(place, change)
        with pytest.raises(UserError, match=f"^{re.escape(sentence)}"):
            sweep(**arguments)
    Path("params.yaml").write_text(start)
    assert not Path(".cache").exists()
