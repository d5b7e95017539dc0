"""Is B better than A: the figures by hand and from the literature, and every place that predictions are read from."""

import csv
import math
import shutil
from pathlib import Path

import mlflow
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.commands.compare import command as compare
from darkroom.commands.compare import paired
from darkroom.commands.compare.paired import Paired
from darkroom.commands.compare.predictions import read
from darkroom.core.errors import UserError
from tests.helpers.project import commit, run, set_param

HEADER = ("path", "label", "predicted", "probability", "label_probability")


def predictions(path, rows):
    """Write a predictions.csv of (path, label, predicted, probability of the label)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(HEADER)
        writer.writerows((name, label, said, "0.9", given) for name, label, said, given in rows)
    return path


def many(right, count=40, probability="0.8"):
    """Pictures of cats, of which all those are taken for cats whose number is in `right`."""
    return [(f"test/cat/{i:02}.png", "cat", "cat" if i in right else "dog", probability) for i in range(count)]


@pytest.mark.parametrize(
    ("cells", "low", "high"),
    [
        # Fagerland, Lydersen and Laake, "Statistical Analysis of Contingency Tables" (2017), chapter 8, and their R
        # package contingencytables: responses of Cavo et al. (2012), airways of Bentur et al. (2009).
        ((59, 16, 6, 80), -0.1186, -0.0046),
        ((1, 7, 1, 12), -0.5069, -0.0256),
    ],
)
def test_the_interval_of_the_difference_is_the_published_one(cells, low, high):
    difference = Paired(*cells).difference
    assert (round(difference.low, 4), round(difference.high, 4)) == (low, high)


def test_mcnemars_exact_test_by_hand():
    """Six pictures on which one alone is right, one of them the first: 2 * (1 + 6) / 2**6."""
    assert Paired(50, 1, 5, 3).p == Paired(0, 5, 1, 0).p == pytest.approx(2 * 7 / 64)
    assert Paired(50, 0, 0, 3).p == 1


counts = st.integers(0, 300)


@given(st.tuples(counts, counts, counts, counts).filter(any))
def test_exchanging_the_models_mirrors_everything(cells):
    both, first, second, neither = cells
    one, other = Paired(both, first, second, neither), Paired(both, second, first, neither)
    assert one.p == other.p
    assert one.first == other.second
    assert one.difference.value == -other.difference.value
    assert one.difference.low == pytest.approx(-other.difference.high)
    assert -1 - 1e-9 <= one.difference.low <= one.difference.value <= one.difference.high <= 1 + 1e-9


def test_pairs_are_counted():
    first, second = np.array([1, 1, 1, 0, 0, 0], bool), np.array([1, 1, 0, 1, 1, 0], bool)
    assert Paired.of(first, second) == Paired(2, 1, 2, 1)


def test_students_paired_interval_by_hand():
    """Differences 1, 2, 3: mean 2, standard error 1 / sqrt(3); 4.302653 is Student's t of two degrees of freedom."""
    interval = paired.mean_difference(np.array([5.0, 1.0, 0.0]), np.array([6.0, 3.0, 3.0]))
    assert interval == pytest.approx((2, 2 - 4.302653 / math.sqrt(3), 2 + 4.302653 / math.sqrt(3)))


def test_the_log_loss_of_a_probability_that_was_rounded_to_nothing_is_finite():
    assert paired.losses(np.array([1.0, 0.5, 0.0])) == pytest.approx([0, math.log(2), math.log(2e6)])


@pytest.mark.parametrize(
    ("a", "b", "last"),
    [
        (range(20), range(40), "B is better than A (p = 1.9e-06)."),
        (range(40), range(20), "B is worse than A (p = 1.9e-06)."),
        (range(20), range(1, 22), "No difference that could not be chance (p = 1)."),
        (range(20), range(20), "A and B say the same of every picture."),
    ],
)
def test_the_last_line_says_it_in_plain_words(tmp_path, capsys, a, b, last):
    compare.main(str(predictions(tmp_path / "a.csv", many(a))), str(predictions(tmp_path / "b.csv", many(b))), 20, None)
    assert capsys.readouterr().out.splitlines()[-1] == last


def test_figures_and_the_pictures_on_which_they_differ(tmp_path, capsys):
    rows = many(range(30), probability="0.5")
    a = predictions(tmp_path / "a.csv", rows)
    b = predictions(tmp_path / "b.csv", [*reversed(rows[3:]), *[(*row[:2], "dog", "0.25") for row in rows[:3]]])
    compare.main(str(a), str(b), 2, tmp_path / "out.csv")
    said = capsys.readouterr().out
    assert "on the same 40 test pictures" in said
    assert "accuracy of A          0.7500, 95 % interval" in said
    assert "accuracy of B          0.6750, 95 % interval" in said
    assert "B - A                  -0.0750, 95 % interval" in said
    assert "McNemar's p = 0.25" in said
    assert f"log loss of A          {math.log(2):.4f}" in said
    assert f"log loss of B          {math.log(2) * (37 + 3 * 2) / 40:.4f}" in said
    assert "different answers      3: A alone is right on 3, B alone on 0, neither on 0" in said
    assert [line for line in said.splitlines() if line.startswith("test/")] == [
        "test/cat/00.png  cat    cat     dog",
        "test/cat/01.png  cat    cat     dog",
    ]
    assert "… and 1 more" in said
    assert (tmp_path / "out.csv").read_text().splitlines() == [
        "path,label,a,b",
        *[f"test/cat/0{i}.png,cat,cat,dog" for i in range(3)],
    ]


def test_older_predictions_have_no_log_loss(tmp_path, capsys):
    path = predictions(tmp_path / "a.csv", many(range(3)))
    older = tmp_path / "older.csv"
    older.write_text("".join(line.rsplit(",", 1)[0] + "\n" for line in path.read_text().splitlines()))
    compare.main(str(path), str(older), 20, None)
    said = capsys.readouterr().out
    assert "accuracy of B" in said
    assert "log loss" not in said


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
    for key, value in (("user.name", "Test"), ("user.email", "test@localhost")):
        run("git", "config", key, value, cwd=folder)
    run("dvc", "init", "-q", cwd=folder)
    (folder / "dvc.yaml").write_text(
        "stages:\n  evaluate:\n    cmd: cp ${from} reports/predictions.csv\n"
        "    deps: ['${from}']\n    outs: [reports/predictions.csv]\n"
    )
    for right in (10, 20, 30):
        predictions(folder / f"{right}.csv", many(range(right)))
    (folder / "reports").mkdir()
    for right in (10, 20):
        (folder / "params.yaml").write_text(f"from: {right}.csv\n")
        run("dvc", "repro", "-q", cwd=folder)
        commit(folder, f"{right} are right")
        run("git", "tag", f"right-{right}", cwd=folder)
    run("dvc", "exp", "run", "-q", "-n", "try", "-S", "from=30.csv", cwd=folder)
    return folder


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
        ("nowhere", "nowhere is no git revision or experiment, run id, model in MLflow, file, or `workspace`"),
        ("nowhere.csv", r"there is no nowhere\.csv"),
        ("params.yaml", r"params\.yaml: these are no predictions with the columns label, path, predicted"),
    ],
)
def test_what_is_not_there_is_named(repository, source, sentence):
    with pytest.raises(UserError, match=sentence):
        read(source)


def test_a_binary_file_is_no_predictions(tmp_path):
    model = tmp_path / "model.onnx"
    for content in (b"\x08\x07\xff\xfe\x80", b"a\rb\n" * 3):
        model.write_bytes(content)
        with pytest.raises(UserError, match=r"model\.onnx: these are no predictions with the columns"):
            read(str(model))


def test_two_heads_of_the_project(project, tmp_path, monkeypatch, capsys):
    """The first run by its commit and by its run in MLflow, another head in the workspace."""
    folder = tmp_path / "copy"
    shutil.copytree(project, folder, symlinks=True)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    first = Path("reports/predictions.csv").read_text()
    for key, value in (("train.head.type", "logistic"), ("evaluate.grad_cam", 0), ("evaluate.label_issues", 0)):
        set_param(folder, key, value)
    run("dvc", "repro", "evaluate", cwd=folder)
    assert Path("reports/predictions.csv").read_text() != first

    client = mlflow.MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    new, old = client.search_runs(
        [client.get_experiment_by_name("darkroom").experiment_id], order_by=["attributes.start_time DESC"]
    )
    assert read("workspace") == read(new.info.run_id) != read("HEAD")
    assert read("HEAD") == read(old.info.run_id)
    said = run("python", "-m", "stages.compare", "HEAD", "workspace", "--list", "1", cwd=folder).stdout
    for letter, run_ in (("A", old), ("B", new)):
        assert f"accuracy of {letter}          {run_.data.metrics['test_accuracy']:.4f}, 95 %" in said
        loss = float(said.split(f"log loss of {letter}")[1].split()[0])
        assert loss == pytest.approx(run_.data.metrics["test_log_loss"], abs=2e-3)
    with pytest.raises(UserError, match=r"has no run 0{32}"):
        read("0" * 32)
    with pytest.raises(UserError, match="models:/nobody@champion cannot be read from MLflow"):
        read("models:/nobody@champion")
    mlflow.set_tracking_uri(None)
