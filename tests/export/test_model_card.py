"""The model card of a model that has run: what it says, and that its code and commands do what it says of them."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from darkroom.core.files import read_csv
from darkroom.core.params import Base
from darkroom.export import model_card
from darkroom.images.decode import decode
from darkroom.inference import formats
from darkroom.models.classifier import Classifier
from stages import export
from tests.helpers.project import run

FORMATS = {kind: {"pictures": 9, "same_label": 1.0, "within": 1e-4, "accuracy": 0.5, "keras_accuracy": 0.5,
                  "bytes": 1_234_567} for kind in formats.FILES}  # fmt: skip


@pytest.fixture(scope="module")
def card(project, tmp_path_factory):
    """A copy of the project with every format exported, and its card."""
    folder = tmp_path_factory.mktemp("card")
    for name in ("models", "reports", "data/split", "stages"):
        shutil.copytree(project / name, folder / name)
    shutil.copy(project / "params.yaml", folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        export.main(Base(seed=1), export.Params(formats=list(formats.FILES), check_pictures=10, register=None))
    return folder, (folder / "exports/MODEL_CARD.md").read_text()


def table(card, header):
    """The rows of a table, cell by cell."""
    lines = card[card.index(f"| {header}") :].split("\n\n")[0].splitlines()
    return [cells(line) for line in lines[2:]]


def cells(line):
    """Cells of a row as a reader sees them: what is escaped is text."""
    found = re.split(r"(?<!\\)(?:\\\\)*\|", line)[1:-1]
    return [html.unescape(re.sub(r"\\([\\`*\[\]|~$_])", r"\1", cell)).strip() for cell in found]


def test_it_says_what_the_reports_say(card):
    folder, said = card
    metrics = json.loads((folder / "reports/metrics.json").read_text())
    figures = {name: rest for name, *rest in table(said, "| value | interval")}
    assert figures["accuracy"] == [
        f"{metrics['accuracy']:.4f}", f"{metrics['accuracy_low']:.4f} to {metrics['accuracy_high']:.4f}",
    ]  # fmt: skip
    assert figures["log loss"][0] == f"{metrics['log_loss']:.4f}"
    split = read_csv(folder / "reports/split.csv")
    for name, _, *counts, new in table(said, "class | found and kept"):
        assert counts == [
            str(sum(r["class"] == name and r["split"] == part for r in split)) for part in ("train", "val", "test")
        ]
        assert new == ("14" if name == "Bag" else new)
    f1 = [float(row[3]) for row in table(said, "class | precision")]
    assert f1 == sorted(f1)
    assert len(f1) == 5
    predictions = read_csv(folder / "reports/predictions.csv")
    for label, predicted, count in table(said, "label | said instead"):
        assert sum(r["label"] == label and r["predicted"] == predicted for r in predictions) == int(count)
    assert [row[0] for row in table(said, "| file | MB")] == list(formats.FILES)
    assert "Karen Simonyan and Andrew Zisserman" in said
    assert str(folder) not in said
    assert not re.search(r"\b20[23]\d-\d\d", said)
    assert "None" not in said.split("## How to use it")[0]
    assert "\n\n\n" not in said


def test_its_code_runs_on_a_real_picture(card):
    """Each snippet as it stands, in a process of its own."""
    folder, said = card
    row = read_csv(folder / "reports/predictions.csv")[3]
    shutil.copy(folder / row["path"], folder / "picture.jpg")
    snippets = re.findall(r"```python\n(.*?)```", said, re.DOTALL)
    assert len(snippets) == len(formats.FILES)
    exported = formats.load(folder / "exports/model.onnx")
    probabilities = exported.probabilities(decode(folder / "picture.jpg")[None])[0]
    for snippet in snippets:
        label, probability = run("python", "-c", snippet, cwd=folder).stdout.split()
        assert label == exported.classes[probabilities.argmax()]
        assert float(probability) == pytest.approx(float(probabilities.max()), abs=0.1 if "int8" in snippet else 1e-5)


def test_its_code_lays_transparency_on_white(card):
    """And takes greys, palettes and CMYK as Darkroom does."""
    folder, said = card
    code = re.search(r"from PIL import.*?\(1, height, width, 3\)\n", said, re.DOTALL)[0]
    code += "\nimport sys; np.save(sys.argv[1], pixels)"
    row = read_csv(folder / "reports/predictions.csv")[3]
    picture = Image.open(folder / row["path"]).convert("RGB")
    picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    for mode, ending in (("RGBA", "png"), ("LA", "png"), ("P", "gif"), ("RGB", "png"), ("CMYK", "jpg")):
        picture.convert(mode).save(folder / f"odd.{ending}")
        changed = code.replace("picture.jpg", f"odd.{ending}")
        run("python", "-c", f"import numpy as np\n{changed}", "pixels.npy", cwd=folder)
        assert (np.load(folder / "pixels.npy")[0] == decode(folder / f"odd.{ending}")).all(), mode


def test_its_hashes_are_those_that_its_commands_give(card):
    folder, said = card
    for what in ("model", "data"):
        command, expected = re.search(rf"^\| {what}: `(.*)` \| `(\w+)` \|$", said, re.MULTILINE).groups()
        done = subprocess.run(
            ["bash", "-c", command.replace("\\|", "|")], cwd=folder, capture_output=True, text=True, check=True
        )
        assert done.stdout.split()[0] == expected


def test_reports_with_less_and_with_more_in_them(card, monkeypatch):
    """Names that Markdown would take for markup, classes without test pictures, figures that are absent."""
    folder = card[0]
    monkeypatch.chdir(folder)
    model = Classifier.load(Path("models"))
    odd = "a|b *c* <d> `e` [f](g) \\\\"
    for name in ("dataset.json", "split.csv", "augment.json", "per_class.csv", "predictions.csv"):
        path = folder / "reports" / name
        escaped = json.dumps(odd, ensure_ascii=False)[1:-1] if name.endswith("json") else odd
        monkeypatch.setattr(
            model_card,
            {
                "dataset.json": "DATASET_REPORT",
                "split.csv": "SPLIT_REPORT",
                "augment.json": "AUGMENT_REPORT",
                "per_class.csv": "PER_CLASS",
                "predictions.csv": "PREDICTIONS",
            }[name],
            copy := folder / f"odd_{name}",
        )
        copy.write_text(path.read_text().replace("Shirt", escaped))
    model.settings["classes"] = [odd if name == "Shirt" else name for name in model.classes]
    metrics = folder / "few.json"
    monkeypatch.setattr(model_card, "METRICS", metrics)
    few = {"accuracy": 0.5, "accuracy_low": 0.4, "accuracy_high": 0.6, "log_loss": 1.0, "n_test": 118}
    metrics.write_text(json.dumps(few))
    said = model_card.render(model, FORMATS)
    assert [row[0] for row in table(said, "| value | interval")] == ["accuracy", "log loss"]
    assert "| on test | before" not in said
    assert "labels look wrong" not in said
    names = [row[0] for row in table(said, "class | found and kept")]
    assert odd in names
    assert all(len(row) == 6 for row in table(said, "class | found and kept"))
    metrics.write_text(json.dumps(few | {"label_issues": 7, "uncalibrated_log_loss": 1.25}))
    said = model_card.render(model, {"onnx": FORMATS["onnx"]})
    assert "7 labels look wrong" in said
    assert table(said, "on test | before") == [["log loss", "1.2500", "1.0000"]]
    assert said.count("```python") == 1


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1))
def test_a_name_stays_one_cell_and_reads_as_it_is(name):
    assert cells(f"| {model_card.text(name)} | x |") == [" ".join(name.split()), "x"]


def test_whose_weights_they_are():
    assert "CC BY 4.0" in model_card.credit({"backbone": "VGG19", "weights": "imagenet"})
    assert "keras.io/api/applications" in model_card.credit({"backbone": "ResNet50", "weights": "imagenet"})
    assert "random" in model_card.credit({"backbone": "VGG16", "weights": "random"})
    assert "random" in model_card.credit({"backbone": None})
    assert "`data/weights/animals`" in model_card.credit({"backbone": "VGG16", "weights": "data/weights/animals"})
