from pathlib import Path

import pytest

from darkroom.core import outputs
from darkroom.core.errors import UserError


def test_the_stage_of_every_path_is_that_of_dvc(workspace):
    stages = {
        "reports/groups.csv": "download", "data/raw": "download", "data/split/train/a/1.png": "split",
        "data/augmented/.left_out.csv": "augment", "data/features/train.csv": "extract", "models/model.json": "train",
        "reports/metrics.json": "evaluate", "exports/model.onnx": "export", "data/incoming": None, "x.csv": None,
    }  # fmt: skip
    assert {name: outputs.stage_of(Path(name)) for name in stages} == stages
    assert outputs.stage_of(workspace / "reports/split.csv") == "split"
    assert outputs.stage_of(workspace / "elsewhere/reports/split.csv") is None


def test_the_sentences_name_the_stage(workspace):
    assert str(outputs.missing(Path("reports/split.csv"))) == (
        "reports/split.csv is missing: run `dvc repro split`, which writes it."
    )
    assert str(outputs.missing(Path("x.csv"))) == "x.csv is missing: run `dvc repro`, which writes it."
    assert str(outputs.damaged(Path("reports/split.csv"), "why")) == (
        "reports/split.csv is damaged or was changed (why): run `dvc repro -f -s split`, which writes it anew."
    )
    assert str(outputs.damaged(Path("x.csv"), "why")) == "x.csv is damaged or was changed (why)."


def test_texts_that_cannot_be_read(tmp_path):
    (tmp_path / "empty").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "utf16").write_text("text", encoding="utf-16")
    (tmp_path / "dangling").symlink_to("nowhere")
    reasons = {
        "none": "is missing", "empty": "it is empty", "folder": "is not a file", "dangling": "is not a file",
        "utf16": "not UTF-8",
    }  # fmt: skip
    for name, reason in reasons.items():
        with pytest.raises(UserError, match=f"{name} .*{reason}"):
            outputs.read_text(tmp_path / name)
