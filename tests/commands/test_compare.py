"""Is B better than A: what is printed, and every place that predictions are read from."""

import csv
import json
import math
import shutil

import mlflow
import numpy as np
import pytest

from darkroom.commands.compare import command as compare
from darkroom.commands.compare.predictions import read
from darkroom.core.errors import UserError
from darkroom.core.files import read_csv, write_csv
from darkroom.core.paths import GROUPS, METRICS, PREDICTIONS
from darkroom.tracking import pipeline_log
from tests.helpers.project import ROOT, commit, identify, inside, run, without

HEADER = ("path", "label", "predicted", "probability", "label_probability")


def predictions(path, rows):
    """Write a predictions.csv of (path, label, predicted, probability of the label)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(HEADER)
        writer.writerows((name, label, predicted, "0.9", given) for name, label, predicted, given in rows)
    return path


def many(right, count=40, probability="0.8"):
    """Pictures of cats, of which all those are taken for cats whose number is in `right`."""
    return [(f"test/cat/{i:02}.png", "cat", "cat" if i in right else "dog", probability) for i in range(count)]


@pytest.mark.parametrize(
    ("a", "b", "last"),
    [
        (range(20), range(40), "B is better than A (p = 1.9e-06)."),
        (range(40), range(20), "B is worse than A (p = 1.9e-06)."),
        (range(20), range(1, 22), "No significant difference (p = 1)."),
        (range(20), range(20), "The predictions of A and B are the same."),
    ],
)
def test_the_last_line_is_the_conclusion(tmp_path, capsys, a, b, last):
    compare.main(str(predictions(tmp_path / "a.csv", many(a))), str(predictions(tmp_path / "b.csv", many(b))), 20, None)
    assert capsys.readouterr().out.splitlines()[-1] == last


def test_figures_and_the_pictures_on_which_they_differ(tmp_path, capsys):
    rows = many(range(30), probability="0.5")
    a = predictions(tmp_path / "a.csv", rows)
    b = predictions(tmp_path / "b.csv", [*reversed(rows[3:]), *[(*row[:2], "dog", "0.25") for row in rows[:3]]])
    compare.main(str(a), str(b), 2, tmp_path / "out.csv")
    output = capsys.readouterr().out
    assert "on the same 40 test pictures" in output
    assert "accuracy of A          0.7500, 95 % interval" in output
    assert "accuracy of B          0.6750, 95 % interval" in output
    assert "B - A                  -0.0750, 95 % interval" in output
    assert "McNemar's p = 0.25" in output
    assert f"log loss of A          {math.log(2):.4f}" in output
    assert f"log loss of B          {math.log(2) * (37 + 3 * 2) / 40:.4f}" in output
    assert "different predictions  3: only A is right on 3, only B on 0, neither on 0" in output
    assert [line for line in output.splitlines() if line.startswith("test/")] == [
        "test/cat/00.png  cat    cat         dog",
        "test/cat/01.png  cat    cat         dog",
    ]
    assert "… and 1 more" in output
    assert (tmp_path / "out.csv").read_text().splitlines() == [
        "path,label,a,b",
        *[f"test/cat/0{i}.png,cat,cat,dog" for i in range(3)],
    ]


def test_older_predictions_have_no_log_loss(tmp_path, capsys):
    path = predictions(tmp_path / "a.csv", many(range(3)))
    older = tmp_path / "older.csv"
    older.write_text("".join(line.rsplit(",", 1)[0] + "\n" for line in path.read_text().splitlines()))
    compare.main(str(path), str(older), 20, None)
    output = capsys.readouterr().out
    assert "accuracy of B" in output
    assert "log loss" not in output


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda rows: rows[2:], "2 of .*a.csv's 40 pictures are not in .*b.csv, such as test/cat/00.png"),
        (lambda rows: [*rows, ("test/cat/x.png", "cat", "cat", "1")], "1 of .*b.csv's 41 .* not in .*a.csv, .*/x.png"),
        (
            lambda rows: [(path, "dog", *rest) for path, _, *rest in rows],
            "40 labels differ, such as that of test/cat/00.png, cat in .*a.csv and dog in .*b.csv",
        ),
    ],
)
def test_another_test_set_is_refused(tmp_path, change, sentence):
    a = predictions(tmp_path / "a.csv", many(range(20)))
    b = predictions(tmp_path / "b.csv", change(many(range(20))))
    with pytest.raises(UserError, match=f"these are different test sets: {sentence}"):
        compare.main(str(a), str(b), 20, None)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A git repository whose DVC pipeline makes predictions; two commits with tags, and an experiment."""
    folder = tmp_path_factory.mktemp("repository")
    run("git", "init", "-q", cwd=folder)
    identify(folder)
    (folder / "dvc.yaml").write_text(
        "stages:\n  evaluate:\n    cmd: cp ${from} reports/predictions.csv\n"
        "    deps: ['${from}']\n    outs: [reports/predictions.csv]\n"
    )
    for right in (10, 20, 30):
        predictions(folder / f"{right}.csv", many(range(right)))
    (folder / "reports").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        dvc("init", "-q")
        for right in (10, 20):
            (folder / "params.yaml").write_text(f"from: {right}.csv\n")
            dvc("repro", "-q")
            commit(folder, f"{right} are right")
            run("git", "tag", f"right-{right}", cwd=folder)
        dvc("exp", "run", "-q", "-n", "try", "-S", "from=30.csv")
    return folder


def dvc(*words):
    """Run a DVC command in this process."""
    from dvc.cli import main

    assert main(list(words)) == 0


@pytest.fixture
def repository(built, tmp_path, monkeypatch):
    """A copy of it as the current folder."""
    folder = tmp_path / "repository"
    shutil.copytree(built, folder, symlinks=True)
    monkeypatch.chdir(folder)
    return folder


def test_git_revisions_and_experiments_are_read_from_dvcs_cache(repository):
    shutil.rmtree("reports")  # only the cache has them
    for source, right in (("right-10", 10), ("HEAD~1", 10), ("HEAD", 20), ("try", 30)):
        rows = read(source)
        assert [row["predicted"] for row in rows.values()] == ["cat"] * right + ["dog"] * (40 - right), source
    shutil.rmtree(".dvc/cache")
    with pytest.raises(UserError, match=r"HEAD has no reports/predictions\.csv here .*: `dvc fetch`"):
        read("HEAD")


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("nowhere", "nowhere is not a git revision or experiment, run id, model in MLflow, file, or `workspace`"),
        ("nowhere.csv", r"there is no nowhere\.csv"),
        ("params.yaml", r"params\.yaml holds no predictions with the columns label, path, predicted"),
    ],
)
def test_what_is_not_there_is_named(repository, source, sentence):
    with pytest.raises(UserError, match=sentence):
        read(source)


def test_a_binary_file_is_no_predictions(tmp_path):
    model = tmp_path / "model.onnx"
    for content in (b"\x08\x07\xff\xfe\x80", b"a\rb\n" * 3):
        model.write_bytes(content)
        with pytest.raises(UserError, match=r"model\.onnx holds no predictions with the columns"):
            read(str(model))


def test_two_evaluations_of_the_project(project, tmp_path, capsys):
    """The first by its commit and by its run in MLflow, another one in the workspace."""
    with inside(project, tmp_path / "copy", without(project, ".cache", "data")) as folder:
        client = mlflow.MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
        experiments = [client.get_experiment_by_name("darkroom").experiment_id]
        (old,) = client.search_runs(experiments)
        rows = read_csv(PREDICTIONS)
        wrong = [row for row in rows if row["predicted"] != row["label"]]
        for row in wrong[:3]:
            row["predicted"] = row["label"]
        write_csv(PREDICTIONS, list(rows[0]), [row.values() for row in rows])
        accuracy = np.mean([row["predicted"] == row["label"] for row in rows])
        METRICS.write_text(json.dumps(json.loads(METRICS.read_text()) | {"accuracy": accuracy}))
        pipeline_log.log_evaluation()
        new, _ = client.search_runs(experiments, order_by=["attributes.start_time DESC"])

        assert read("workspace") == read(new.info.run_id) != read("HEAD")
        assert read("HEAD") == read(old.info.run_id)
        compare.main("HEAD", "workspace", 1, None)
        output = capsys.readouterr().out
        for letter, logged in (("A", old.data.metrics), ("B", new.data.metrics)):
            assert f"accuracy of {letter}          {logged['test_accuracy']:.4f}, 95 %" in output
            log_loss = float(output.split(f"log loss of {letter}")[1].split()[0])
            assert log_loss == pytest.approx(logged["test_log_loss"], abs=2e-3)
        with pytest.raises(UserError, match=r"has no run 0{32}"):
            read("0" * 32)
        with pytest.raises(UserError, match="models:/nobody@champion cannot be read from MLflow"):
            read("models:/nobody@champion")


def test_the_command_exits_with_1_and_a_sentence(tmp_path):
    done = run("python", "-m", "darkroom", "compare", "a.csv", "b.csv", cwd=ROOT, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("compare: there is no a.csv: run `dvc repro evaluate`")
    done = run("python", "-m", "darkroom", "compare", "a.csv", "b.csv", "--list", "-1", cwd=ROOT, check=False)
    assert done.stderr == "compare: --list is -1, but must be 0 or more.\n"


def decided(folder, *rows):
    """What this workspace's last run was told about labels."""
    write_csv(folder / GROUPS, ("picture", "decision", "source"), rows)


def test_after_decisions_both_are_measured_by_the_same_labels(workspace, capsys):
    """Of four pictures one gets another label and one is dropped: the earlier model is measured anew."""
    predicted = ["cat", "cat", "cat", "dog"]
    before = [(f"data/split/test/cat/{i}.png", "cat", label, "0.5") for i, label in enumerate(predicted)]
    after = [
        ("data/split/test/cat/0.png", "cat", "cat", "0.9"),
        ("data/split/test/cat/1.png", "cat", "cat", "0.9"),
        ("data/split/test/dog/3__cat.png", "dog", "dog", "0.9"),
    ]
    a, b = predictions(workspace / "a.csv", before), predictions(workspace / "b.csv", after)
    rows = [("train/dog/3__cat.png", "relabel", "train/cat/3.png"), ("train/cat/2.png", "drop", "")]
    decided(workspace, *rows, ("train/dog/9__cat.png", "relabel", "train/cat/9.png"))
    with pytest.raises(UserError, match=r"different test sets.*--corrected measures both by their decisions"):
        compare.main(str(a), str(b), 20, None)
    compare.main(str(a), str(b), 20, None, corrected=True)
    output = capsys.readouterr().out
    assert "on the same 3 test pictures" in output
    assert "accuracy of A          1.0000" in output
    assert "accuracy of B          1.0000" in output
    assert "log loss" not in output  # nobody knows what A gave the new label
    assert output.endswith("The predictions of A and B are the same.\n")


def test_without_decisions_corrected_changes_nothing(workspace, capsys):
    a = predictions(workspace / "a.csv", many(range(30)))
    b = predictions(workspace / "b.csv", many(range(20)))
    decided(workspace)
    compare.main(str(a), str(b), 20, None)
    plain = capsys.readouterr().out
    compare.main(str(a), str(b), 20, None, corrected=True)
    assert capsys.readouterr().out == plain
    assert "log loss" in plain
