"""The command results: the last run against the record of its recipe."""

import json
import shutil
from pathlib import Path

import pytest

from darkroom.commands import results
from darkroom.core.errors import UserError
from darkroom.core.files import read_csv
from darkroom.pipeline import recipes
from tests.helpers.project import ROOT, inside, without

HEADER = ",".join(results.COLUMNS)


@pytest.fixture
def ran(project, tmp_path, monkeypatch):
    """The small project as the current folder, as if a recipe had given its model."""
    with inside(project, tmp_path / "copy", without(project, ".git", ".dvc/cache", "data", "mlartifacts")) as copy:
        shutil.copytree(ROOT / "recipes", copy / "recipes", dirs_exist_ok=True)
        (copy / "recipes/results.csv").unlink(missing_ok=True)
        recipes.write_params(recipes.merged("animals_minivgg", ["base.seed=3"]))
        yield copy


def record(low, high, seed=3, name="animals_minivgg"):
    rows = [f"{name},{seed},{(low + high) / 2},{low},{high},0.5,0.7,600,6.5,Some CPU,abc1234"]
    results.RESULTS.write_text("\n".join([HEADER, *rows]) + "\n")


def test_a_run_inside_the_recorded_interval_is_one_and_another_an_error(ran, capsys):
    accuracy = json.loads(Path("reports/metrics.json").read_text())["accuracy"]
    record(accuracy - 0.05, accuracy + 0.01)
    results.main("animals_minivgg", None, table=False)
    text = capsys.readouterr().out
    assert text.startswith(
        f"animals_minivgg, seed 3: {accuracy:.4f} on test; recorded {accuracy - 0.02:.4f}, 95 % interval"
    )
    assert text.endswith("seed 3: inside the interval\n")
    record(accuracy + 0.01, accuracy + 0.05, seed=1)
    with pytest.raises(UserError, match="seed 1: outside the interval"):
        results.main("animals_minivgg", None, table=False)


def test_what_is_recorded_is_the_run_and_the_table_shows_it(ran, capsys):
    metrics = json.loads(Path("reports/metrics.json").read_text())
    record(0.6, 0.7, seed=1)
    results.main("animals_minivgg", 4.25, table=False)
    before, row = read_csv(results.RESULTS)
    assert before["seed"] == "1"
    assert {key: float(row[key]) for key in results.FIGURES} == {key: metrics[key] for key in results.FIGURES}
    assert (row["recipe"], row["seed"], row["minutes"]) == ("animals_minivgg", "3", "4.25")
    assert row["processor"].endswith(results.INSTRUCTIONS)
    capsys.readouterr()
    results.main(None, None, table=True)
    *_, line = capsys.readouterr().out.splitlines()
    mean = (0.65 + metrics["accuracy"]) / 2
    assert f"| `animals_minivgg` | **{mean:.4f}** ({min(0.65, metrics['accuracy']):.4f} to " in line
    assert "seeds 1, 3 | 0.6000 to 0.7000; " in line


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("unknown", "there is no recipe unknown. Recipes"),
        (
            "mnist_cnn",
            "params.yaml differs from recipe mnist_cnn in download, split, .*: run make recipe NAME=mnist_cnn",
        ),
        ("animals_minivgg", "no result of recipe animals_minivgg is recorded"),
    ],
)
def test_what_cannot_be_compared_is_named(ran, name, message):
    with pytest.raises(UserError, match=message):
        results.main(name, None, table=False)


def test_figures_of_another_model_are_refused(ran):
    content = json.loads(Path("reports/metrics.json").read_text())
    Path("reports/metrics.json").write_text(json.dumps(content | {"model_sha256": "0"}))
    with pytest.raises(UserError, match="belongs to another model"):
        results.main("animals_minivgg", None, table=False)
    Path("reports/metrics.json").unlink()
    with pytest.raises(UserError, match=r"there is no reports/metrics.json yet: run make recipe NAME=animals_minivgg"):
        results.main("animals_minivgg", None, table=False)


def test_the_readme_shows_the_record(capsys, monkeypatch):
    """As the command prints it; every recipe is in the table or named as not measured."""
    monkeypatch.chdir(ROOT)
    results.main(None, None, table=True)
    text = (ROOT / "recipes/README.md").read_text()
    assert capsys.readouterr().out in text
    assert all(f"`{name}`" in text for name in recipes.names())
