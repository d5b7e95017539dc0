"""Classes and files with names that act on terminals, tables, pages and plots go through all seven stages."""

import json
from pathlib import Path

import pytest
import yaml

from darkroom.commands.predict import command as predict
from tests.helpers.odd_files import encoded, photo
from tests.helpers.stages import run_stages
from tests.helpers.stores import new_store

CLASSES = ["a\rb", "\x1b[2Jc\n", "<script>alert(1)<\u202escript>", "=1+1|`$x$`"]
CLEAN = ["<script>alert(1)<_script>", "=1+1|`$x$`", "_[2Jc_", "a_b"]
FILES = ["1\r.png", "2\n.png", "3\t\x1b[31m.png", "=4.png", "<b>5.png", "{{6}}.png", "$7$.png", "8|`.png", "-9.png"]
PARAMS = {
    "download": {"source": "folder", "near_duplicates": None},
    "split": {"ratio": [0.4, 0.3, 0.3]},
    "augment": {"preset": "none"},
    "extract": {"backbone": None},
    "train": {"mode": "scratch", "network": "fashion_cnn", "epochs": 1, "batch_size": 8, "tensorboard": "scalars"},
    "evaluate": {"bootstrap": 100, "grad_cam": 2, "label_issues": 4},
    "export": {"formats": ["saved_model", "litert"], "check_pictures": 4},
}


@pytest.mark.full
@pytest.mark.usefixtures("tensorflow")
def test_hostile_names_break_no_stage(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    new_store(Path("mlflow.db"))
    Path("params.yaml").write_text(yaml.safe_dump(PARAMS))
    for number, label in enumerate(CLASSES):
        folder = Path("data/incoming") / label
        folder.mkdir(parents=True)
        for place, name in enumerate(FILES):
            (folder / name).write_bytes(encoded(photo(20 * number + place), "PNG"))
    run_stages()
    assert json.loads(Path("exports/classes.json").read_text()) == CLEAN
    report = Path("reports/report.html").read_text()
    assert report.count("<script>") == 1  # its own, which the policy allows by its hash
    assert "<script>alert" not in report
    assert "&lt;script&gt;" in report
    assert "\\u003cscript>alert" in report  # in the data of the map
    card = Path("exports/MODEL_CARD.md").read_text()
    assert "<script>" not in card
    capsys.readouterr()
    predict.main(["data/incoming"], model=Path("exports"), trust=False, form="table", top=2, network=None)
    shown = capsys.readouterr().out
    assert len(shown.splitlines()) == 1 + len(CLASSES) * len(FILES)
    assert shown.replace("\n", "").isprintable()
