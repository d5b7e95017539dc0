"""The graph in dvc.yaml: what a change reruns, and DVC's commands on it.

Most tests run on stages that take no time (see tests/helpers/cheap.py): DVC's part is the same.
"""

import json
import shutil

import mlflow
import pytest
import yaml
from dvc.repo import Repo

from darkroom.core.hashing import md5s
from darkroom.pipeline.params import STAGES
from tests.helpers.project import BRIEF, ROOT, commit, identify, repro, run, set_param, set_params
from tests.helpers.stages import run_stages


def changed_dependencies(folder):
    """Stage to its changed dependencies, as `dvc status` lists them; of params.yaml, the keys."""
    with Repo(str(folder)) as repository:
        status = repository.status()
    changed = {}
    for stage, entries in status.items():
        deps = {name: state for entry in entries for name, state in entry.get("changed deps", {}).items()}
        keys = set(deps.pop("params.yaml", {}))
        changed[stage.rpartition(":")[2]] = set(deps) | keys
    return changed


def test_a_stage_depends_on_its_own_params_and_code(cheap_copy):
    """Every section, every script and every room changes at once, a room by a new file."""
    content = yaml.safe_load((cheap_copy / "params.yaml").read_text())
    for section in content.values():
        section["added"] = 1
    (cheap_copy / "params.yaml").write_text(yaml.safe_dump(content))
    for room in (cheap_copy / "darkroom").iterdir():
        if room.is_dir():
            (room / "added.py").touch()
    for script in (cheap_copy / "stages").glob("*.py"):
        script.write_text(script.read_text() + "# reworded\n")
    changed = changed_dependencies(cheap_copy)
    for stage, entry in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].items():
        code = {name for name in entry["deps"] if name.startswith(("stages/", "darkroom/"))}
        assert f"stages/{stage}.py" in code
        assert changed.pop(stage) == {"base", stage, *code}
    assert not changed


def test_a_change_reruns_the_stage_and_what_follows_and_nothing_else(cheap_copy):
    for key, value, stages in (
        ("tracking.experiment", "another", []),
        ("compute.engine", "ray", []),
        ("export.check_pictures", 10, ["export"]),
        ("extract.layers", ["block3_pool"], ["extract", "train", "evaluate", "export"]),
    ):
        set_param(cheap_copy, key, value)
        assert repro(cheap_copy) == stages, key


def test_reworded_code_reruns_only_the_stages_that_use_it(cheap_copy):
    """Their outputs stay the same, so what follows is up to date."""
    for room in ("cluster", "tracking", "pipeline", "commands"):
        (cheap_copy / "darkroom" / room / "added.py").touch()
    assert repro(cheap_copy) == []
    (cheap_copy / "darkroom/drawing/added.py").touch()
    (cheap_copy / "darkroom/backbones/weights.py").write_text("# reworded\n")
    assert repro(cheap_copy) == ["download", "augment", "extract", "train", "evaluate", "export"]


def test_weights_of_ones_own_are_a_dependency_that_git_never_sees(cheap_copy):
    (cheap_copy / "data/weights/another").mkdir(parents=True)
    (cheap_copy / "data/weights/another/file.h5").write_bytes(b"weights")
    assert changed_dependencies(cheap_copy) == {stage: {"data/weights"} for stage in ("extract", "train")}
    assert run("git", "status", "--porcelain", cwd=cheap_copy).stdout == ""


def test_an_added_picture_is_noticed(cheap_copy):
    (cheap_copy / "data/incoming/Coat/another.png").write_text("another")
    assert repro(cheap_copy, "split") == ["download", "split"]
    assert json.loads((cheap_copy / "reports/dataset.json").read_text())["classes"]["Coat"] == 4


def test_decisions_on_labels_are_noticed(cheap_copy):
    """Those that change no picture rerun download alone; git, unlike the pictures without labels, keeps them."""
    line = f"{'0' * 32},drop,,Ada,2026-01-31T12:00:00Z,\n"
    with (cheap_copy / "data/decisions.csv").open("a") as stream:
        stream.write(line)
    (cheap_copy / "data/unlabelled/1.png").write_text("a picture")
    assert changed_dependencies(cheap_copy) == {"download": {"data/decisions.csv", "data/unlabelled"}}
    assert run("git", "status", "--porcelain", cwd=cheap_copy).stdout.split() == ["M", "data/decisions.csv"]
    assert repro(cheap_copy, "download") == ["download"]


@pytest.mark.parametrize("folder", ["data/raw", "data/split", "data/augmented"])
def test_a_folder_of_pictures_that_was_changed_by_hand_or_is_missing_is_restored(folder, cheap_copy):
    """Later stages depend on the tables of these folders, not on the folders."""
    before = md5s(cheap_copy / folder)
    picture = next(path for path in sorted((cheap_copy / folder).rglob("*.png")))
    picture.unlink()
    picture.write_text("another")
    repro(cheap_copy, "extract")
    assert md5s(cheap_copy / folder) == before
    shutil.rmtree(cheap_copy / folder)
    repro(cheap_copy, "extract")
    assert md5s(cheap_copy / folder) == before


def test_nothing_runs_twice(cheap_copy):
    assert repro(cheap_copy) == []
    assert run("dvc", "status", cwd=cheap_copy).stdout.strip() == "Data and pipelines are up to date."


def test_a_run_leaves_nothing_for_git_but_the_lock(cheap_copy):
    """No picture, weight, run or report is ever offered to git."""
    set_param(cheap_copy, "base.seed", 7)
    assert repro(cheap_copy) == list(STAGES)
    changed = run("git", "status", "--porcelain", "--untracked-files=all", cwd=cheap_copy).stdout.split()
    assert changed == ["M", "dvc.lock", "M", "params.yaml"]
    tracked = run("git", "ls-files", cwd=cheap_copy).stdout.splitlines()
    outputs = ("data/", "models/", "exports/", "reports/", "mlruns/", "mlartifacts/")
    assert [name for name in tracked if name.startswith(outputs)] == [
        "data/decisions.csv",
        *(f"data/{name}/.gitkeep" for name in ("incoming", "unlabelled", "weights")),
    ]


def test_dvc_shows_the_metrics_and_the_graph(cheap_copy):
    assert "reports/metrics.json" in run("dvc", "metrics", "show", cwd=cheap_copy).stdout
    dag = run("dvc", "dag", "--dot", cwd=cheap_copy).stdout
    assert '"download" -> "split"' in dag.replace("stages:", "")


@pytest.mark.usefixtures("tensorflow")
def test_a_change_without_effect_reruns_nothing_that_follows(copy, monkeypatch):
    """Of the real stages: their outputs are the same bytes, but for those that show the change."""
    monkeypatch.chdir(copy)
    set_params(copy, {"download.on_bad": "fail", "split.fold": 2, "evaluate.mistakes": 6})
    run_stages(["download", "split", "evaluate"])
    assert set(changed_dependencies(copy)) == {"download", "split", "evaluate"}
    twin = min((copy / "data/incoming/Coat").iterdir())
    shutil.copy(twin, copy / "data/incoming/Coat/the same again.png")
    run_stages(["download"])
    changed = changed_dependencies(copy)
    assert set(changed) == {"download", "split", "evaluate", "export"}
    assert changed["export"] == {"reports/dataset.json"}  # the twin is left out, as the model card tells


def test_two_experiments_stand_side_by_side(cheap_copy):
    ran = repro_experiment(cheap_copy, "-n", "try", "-S", "train.head.dropout=0.3")
    assert ran == ["train", "evaluate", "export"]
    assert "train.head.dropout" in run("dvc", "params", "diff", cwd=cheap_copy).stdout
    table = run("dvc", "exp", "show", "--csv", cwd=cheap_copy).stdout
    assert "try" in table
    assert "accuracy" in table.splitlines()[0]


def repro_experiment(folder, *arguments):
    """Run `dvc exp run`; the stages that ran, in order."""
    output = run("dvc", "exp", "run", *arguments, cwd=folder).stdout
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage '")]


@pytest.mark.full
def test_an_experiment_in_a_temporary_folder_gets_pictures_that_dvc_keeps(cheap_copy):
    """`dvc exp run --temp` works on a copy below .dvc/tmp."""
    run("git", "rm", "-q", "--cached", "data/incoming/.gitkeep", cwd=cheap_copy)
    (cheap_copy / "data/incoming/.gitkeep").unlink()
    run("dvc", "add", "-q", "data/incoming", cwd=cheap_copy)
    assert repro(cheap_copy) == ["download"]
    commit(cheap_copy, "pictures are versioned")
    ran = repro_experiment(cheap_copy, "--temp", "-n", "aside", "-S", "train.head.dropout=0.4")
    assert ran == ["train", "evaluate", "export"]


@pytest.mark.full
def test_all_folds_as_experiments(cheap_copy):
    """The documented way through a cross-validation."""
    set_params(cheap_copy, {"split.method": "kfold", "split.folds": 2})
    for fold in (1, 2):
        ran = repro_experiment(cheap_copy, "-n", f"fold-{fold}", "-S", f"split.fold={fold}")
        assert ran == list(STAGES[1:])
    table = run("dvc", "exp", "show", "--csv", cwd=cheap_copy).stdout
    assert "fold-1" in table
    assert "fold-2" in table


@pytest.mark.full
def test_a_real_experiment_is_recorded_beside_the_first_run(copy):
    """In a temporary folder, which shares the cache of features and MLflow's store with the project."""
    identify(copy)
    pictures = [word for label in class_folders(copy) for word in ("-C", f"data/incoming/{label}")]
    set_params(copy, BRIEF)
    ran = repro_experiment(copy, "--temp", "-n", "try", *pictures, "-S", "train.head.dropout=0.3")
    assert ran == ["train", "evaluate", "export"]
    run("dvc", "exp", "apply", "try", cwd=copy)
    changed = run("git", "status", "--porcelain", "--untracked-files=all", cwd=copy).stdout.split()
    assert changed == ["M", "dvc.lock", "M", "params.yaml"]
    assert list((copy / "mlartifacts").iterdir())

    client = mlflow.MlflowClient(f"sqlite:///{copy / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("darkroom")
    new, old = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time DESC"])
    assert (new.data.params["train.head.dropout"], old.data.params["train.head.dropout"]) == ("0.3", "0.5")
    assert (new.info.run_name, old.info.run_name) == ("try", "VGG16 block3_pool + dense")
    assert new.data.tags["dvc_experiment"] == "try"
    assert new.data.metrics["test_accuracy"] == json.loads((copy / "reports/metrics.json").read_text())["accuracy"]
    lock = yaml.safe_load((copy / "dvc.lock").read_text())["stages"]["train"]["deps"]
    recorded = next(entry["md5"] for entry in lock if entry["path"] == "data/features")
    for logged in (new, old):
        assert logged.info.status == "FINISHED"
        curve = client.get_metric_history(logged.info.run_id, "val_loss")
        assert [point.step for point in curve] == list(range(1, int(logged.data.metrics["epochs"]) + 1))
        assert {"train_seconds", "evaluate_seconds", "export_seconds", "test_macro_f1"} <= set(logged.data.metrics)
        assert {"git_commit", "model_sha256"} <= set(logged.data.tags)
        assert logged.data.tags["data.features.md5"] == recorded
        assert sorted(data_contexts(logged)) == ["test", "training", "validation"]
        plots = [file.path for file in client.list_artifacts(logged.info.run_id, "evaluation/plots")]
        assert "evaluation/plots/confusion.png" in plots
    assert new.data.tags["model_sha256"] == json.loads((copy / "reports/train.json").read_text())["model_sha256"]

    run("dvc", "plots", "show", cwd=copy)
    page = (copy / "dvc_plots/index.html").read_text()
    for title in ("Loss", "Accuracy", "Confusion matrix", "F1 of each class", "mistakes.png"):
        assert title in page, title


def class_folders(folder):
    return sorted(path.name for path in (folder / "data/incoming").iterdir() if path.is_dir())


def data_contexts(logged):
    """What an MLflow run used its data sets for."""
    return [tag.value for data in logged.inputs.dataset_inputs for tag in data.tags if tag.key == "mlflow.data.context"]


def test_a_pushed_run_is_pulled_and_not_computed_again(cheap_copy, tmp_path):
    """The documented way to share: a folder as the DVC remote, data and results through it, code through git."""
    run("dvc", "remote", "add", "-d", "team", str(tmp_path / "remote"), cwd=cheap_copy)
    commit(cheap_copy, "a remote")
    run("dvc", "push", cwd=cheap_copy)
    clone = tmp_path / "elsewhere/darkroom"
    run("git", "clone", "-q", str(cheap_copy), str(clone), cwd=tmp_path)
    shutil.copytree(cheap_copy / "data/incoming", clone / "data/incoming", dirs_exist_ok=True)
    run("dvc", "pull", cwd=clone)
    assert repro(clone) == []
    for name in ("reports/metrics.json", "models/head.weights.h5", "data/features/train.csv"):
        assert (clone / name).read_bytes() == (cheap_copy / name).read_bytes()


@pytest.mark.full
def test_a_clone_at_another_path_writes_the_same_lock(project, copy, tmp_path):
    """Another path, another minute, empty caches, a process for each stage: the same bytes; from scratch too."""
    folder = tmp_path / "a/longer path/darkroom"
    folder.parent.mkdir(parents=True)
    run("git", "clone", "-q", str(project), str(folder), cwd=tmp_path)
    (folder / "dvc.lock").unlink()
    shutil.copytree(project / "data/incoming", folder / "data/incoming", dirs_exist_ok=True)
    home = tmp_path / "home"
    home.mkdir()
    own = {"HOME": str(home), "KERAS_HOME": str(home / ".keras"), "PIP_CACHE_DIR": str(home)}
    assert repro(folder, **own) == list(STAGES)
    assert (folder / "dvc.lock").read_text() == (project / "dvc.lock").read_text()
    for place, environment in ((folder, own), (copy, {})):
        set_params(place, {"train.mode": "scratch", "train.epochs": 2})
        assert repro(place, "train", **environment) == ["train"]
    assert (folder / "dvc.lock").read_text() == (copy / "dvc.lock").read_text()
