"""The model card of a model that has run: its figures, and that its code and commands do what the card promises."""

import html
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from darkroom.core import paths
from darkroom.core.files import read_csv
from darkroom.core.markdown import escaped
from darkroom.core.model_spec import BackboneSpec
from darkroom.export import model_card
from darkroom.images.decode import decode
from darkroom.inference import formats
from darkroom.inference.formats import FORMATS
from darkroom.models.classifier import Classifier
from tests.helpers.project import run

REPORT = {
    "pictures": 9, "same_label": 1.0, "within": 1e-4, "accuracy": 0.5, "keras_accuracy": 0.5, "bytes": 1_234_567,
}  # fmt: skip


def table(card, header):
    """The rows of a table, cell by cell."""
    lines = card[card.index(f"| {header}") :].split("\n\n")[0].splitlines()
    return [cells(line) for line in lines[2:]]


def cells(line):
    """Cells of a row as a reader sees them: what is escaped is text."""
    found = re.split(r"(?<!\\)(?:\\\\)*\|", line)[1:-1]
    return [html.unescape(re.sub(r"\\([\\`*\[\]|~$_])", r"\1", cell)).strip() for cell in found]


def test_the_card_repeats_the_reports(exported):
    folder, card = exported.folder, exported.card
    metrics = json.loads((folder / "reports/metrics.json").read_text())
    figures = {name: rest for name, *rest in table(card, "| value | interval")}
    assert figures["accuracy"] == [
        f"{metrics['accuracy']:.4f}", f"{metrics['accuracy_low']:.4f} to {metrics['accuracy_high']:.4f}",
    ]  # fmt: skip
    assert figures["log loss"][0] == f"{metrics['log_loss']:.4f}"
    split = read_csv(folder / "reports/split.csv")
    for name, _, *counts, new in table(card, "class | kept"):
        assert counts == [
            str(sum(r["class"] == name and r["split"] == part for r in split)) for part in ("train", "val", "test")
        ]
        assert new == ("14" if name == "Bag" else new)
    f1 = [float(row[3]) for row in table(card, "class | precision")]
    assert f1 == sorted(f1)
    assert len(f1) == 5
    predictions = read_csv(folder / "reports/predictions.csv")
    for label, predicted, count in table(card, "label | predicted"):
        assert sum(r["label"] == label and r["predicted"] == predicted for r in predictions) == int(count)
    assert [row[0] for row in table(card, "| file | MB")] == list(FORMATS)
    assert "Karen Simonyan and Andrew Zisserman" in card
    assert str(folder) not in card
    assert not re.search(r"\b20[23]\d-\d\d", card)
    assert "None" not in card.split("## How to use it")[0]
    assert "\n\n\n" not in card


PROGRAM = """
import json, sys
from pathlib import Path
for number, snippet in enumerate(json.loads(Path(sys.argv[1]).read_text())):
    if "darkroom" not in snippet:
        assert "darkroom" not in sys.modules
    exec(compile(snippet, f"snippet {number}", "exec"), {"__name__": "__main__"})
"""


def test_its_code_runs_on_a_real_picture(exported):
    """Each snippet as it stands; Keras' is the last, and the only one that imports this project's code."""
    folder = exported.folder
    row = read_csv(folder / "reports/predictions.csv")[3]
    shutil.copy(folder / row["path"], folder / "picture.jpg")
    snippets = re.findall(r"```python\n(.*?)```", exported.card, re.DOTALL)
    assert len(snippets) == len(FORMATS)
    assert [snippet for snippet in snippets if "darkroom" in snippet] == snippets[-1:]
    model = formats.load(folder / "exports/model.onnx")
    probabilities = model.probabilities(decode(folder / "picture.jpg")[None])[0]
    (folder / "snippets.json").write_text(json.dumps(snippets))
    lines = run("python", "-c", PROGRAM, "snippets.json", cwd=folder).stdout.splitlines()
    for snippet, line in zip(snippets, lines, strict=True):
        label, probability = line.split()
        assert label == model.classes[probabilities.argmax()]
        assert float(probability) == pytest.approx(float(probabilities.max()), abs=0.1 if "int8" in snippet else 1e-5)


def test_its_code_lays_transparency_on_white(exported, tmp_path, monkeypatch):
    """And converts grey, palettes and CMYK as Darkroom does."""
    folder = exported.folder
    code = re.search(r"from PIL import.*?\(1, height, width, 3\)\n", exported.card, re.DOTALL)[0]
    row = read_csv(folder / "reports/predictions.csv")[3]
    picture = Image.open(folder / row["path"]).convert("RGB")
    picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    monkeypatch.chdir(tmp_path)
    for mode, suffix in (("RGBA", "png"), ("LA", "png"), ("P", "gif"), ("RGB", "png"), ("CMYK", "jpg")):
        file = tmp_path / f"odd.{suffix}"
        picture.convert(mode).save(file)
        variables = {"np": np}
        exec(code.replace("picture.jpg", file.name), variables)
        assert (variables["pixels"][0] == decode(file)).all(), mode


def test_its_hashes_are_those_of_its_commands(exported):
    for content in ("model", "data"):
        pattern = rf"^\| {content}: `(.*)` \| `(\w+)` \|$"
        command, expected = re.search(pattern, exported.card, re.MULTILINE).groups()
        done = subprocess.run(
            ["bash", "-c", command.replace("\\|", "|")],
            cwd=exported.folder, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stdout.split()[0] == expected


def test_reports_with_fewer_and_with_more_figures(exported, tmp_path, monkeypatch):
    """Names that Markdown would take for markup, classes without test pictures, missing figures."""
    monkeypatch.chdir(exported.folder)
    odd = "a|b *c* <d> `e` [f](g) \\\\"
    for name in ("DATASET_REPORT", "SPLIT_REPORT", "SPLIT_SUMMARY", "AUGMENT_REPORT", "PER_CLASS", "PREDICTIONS"):
        path = getattr(paths, name)
        escaped = json.dumps(odd, ensure_ascii=False)[1:-1] if path.suffix == ".json" else odd
        (tmp_path / path.name).write_text(path.read_text().replace("Shirt", escaped))
        monkeypatch.setattr(paths, name, tmp_path / path.name)
    spec = exported.model.spec
    classes = tuple(odd if name == "Shirt" else name for name in spec.classes)
    model = Classifier(spec.model_copy(update={"classes": classes}), exported.model.head, None)
    metrics = tmp_path / "few.json"
    monkeypatch.setattr(paths, "METRICS", metrics)
    few = {"model_sha256": "abc", "n_test": 118}
    few |= {"accuracy": 0.5, "accuracy_low": 0.4, "accuracy_high": 0.6, "log_loss": 1.0}
    metrics.write_text(json.dumps(few))
    card = model_card.render(model, dict.fromkeys(FORMATS, REPORT))
    assert table(card, "| value | interval") == [["accuracy", "0.5000", "0.4000 to 0.6000"], ["log loss", "1.0000", ""]]
    assert "| on test | before" not in card
    assert "labels look wrong" not in card
    rows = table(card, "class | kept")
    assert odd in [row[0] for row in rows]
    assert all(len(row) == 6 for row in rows)
    assert "People reviewed labels" not in card
    dataset = json.loads(paths.DATASET_REPORT.read_text())
    dataset["decisions"] |= {"confirm": 12, "relabel": 5, "drop": 3}
    paths.DATASET_REPORT.write_text(json.dumps(dataset))
    more = {"label_issues": 7, "uncalibrated_log_loss": 1.25, "n_test_relabelled": 2, "accuracy_source_labels": 0.4}
    metrics.write_text(json.dumps(few | more))
    card = model_card.render(model, {"onnx": REPORT})
    assert "they confirmed 12, changed 5, labelled 0 pictures that had no\nlabel, and dropped 3." in card
    assert (
        "2 of the changed labels are of test pictures: by the labels of the source, the accuracy would be\n0.4000."
        in card
    )
    assert "7 labels look wrong" in card
    assert table(card, "on test | before") == [["log loss", "1.2500", "1.0000"]]
    assert card.count("```python") == 1


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1))
def test_a_name_stays_one_cell_and_reads_as_it_is(name):
    assert cells(f"| {escaped(name)} | x |") == [" ".join(name.split()), "x"]


@pytest.mark.parametrize(
    ("backbone", "weights", "text"),
    [
        ("VGG19", "imagenet", "CC BY 4.0"),
        ("ResNet50", "imagenet", "keras.io/api/applications"),
        ("VGG16", "random", "random"),
        (None, None, "random"),
        ("VGG16", "data/weights/animals", "`data/weights/animals`"),
    ],
)
def test_credit_for_the_initial_weights(backbone, weights, text):
    assert text in model_card.credit(BackboneSpec(backbone=backbone, weights=weights))
