"""The notebooks: without outputs in git, and each runs from its first cell to its last."""

import os
import re

import nbformat
import pytest
from nbclient import NotebookClient

from darkroom.core.files import read_json
from tests.helpers import small_recipes
from tests.helpers.project import ROOT, clone, identify, set_params

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
BRIEF = {"evaluate.bootstrap": 100, "evaluate.grad_cam": 2, "export.formats": ["onnx"], "export.check_pictures": 5}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_they_are_valid_and_have_no_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(cells) >= 5
    assert all(cell.outputs == [] and cell.execution_count is None for cell in cells)
    assert notebook.cells[0].source.startswith("# ")


def executed(notebook, folder):
    """The code cells of a notebook that ran in a project, and what each printed."""
    resources = {"metadata": {"path": str(folder / "notebooks")}}
    NotebookClient(notebook, timeout=900, resources=resources, env=dict(os.environ)).execute()
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return code, ["".join(output.get("text", "") for output in cell.outputs) for cell in code]


@pytest.mark.full
def test_the_first_hour_runs(copy, monkeypatch):
    """In a small project with pictures of its own, from `inspect` to a prediction."""
    set_params(copy, BRIEF)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    code, texts = executed(nbformat.read(copy / "notebooks/first_hour.ipynb", as_version=4), copy)
    assert "params.yaml is changed. Next: make run" in texts[1]
    assert "reports/report.html" in texts[2]
    assert "Next steps" in code[3].outputs[0].data["text/html"]
    assert "labels look wrong" in texts[4]
    assert re.search(r"(better|worse) than A|No significant difference|are the same", texts[6])
    assert len(re.findall(r"data/split/test/.*\.png", texts[7])) == 3
    assert read_json(copy / "reports/metrics.json")["accuracy"] > 0.5


# Those of tutorials, with the recipe that each has.
TUTORIALS = {
    "fashion_mnist_cnn": "fashion_cnn",
    "horses_or_humans": "horses_inceptionv3",
    "flowers_mobilenet": "flowers_mobilenetv2",
    "cats_dogs_pandas": "animals_minivgg",
    "mnist_from_csv": "mnist_cnn",
}
IN_CI = ("cats_dogs_pandas", "mnist_from_csv")


def test_every_tutorial_has_a_notebook():
    assert {path.stem for path in NOTEBOOKS} == {"first_hour", *TUTORIALS}


@pytest.mark.full
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in IN_CI else pytest.mark.table) for name in TUTORIALS]
)
def test_tutorials_run(name, pictures, tmp_path, monkeypatch):
    """From the first cell to the last, with fewer pictures and epochs than a reader would take."""
    folder = clone(tmp_path / "darkroom")
    identify(folder)
    small_recipes.fill(folder / "data/incoming", TUTORIALS[name], pictures)
    set_params(folder, BRIEF)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    notebook = nbformat.read(folder / f"notebooks/{name}.ipynb", as_version=4)
    settings = next(cell for cell in notebook.cells if "\nbrief = " in cell.source)
    brief = small_recipes.SETTINGS[TUTORIALS[name]]
    settings.source = re.sub(r"(?m)^brief = .*", f"brief = {brief}", settings.source)
    _, texts = executed(notebook, folder)
    assert any(re.search(r"accuracy on [\d,]+ test pictures: 0\.\d+", text) for text in texts)
    assert "data/split/test" in texts[-1]
