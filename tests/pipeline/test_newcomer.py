"""A newcomer's first hours from a fresh clone: own pictures, more of them, two runs compared, a colleague."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from darkroom.core.files import read_csv
from darkroom.core.yaml import read_yaml
from tests.helpers.once import made_once
from tests.helpers.pictures import save
from tests.helpers.project import ROOT, clone, run
from tests.helpers.servers import page_of_mlflow
from tests.helpers.tracking import runs

pytestmark = pytest.mark.full

CLASSES, PICTURES, MORE = 3, 60, 4


def digits(folder: Path, first: int, count: int) -> None:
    """Class folders of real handwritten digits, which no other test and no default was chosen on."""
    data = load_digits()
    for number in range(CLASSES):
        for row in np.flatnonzero(data.target == number)[first : first + count]:
            large = np.kron(data.images[row] / 16 * 255, np.ones((8, 8))).astype(np.uint8)
            save(folder / f"digit {number}" / f"{row}.png", large)


def environment(folder: Path) -> None:
    """Make the project's environment of the packages that these tests run with, so that nothing is downloaded."""
    run(sys.executable, "-m", "venv", "--without-pip", ".venv", cwd=folder)
    (site,) = (folder / ".venv/lib").glob("python*/site-packages")
    (site / "shared.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
    for program in Path(sys.executable).parent.iterdir():
        if not (folder / ".venv/bin" / program.name).exists():
            (folder / ".venv/bin" / program.name).symlink_to(program)
    (folder / ".venv/installed").touch()


@pytest.fixture(scope="session")
def afternoon(tmp_path_factory):
    """The folder in which newcomer.sh worked, the colleague's folder, and what was printed."""

    def make(base):
        digits(base / "pictures", 0, PICTURES)
        min((base / "pictures/digit 0").iterdir()).rename(base / "pictures/digit 1/wrong.png")
        digits(base / "more", PICTURES, MORE)
        folder = clone(base / "darkroom")
        environment(folder)
        for key, value in (("user.name", "Ada"), ("user.email", "ada@localhost")):
            run("git", "config", key, value, cwd=folder)
        (base / "share").mkdir()
        script = ROOT / "tests/pipeline/newcomer.sh"
        arguments = (base / "pictures", base / "more", base / "share", base / "elsewhere")
        (base / "output").write_text(run("bash", str(script), *map(str, arguments), cwd=folder).stdout)

    base = made_once(tmp_path_factory, "afternoon", make)
    return base / "darkroom", base / "elsewhere", (base / "output").read_text()


def test_later_pictures_are_noticed_and_listed(afternoon):
    folder, _, output = afternoon
    assert json.loads((folder / "reports/dataset.json").read_text())["found"] == CLASSES * (PICTURES + MORE)
    counts = next(line for line in output.splitlines() if line.startswith("added "))
    assert counts.split() == ["added", str(CLASSES * MORE)]


def test_all_who_name_the_data_agree(afternoon):
    """DVC, datadiff, the model card and MLflow, on the pictures that were added and the label that was corrected."""
    folder, _, output = afternoon
    status = json.loads((folder.parent / "share/status.json").read_text())["committed"]
    rows = read_csv(folder.parent / "share/changes.csv")
    in_raw = {kind: [item for item in status[kind] if "data/raw/" in str(item)] for kind in ("added", "renamed")}
    added = [row["path_b"] for row in rows if row["change"] == "added"]
    assert sorted(in_raw["added"]) == sorted(f"data/raw/train/{path}" for path in added)
    (renamed,) = in_raw["renamed"]
    (row,) = [row for row in rows if "label changed" in row["change"]]
    assert [row["path_a"], row["path_b"]] == [renamed[side].removeprefix("data/raw/train/") for side in ("old", "new")]
    locked = read_yaml(folder / "dvc.lock")["stages"]
    card = (folder / "exports/MODEL_CARD.md").read_text()
    for stage, name in (("download", "raw"), ("split", "split")):
        md5 = next(out["md5"] for out in locked[stage]["outs"] if out["path"] == f"data/{name}")
        assert md5 in output
        assert f"`{md5}` for data/{name}" in card
        assert md5 in {run.data.tags[f"data.{name}.md5"] for run in runs(folder, "training")}
    assert f"git log -S {md5} dvc.lock" in card


def test_the_model_is_good_and_compared_with_another(afternoon):
    folder, _, output = afternoon
    assert json.loads((folder / "reports/metrics.json").read_text())["accuracy"] > 0.8
    assert "trees" in output
    verdicts = ("No significant difference", "B is better", "B is worse", "The predictions of A and B are the same")
    assert any(line.startswith(verdicts) for line in output.splitlines())


def test_the_exported_model_is_right_about_new_pictures(afternoon, tmp_path):
    folder, _, _ = afternoon
    digits(tmp_path, PICTURES + MORE, 10)
    result = run("python", "-m", "darkroom", "predict", str(tmp_path), "--format", "json", cwd=folder)
    answers = json.loads(result.stdout)
    assert len(answers) == CLASSES * 10
    right = [Path(answer["path"]).parent.name == answer["label"] for answer in answers]
    assert np.mean(right) > 0.8


def test_the_colleague_has_everything_and_computes_nothing(afternoon):
    folder, colleague, output = afternoon
    assert output.rstrip().endswith("Data and pipelines are up to date.")
    for name in ("exports/model.onnx", "reports/report.html", "data/features/train.csv", "data/pictures.dvc"):
        assert (colleague / name).read_bytes() == (folder / name).read_bytes()


def test_the_runs_are_side_by_side_in_a_browser(afternoon, window):
    from playwright.sync_api import expect

    folder, _, output = afternoon
    link = [line.split()[-1] for line in output.splitlines() if line.startswith("Compare runs")][-1]
    expect.set_options(timeout=40_000)  # the page is large, and may share two cores
    with page_of_mlflow(folder) as address:
        page, _, _ = window(1800)
        page.goto(link.replace("http://127.0.0.1:5000", address))
        expect(page.get_by_text("VGG16 block5_pool + rbf_svm", exact=True)).to_have_count(2)
        expect(page.get_by_text("trees", exact=True)).to_be_visible()
        page.screenshot(path=folder.parent / "table.png")
        page.goto("about:blank")
        page.goto(f"{link.replace('http://127.0.0.1:5000', address)}&compareRunsMode=CHART")
        expect(page.get_by_text("val_loss", exact=True)).to_be_visible()
        expect(page.locator(".js-plotly-plot .scatterlayer .trace path.js-line").first).to_be_attached()
        page.screenshot(path=folder.parent / "curves.png")
