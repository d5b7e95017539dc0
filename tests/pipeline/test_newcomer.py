"""A newcomer's afternoon from a fresh clone: own pictures, more of them, two runs compared, a colleague."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from tests.helpers.pictures import save
from tests.helpers.project import ROOT, clone, run
from tests.helpers.servers import page_of_mlflow

pytestmark = pytest.mark.full

KINDS, PICTURES, MORE = 3, 40, 4


def digits(folder: Path, first: int, count: int) -> None:
    """Class folders of handwritten digits, which no other test and no setting has seen; real ones, but small."""
    found = load_digits()
    for number in range(KINDS):
        for place in np.flatnonzero(found.target == number)[first : first + count]:
            large = np.kron(found.images[place] / 16 * 255, np.ones((8, 8))).astype(np.uint8)
            save(folder / f"digit {number}" / f"{place}.png", large)


def environment(folder: Path) -> None:
    """What the README's set-up makes, from the packages that these tests run with, so that nothing is fetched anew."""
    run(sys.executable, "-m", "venv", "--without-pip", ".venv", cwd=folder)
    (site,) = (folder / ".venv/lib").glob("python*/site-packages")
    (site / "shared.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
    for program in Path(sys.executable).parent.iterdir():
        if not (folder / ".venv/bin" / program.name).exists():
            (folder / ".venv/bin" / program.name).symlink_to(program)
    (folder / ".venv/installed").touch()


@pytest.fixture(scope="module")
def afternoon(tmp_path_factory):
    """The folder in which tests/newcomer.sh worked, the colleague's, and what was printed."""
    base = tmp_path_factory.mktemp("afternoon")
    digits(base / "pictures", 0, PICTURES)
    digits(base / "more", PICTURES, MORE)
    folder, other = clone(base / "darkroom"), base / "elsewhere"
    environment(folder)
    for key, value in (("user.name", "Ada"), ("user.email", "ada@localhost")):
        run("git", "config", key, value, cwd=folder)
    (base / "share").mkdir()
    script = ROOT / "tests/newcomer.sh"
    places = (base / "pictures", base / "more", base / "share", other)
    return folder, other, run("bash", str(script), *map(str, places), cwd=folder).stdout


def test_the_pictures_that_came_later_are_noticed_and_named(afternoon):
    folder, _, said = afternoon
    assert json.loads((folder / "reports/dataset.json").read_text())["found"] == KINDS * (PICTURES + MORE)
    counts = next(line for line in said.splitlines() if line.startswith("added "))
    assert counts.split() == ["added", str(KINDS * MORE)]


def test_the_model_is_good_and_the_better_one_is_told(afternoon):
    folder, _, said = afternoon
    assert json.loads((folder / "reports/metrics.json").read_text())["accuracy"] > 0.8
    assert "trees" in said
    verdicts = ("B is ", "No difference", "A and B say the same")
    assert any(line.startswith(verdicts) for line in said.splitlines())


def test_the_export_knows_pictures_that_it_has_never_seen(afternoon, tmp_path):
    folder, _, _ = afternoon
    digits(tmp_path, PICTURES + MORE, 10)
    done = run("python", "-m", "stages.predict", str(tmp_path), "--format", "json", cwd=folder)
    answers = json.loads(done.stdout)
    assert len(answers) == KINDS * 10
    right = [Path(answer["path"]).parent.name == answer["label"] for answer in answers]
    assert np.mean(right) > 0.8


def test_the_colleague_has_everything_and_computes_nothing(afternoon):
    folder, other, said = afternoon
    assert said.rstrip().endswith("Data and pipelines are up to date.")
    for name in ("exports/model.onnx", "reports/report.html", "data/features/train.csv", "data/pictures.dvc"):
        assert (other / name).read_bytes() == (folder / name).read_bytes()


def test_the_runs_are_side_by_side_in_a_browser(afternoon, window):
    from playwright.sync_api import expect

    folder, _, said = afternoon
    link = [line.split()[-1] for line in said.splitlines() if line.startswith("Compare runs")][-1]
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
