"""The notebooks: without outputs in git, and each runs from its first cell to its last."""

import os
import re

import nbformat
import pytest
from nbclient import NotebookClient

from darkroom.core.files import read_json
from tests.helpers.project import ROOT, set_params

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


@pytest.mark.full
def test_the_first_hour_runs(copy, monkeypatch):
    """In a small project with pictures of its own, from `inspect` to a prediction."""
    set_params(copy, BRIEF)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    notebook = nbformat.read(copy / "notebooks/first_hour.ipynb", as_version=4)
    resources = {"metadata": {"path": str(copy / "notebooks")}}
    NotebookClient(notebook, timeout=900, resources=resources, env=dict(os.environ)).execute()
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    texts = ["".join(output.get("text", "") for output in cell.outputs) for cell in code]
    assert "params.yaml is changed. Next: make run" in texts[1]
    assert "reports/report.html" in texts[2]
    assert "Next steps" in code[3].outputs[0].data["text/html"]
    assert "labels look wrong" in texts[4]
    assert re.search(r"(better|worse) than A|No significant difference|are the same", texts[6])
    assert len(re.findall(r"data/split/test/.*\.png", texts[7])) == 3
    assert read_json(copy / "reports/metrics.json")["accuracy"] > 0.5
