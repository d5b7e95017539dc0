"""DVC's experiments as the README has them: a queue of many, a table of them, and what becomes of one elsewhere."""

import json
import re
import shutil
import time

import mlflow
import pytest

from darkroom.core.files import read_csv
from tests.helpers.project import ROOT, commit, repro, run

pytestmark = pytest.mark.full

README = (ROOT / "README.md").read_text()
SECONDS = 900


@pytest.fixture(scope="module")
def copy(project, tmp_path_factory):
    """The small project; git knows whose experiments they are, and has a remote on disk."""
    base = tmp_path_factory.mktemp("experiments")
    folder = shutil.copytree(project, base / "copy", symlinks=True)
    for key, value in (("user.name", "Test"), ("user.email", "test@localhost")):
        run("git", "config", key, value, cwd=folder)
    run("git", "clone", "-q", "--bare", str(folder), str(base / "remote.git"), cwd=base)
    run("git", "remote", "set-url", "origin", str(base / "remote.git"), cwd=folder)
    run("dvc", "remote", "add", "-d", "team", str(base / "storage"), cwd=folder)
    commit(folder, "a remote")
    run("git", "push", "-q", "origin", "HEAD", cwd=folder)
    return folder


@pytest.fixture(scope="module")
def queued(copy):
    """The experiments of the README's grid, cut to four, after the queue has worked them off two at a time."""
    grid = next(line for line in README.splitlines() if line.startswith("dvc exp run --queue -n grid"))
    grid = grid.replace("0.1,0.3,0.5", "0.1,0.3")
    start = next(line.partition("#")[0] for line in README.splitlines() if line.startswith("dvc queue start"))
    pictures = re.search(r"`dvc exp run --queue (\$\(.*\)) …`", README).group(1)
    run("bash", "-c", grid.replace("--queue", f"--queue {pictures}"), cwd=copy)
    run("bash", "-c", start, cwd=copy)
    end = time.monotonic() + SECONDS
    while re.search("Queued|Running", said := run("dvc", "queue", "status", cwd=copy).stdout):
        assert time.monotonic() < end, said
        time.sleep(3)
    names = [f"grid-{number}" for number in (1, 2, 3, 4)]
    assert said.count("Success") == len(names), said + run("dvc", "queue", "logs", "grid-1", cwd=copy).stdout
    return names


def table(folder, *arguments) -> list[dict[str, str]]:
    """What `make experiments` shows, as rows."""
    said = run("make", "-n", "experiments", cwd=folder).stdout
    command = next(line for line in said.splitlines() if line.startswith("dvc exp show"))
    (folder / "table.csv").write_text(run("bash", "-c", f"{command} --csv", cwd=folder).stdout)
    rows = read_csv(folder / "table.csv")
    (folder / "table.csv").unlink()
    return rows


def test_a_queue_of_a_grid_runs_to_the_end_with_every_run_in_mlflow_once(copy, queued):
    client = mlflow.MlflowClient(f"sqlite:///{copy / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("darkroom").experiment_id])
    assert sorted(item.info.run_name for item in runs if item.info.run_name.startswith("grid-")) == queued
    pairs = set()
    for item in runs:
        if item.info.run_name not in queued:
            continue
        assert item.info.status == "FINISHED"
        assert item.data.tags["dvc_experiment"] == item.info.run_name
        pairs.add((item.data.params["train.head.dropout"], item.data.params["train.learning_rate"]))
        curve = [point.step for point in client.get_metric_history(item.info.run_id, "val_loss")]
        assert curve == list(range(1, int(item.data.metrics["epochs"]) + 1))
        assert {"test_accuracy", "export_bytes_onnx"} <= item.data.metrics.keys()
    assert pairs == {(a, b) for a in ("0.1", "0.3") for b in ("0.0003", "0.001")}
    assert run("git", "status", "--porcelain", cwd=copy).stdout == ""


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
        said = json.loads(chart)
        values = said["data"]["values"]
        assert {row["rev"] for row in values} == {"grid-1", "grid-4"}
        assert any(column in row for row in values), values[0]
    shown = {path.name for path in (copy / "dvc_plots/static").iterdir()}
    assert {"grid-1_reports_plots_confusion.png", "grid-4_reports_plots_confusion.png"} <= shown


def test_an_experiment_goes_to_a_colleague_who_computes_nothing(copy, queued, tmp_path):
    run("dvc", "exp", "apply", "grid-3", cwd=copy)
    assert "dropout: 0.3" in (copy / "params.yaml").read_text()
    assert repro(copy) == []
    run("dvc", "exp", "branch", "grid-3", "dropout", cwd=copy)
    assert "dropout: 0.3" in run("git", "show", "dropout:params.yaml", cwd=copy).stdout
    wanted = {name: (copy / name).read_bytes() for name in ("reports/metrics.json", "exports/model.onnx")}
    run("dvc", "exp", "push", "origin", "grid-3", cwd=copy)

    other = tmp_path / "elsewhere"
    origin = run("git", "remote", "get-url", "origin", cwd=copy).stdout.strip()
    run("git", "clone", "-q", origin, str(other), cwd=tmp_path)
    for key, value in (("user.name", "Other"), ("user.email", "other@localhost")):
        run("git", "config", key, value, cwd=other)
    run("dvc", "exp", "pull", "origin", "grid-3", cwd=other)
    run("dvc", "exp", "apply", "grid-3", cwd=other)
    assert {name: (other / name).read_bytes() for name in wanted} == wanted
    shutil.copytree(copy / "data/incoming", other / "data/incoming", dirs_exist_ok=True)
    assert repro(other) == []
    run("git", "checkout", "-q", "--", ".", cwd=copy)


def test_what_a_queue_lacks_is_said(copy):
    """Pictures that neither git nor DVC knows are not in a worker's folder."""
    done = run("dvc", "exp", "run", "--temp", "-n", "lacking", "-S", "train.epochs=2", cwd=copy, check=False)
    assert done.returncode != 0
    said = " ".join((done.stdout + done.stderr).split())
    assert "data/incoming holds no class folders" in said
    assert "name each class folder by -C when you queue" in said
