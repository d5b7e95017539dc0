"""DVC's experiments by the documents' commands: a queue, the table, plots, and an experiment on another machine."""

import json
import re
import shutil
import time
from contextlib import suppress

import mlflow
import psutil
import pytest

from darkroom.core.files import read_csv
from tests.helpers.documents import TEXT, line
from tests.helpers.project import BRIEF, commit, copy_project, identify, repro, run, set_params

pytestmark = pytest.mark.full

SECONDS = 900


def run_queue(folder, grid, names):
    """Queue a grid by the documents' command, work it off two at a time, and check that all went well."""
    pictures = re.search(r"`dvc exp run --queue (\$\(.*\)) …`", TEXT).group(1)
    run("bash", "-c", grid.replace("--queue", f"--queue {pictures}"), cwd=folder)
    # Workers keep the output that they inherit open: a pipe would be read until the last of them ends.
    run("bash", "-c", f"({line('dvc queue start')}) > start.log 2>&1", cwd=folder)
    assert "Started '2'" in (folder / "start.log").read_text()
    (folder / "start.log").unlink()
    end = time.monotonic() + SECONDS
    try:
        while re.search("Queued|Running", status := run("dvc", "queue", "status", cwd=folder).stdout):
            assert time.monotonic() < end, status
            time.sleep(1)
    finally:
        end_workers(folder)
    assert status.count("Success") == len(names), status + run("dvc", "queue", "logs", names[0], cwd=folder).stdout
    assert run("git", "status", "--porcelain", cwd=folder).stdout == ""


def end_workers(folder):
    """End the queue's workers, which would otherwise wait for 10 more seconds.

    Of two that start at the same moment one may even wait for ever: Kombu then loses its address.
    """
    for path in folder.glob(".dvc/tmp/exps/celery/dvc-exp-worker-*.pid"):
        with suppress(psutil.NoSuchProcess):
            worker = psutil.Process(int(path.read_text()))
            if "queue-worker" in worker.cmdline():
                worker.terminate()
                worker.wait(SECONDS)


@pytest.fixture(scope="module")
def copy(cheap, tmp_path_factory):
    """The project with stages that take no time, which has a git remote and a DVC remote on disk."""
    base = tmp_path_factory.mktemp("experiments")
    folder = copy_project(cheap, base / "copy")
    run("git", "clone", "-q", "--bare", str(folder), str(base / "remote.git"), cwd=base)
    run("git", "remote", "set-url", "origin", str(base / "remote.git"), cwd=folder)
    run("dvc", "remote", "add", "-d", "team", str(base / "storage"), cwd=folder)
    commit(folder, "a remote")
    run("git", "push", "-q", "origin", "HEAD", cwd=folder)
    return folder


@pytest.fixture(scope="module")
def queued(copy):
    """The experiments of the documents' grid, cut to four, after the queue has worked them off."""
    names = [f"grid-{number}" for number in (1, 2, 3, 4)]
    run_queue(copy, line("dvc exp run --queue -n grid").replace("0.1,0.3,0.5", "0.1,0.3"), names)
    return names


def table(folder, *arguments) -> list[dict[str, str]]:
    """What `make experiments` shows, as rows."""
    recipe = run("make", "-n", "experiments", cwd=folder).stdout
    show = next(line for line in recipe.splitlines() if line.startswith("dvc exp show"))
    (folder / "table.csv").write_text(run("bash", "-c", f"{show} --csv", cwd=folder).stdout)
    rows = read_csv(folder / "table.csv")
    (folder / "table.csv").unlink()
    return rows


@pytest.mark.table
def test_a_queue_of_real_trainings_has_every_run_in_mlflow_once(project, tmp_path):
    """Two at the same time, which share MLflow's store and the cache of features."""
    folder = copy_project(project, tmp_path / "copy")
    identify(folder)
    set_params(folder, BRIEF)
    commit(folder, "brief")
    names = ["grid-1", "grid-2"]
    grid = line("dvc exp run --queue -n grid").replace("0.1,0.3,0.5", "0.1")
    run_queue(folder, grid, names)
    client = mlflow.MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("darkroom").experiment_id])
    runs = {item.info.run_name: item for item in runs if item.info.run_name.startswith("grid-")}
    assert sorted(runs) == names
    pairs = set()
    for name, item in runs.items():
        assert item.info.status == "FINISHED"
        assert item.data.tags["dvc_experiment"] == name
        pairs.add((item.data.params["train.head.dropout"], item.data.params["train.learning_rate"]))
        curve = [point.step for point in client.get_metric_history(item.info.run_id, "val_loss")]
        assert curve == list(range(1, int(item.data.metrics["epochs"]) + 1))
        assert {"test_accuracy", "export_bytes_onnx"} <= item.data.metrics.keys()
    assert pairs == {("0.1", "0.0003"), ("0.1", "0.001")}


def test_the_table_has_the_columns_that_differ_and_no_others(copy, queued):
    rows = {row["Experiment"]: row for row in table(copy)}
    assert set(queued) <= rows.keys()
    columns = list(rows["grid-1"])
    assert [name for name in columns if "." in name] == ["train.head.dropout", "train.learning_rate"]
    assert {"accuracy", "accuracy_low", "accuracy_high", "log_loss", "ece"} <= set(columns)
    assert len(columns) < 20, columns
    assert (rows["grid-1"]["train.head.dropout"], rows["grid-1"]["train.learning_rate"]) == ("0.1", "0.0003")


def test_plots_of_two_experiments_are_side_by_side(copy, queued):
    run("dvc", "plots", "diff", "grid-1", "grid-4", cwd=copy)
    page = (copy / "dvc_plots/index.html").read_text()
    for title, column in (("Loss", "val_loss"), ("Confusion matrix", "predicted")):
        (chart,) = [text for text in re.findall(r"var spec = (\{.*\});", page) if f'"{title}"' in text]
        values = json.loads(chart)["data"]["values"]
        assert {row["rev"] for row in values} == {"grid-1", "grid-4"}
        assert any(column in row for row in values), values[0]
    pictures = {path.name for path in (copy / "dvc_plots/static").iterdir()}
    assert {"grid-1_reports_plots_confusion.png", "grid-4_reports_plots_confusion.png"} <= pictures


def test_an_experiment_goes_to_a_colleague_who_computes_nothing(copy, queued, tmp_path):
    run("dvc", "exp", "apply", "grid-3", cwd=copy)
    assert "dropout: 0.3" in (copy / "params.yaml").read_text()
    assert repro(copy) == []
    run("dvc", "exp", "branch", "grid-3", "dropout", cwd=copy)
    assert "dropout: 0.3" in run("git", "show", "dropout:params.yaml", cwd=copy).stdout
    results = {name: (copy / name).read_bytes() for name in ("reports/metrics.json", "exports/model.onnx")}
    run("dvc", "exp", "push", "origin", "grid-3", cwd=copy)

    clone = tmp_path / "elsewhere"
    origin = run("git", "remote", "get-url", "origin", cwd=copy).stdout.strip()
    run("git", "clone", "-q", origin, str(clone), cwd=tmp_path)
    identify(clone)
    run("dvc", "exp", "pull", "origin", "grid-3", cwd=clone)
    run("dvc", "exp", "apply", "grid-3", cwd=clone)
    assert {name: (clone / name).read_bytes() for name in results} == results
    shutil.copytree(copy / "data/incoming", clone / "data/incoming", dirs_exist_ok=True)
    assert repro(clone) == []
    run("git", "checkout", "-q", "--", ".", cwd=copy)


def test_pictures_missing_in_a_temporary_folder_are_named(project, tmp_path):
    """Pictures that neither git nor DVC tracks do not reach a worker's folder."""
    folder = copy_project(project, tmp_path / "copy")
    identify(folder)
    result = run("dvc", "exp", "run", "--temp", "-n", "lacking", "-S", "train.epochs=2", cwd=folder, check=False)
    assert result.returncode != 0
    output = " ".join((result.stdout + result.stderr).split())
    assert "download.path data/incoming has no pictures" in output
    assert "name each class folder with -C when you queue" in output
