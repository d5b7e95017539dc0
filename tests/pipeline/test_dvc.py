"""The whole pipeline through DVC, in clones, on real pictures."""

import ast
import json
import shutil
import sqlite3

import pytest
import yaml

from darkroom.core.files import read_csv
from darkroom.core.params import STAGES
from darkroom.images.decode import decode
from tests.helpers.pictures import save
from tests.helpers.project import ROOT, commit, run


TEMPLATES = {"evaluate": ["evaluation/report.html"], "export": ["exports/model_card.md"]}


def imported(script):
    """The project's files that a script imports, directly or not; tracking is left out."""
    seen, todo = set(), [script]
    while todo:
        file = todo.pop()
        if file in seen or file.name == "tracking.py":
            continue
        seen.add(file)
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                assert not any(name.name.startswith("stages") for name in node.names), "write: from stages… import …"
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("stages"):
                module = ROOT / node.module.replace(".", "/")
                candidates = [module / f"{name.name}.py" for name in node.names] + [module.with_suffix(".py")]
                todo += [candidate for candidate in candidates if candidate.exists()]
    return seen


@pytest.mark.parametrize("stage", STAGES)
def test_listed_code_equals_the_imports(stage):
    listed = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"][stage]["deps"]
    code = {name for name in listed if name.startswith("stages/")}
    expected = {path.relative_to(ROOT).as_posix() for path in imported(ROOT / f"stages/{stage}.py")}
    assert code == expected | {f"stages/common/{name}" for name in TEMPLATES.get(stage, ())}
    assert listed == list(dict.fromkeys(listed))


def test_a_run_leaves_nothing_for_git_but_the_lock(copy):
    """No picture, weight, run or report is ever offered to git."""
    set_param(copy, "train.head.dropout", 0.25)
    repro(copy)
    changed = run("git", "status", "--porcelain", "--untracked-files=all", cwd=copy).stdout.split()
    assert changed == ["M", "dvc.lock", "M", "params.yaml"]
    tracked = run("git", "ls-files", cwd=copy).stdout.splitlines()
    assert [name for name in tracked if name.startswith(("data/", "models/", "exports/", "reports/", "mlruns/"))] == [
        "data/incoming/.gitkeep",
        "data/weights/.gitkeep",
    ]
    assert list((copy / "mlartifacts").iterdir())


def test_nothing_runs_twice(copy):
    assert repro(copy) == []
    assert run("dvc", "status", cwd=copy).stdout.strip() == "Data and pipelines are up to date."


# What each change reruns. A stage whose inputs come out the same does not run: that is DVC's part. What changes of
# extract and train rerun is in tests/test_modes.py.
RERUNS = [
    ("tracking.experiment", "another", []),
    ("export.check_pictures", 10, ["export"]),
    ("evaluate.mistakes", 6, ["evaluate"]),
    ("augment.target", 45, ["augment", "extract", "train", "evaluate", "export"]),
    ("split.fold", 2, ["split"]),
    ("download.on_bad", "fail", ["download"]),
    ("base.seed", 7, list(STAGES)),
]


def test_a_change_reruns_what_it_must_and_nothing_else(copy):
    for key, value, stages in RERUNS:
        set_param(copy, key, value)
        assert repro(copy) == stages, key


def test_a_picture_that_is_added_is_noticed(copy):
    source = sorted((copy / "data/incoming/Coat").iterdir())[0]
    before = json.loads((copy / "reports/dataset.json").read_text())["classes"]["Coat"]
    shutil.copy(source, copy / "data/incoming/Coat/the same again.png")
    assert repro(copy) == ["download", "export"]  # it is left out, so nothing else changes but what the card says
    save(copy / "data/incoming/Coat/another.png", decode(source)[::-1])
    assert repro(copy, "split") == ["download", "split"]
    assert json.loads((copy / "reports/dataset.json").read_text())["classes"]["Coat"] == before + 1


def test_dvcs_commands_show_what_they_should(copy):
    assert "reports/metrics.json" in run("dvc", "metrics", "show", cwd=copy).stdout
    dag = run("dvc", "dag", "--dot", cwd=copy).stdout
    assert '"download" -> "split"' in dag.replace("stages:", "")
    run("dvc", "plots", "show", cwd=copy)
    page = (copy / "dvc_plots/index.html").read_text()
    for title in ("Loss", "Accuracy", "Confusion matrix", "F1 of each class", "mistakes.png"):
        assert title in page, title


def test_two_experiments_stand_side_by_side(copy):
    """One by `dvc exp run` with a name, and the one that was there: in DVC and in MLflow."""
    import mlflow

    said = run("dvc", "exp", "run", "-n", "try", "-S", "train.head.dropout=0.3", cwd=copy).stdout
    assert [line for line in said.splitlines() if line.startswith("Running stage")] == [
        f"Running stage '{stage}':" for stage in ("train", "evaluate", "export")
    ]
    assert "train.head.dropout" in run("dvc", "params", "diff", cwd=copy).stdout
    table = run("dvc", "exp", "show", "--csv", cwd=copy).stdout
    assert "try" in table
    assert "accuracy" in table.splitlines()[0]

    client = mlflow.MlflowClient(f"sqlite:///{copy / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("darkroom")
    new, old = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time DESC"])
    assert (new.data.params["train.head.dropout"], old.data.params["train.head.dropout"]) == ("0.3", "0.5")
    assert (new.info.run_name, old.info.run_name) == ("try", "VGG16 block3_pool + dense")
    assert new.data.tags["dvc_experiment"] == "try"
    for run_, accuracy in ((new, json.loads((copy / "reports/metrics.json").read_text())["accuracy"]), (old, None)):
        assert run_.info.status == "FINISHED"
        assert accuracy in (None, pytest.approx(run_.data.metrics["test_accuracy"]))
        curve = client.get_metric_history(run_.info.run_id, "val_loss")
        assert [point.step for point in curve] == list(range(1, int(run_.data.metrics["epochs"]) + 1))
        assert {"train_seconds", "evaluate_seconds", "export_seconds", "test_macro_f1"} <= set(run_.data.metrics)
        assert {"git_commit", "data.features.md5", "model_sha256"} <= set(run_.data.tags)
        assert sorted(item.context for item in inputs(run_)) == ["test", "training", "validation"]
        pictures = [file.path for file in client.list_artifacts(run_.info.run_id, "evaluation/plots")]
        assert "evaluation/plots/confusion.png" in pictures
    assert new.data.tags["model_sha256"] == json.loads((copy / "reports/train.json").read_text())["model_sha256"]


def inputs(run_):
    from types import SimpleNamespace

    return [
        SimpleNamespace(context=tag.value)
        for item in run_.inputs.dataset_inputs
        for tag in item.tags
        if tag.key == "mlflow.data.context"
    ]


def test_an_experiment_in_a_temporary_folder_shares_cache_and_store(copy):
    """`dvc exp run --temp` works on a copy below .dvc/tmp; its pictures come from DVC, its features from the cache."""
    run("git", "rm", "-q", "--cached", "data/incoming/.gitkeep", cwd=copy)
    (copy / "data/incoming/.gitkeep").unlink()
    run("dvc", "add", "-q", "data/incoming", cwd=copy)
    commit(copy, "pictures are versioned")
    repro(copy)
    commit(copy, "run on them")
    said = run("dvc", "exp", "run", "--temp", "-n", "aside", "-S", "train.head.dropout=0.4", cwd=copy).stdout
    assert "Running stage 'train'" in said
    assert "Running stage 'extract'" not in said
    with sqlite3.connect(copy / "mlflow.db") as store:
        assert ("aside",) in store.execute("select name from runs").fetchall()


def test_what_one_clone_pushes_another_pulls_and_computes_nothing(copy, tmp_path):
    """The README's way to share: a folder as the DVC remote, data and results through it, code through git."""
    run("dvc", "remote", "add", "-d", "team", str(tmp_path / "remote"), cwd=copy)
    commit(copy, "a remote")
    run("dvc", "push", cwd=copy)
    other = tmp_path / "elsewhere/darkroom"
    run("git", "clone", "-q", str(copy), str(other), cwd=tmp_path)
    shutil.copytree(copy / "data/incoming", other / "data/incoming", dirs_exist_ok=True)
    run("dvc", "pull", cwd=other)
    assert repro(other) == []
    for name in ("reports/metrics.json", "models/head.weights.h5", "data/features/test.csv"):
        assert (other / name).read_bytes() == (copy / name).read_bytes()


@pytest.mark.full
def test_all_folds_as_experiments(copy):
    """The README's way through a cross-validation."""
    for key, value in (("user.name", "Test"), ("user.email", "test@localhost")):
        run("git", "config", key, value, cwd=copy)  # DVC keeps an experiment as a commit
    set_param(copy, "split.method", "kfold")
    set_param(copy, "split.folds", 2)
    tested = []
    for fold in (1, 2):
        run("dvc", "exp", "run", "-n", f"fold-{fold}", "-S", f"split.fold={fold}", cwd=copy)
        rows = read_csv(copy / "reports/split.csv")
        tested.append({row["picture"] for row in rows if row["split"] == "test"})
    assert tested[0] == tested[1]
    table = run("dvc", "exp", "show", "--csv", cwd=copy).stdout
    assert "fold-1" in table
    assert "fold-2" in table


@pytest.mark.full
def test_a_clone_at_another_path_writes_the_same_lock(project, copy, tmp_path):
    """Another path, another minute, empty caches: the same bytes; from scratch too."""
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
        set_param(place, "train.mode", "scratch")
        assert repro(place, **environment) == ["train", "evaluate", "export"]
    assert (folder / "dvc.lock").read_text() == (copy / "dvc.lock").read_text()
