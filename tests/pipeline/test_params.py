"""The sections of params.yaml: their defaults, and what their models refuse."""

import copy

import pytest

from darkroom.commands.schema import schema
from darkroom.core.errors import UserError
from darkroom.core.params import flat
from darkroom.pipeline import params
from tests.helpers.project import ROOT, run, set_param

GOOD = params.load(ROOT / "params.yaml")

WRONG = [
    ("train.drpout", 0.3, "train.drpout is unknown (allowed here: epochs, steps, validate_every, patience"),
    ("train.head.droput", 0.3, "train.head.droput is unknown (allowed here: type, prepare, hidden, "),
    ("train.head.dropout", 1.5, "train.head.dropout is 1.5, but should be less than 1"),
    ("train.epochs", "fifty", "train.epochs is 'fifty', but should be a valid integer"),
    ("train.epochs", True, "train.epochs is true, but should be a valid integer"),
    ("train.epochs", 0, "train.epochs is 0, but should be greater than or equal to 1"),
    ("train.optimizer", "adm", "train.optimizer is 'adm', but should be 'adam', 'adamw', 'sgd' or 'rmsprop'"),
    ("download.source", "ftp", "download.source is 'ftp', but should be 'archive', 'csv', 'folder', 'idx',"),
    ("split.ratio", [0.7, 0.1, 0.1], "split.ratio is [0.7, 0.1, 0.1], but train, val and test must be shares"),
    ("split.ratio", [0.9, 0.1], "split.ratio is [0.9, 0.1], but should have at least 3 items"),
    ("split.ratio", [0.0, 0.5, 0.5], "split.ratio is [0.0, 0.5, 0.5], but train, val and test must be shares"),
    ("download.sha256", "abc", "download.sha256 is 'abc', but should match pattern"),
    ("download.classes", [1e3], "download.classes.0 is 1000.0, but should be text: put it in quotes, such as '1e3'"),
    ("download.classes", {0: "a"}, "download.classes has the key 0, which should be text: put it in quotes"),
    ("download.classes", {"a": "x/y"}, "download.classes is {'a': 'x/y'}, but 'x/y' cannot be "),
    ("download.csv.shape", [28], "download.csv.shape is [28], but should have at least 2 items"),
    ("download.csv.shape", [28, 28, 1], "but it must be [height, width] for grey or [height, width, 3] for colour"),
    ("download.csv.shape", [-2, 2], "download.csv.shape.0 is -2, but should be greater than or equal to 1"),
    ("download.min_sides", 3, "download.min_sides is unknown (allowed here: source, name, data_dir, manual_dir, path"),
    ("download.name", None, "download: source tfds needs the name of a data set"),
    ("split.fold", 6, "split.fold is 6, but the folds are 1 to 5"),
    ("split.method", "fixed", "split.fixed is null, but method fixed needs the numbers of pictures of each class"),
    ("split.group", "(", "split.group is '(', but "),
    ("augment.hue", 0.7, "augment.hue is 0.7, but should be less than or equal to 0.5"),
    ("augment.rotatoin", 3, "augment.rotatoin is unknown (allowed here: preset, rotation"),
    ("augment.target", "most", "augment.target is 'most', but should be 'max' or 'none' or should be a valid integer"),
    ("augment.target", 0, "augment.target is 0, but should be 'max' or 'none' or should be greater than or equal to 1"),
    ("extract.image_size", [0, 64], "extract.image_size.0 is 0, but should be greater than or equal to 1"),
    ("train.head.hidden", [256, 0], "train.head.hidden.1 is 0, but should be greater than or equal to 1"),
    ("train.head", 7, "train.head is 7, but should be a mapping"),
    ("train.head.C", 1.0, "train.head.C is 1.0, but should be a valid list"),
    ("train.head.prepare", ["l2", "l2"], "train.head.prepare is ['l2', 'l2'], but each step may "),
    ("train.head.type", "svm", "train.head.type is 'svm', but should be 'dense', 'logistic', 'linear_svm', 'rbf_svm'"),
    ("train.fine_tune.unfreeze", "", "train.fine_tune.unfreeze is '', but must be all, none, the name of a layer"),
    (
        "train.fine_tune.online.rotatoin",
        3,
        "train.fine_tune.online.rotatoin is unknown (allowed here: preset, rotation",
    ),
    (
        "train.network",
        "lenet",
        "train.network is 'lenet', but should be 'compact_resnet', 'dense', 'fashion_cnn', 'mini_vggnet', ",
    ),
    ("train.keep", 0, "train.keep is 0, but should be 'best' or 'last' or should be greater than or equal to 1"),
    ("train.keep", 7, "train: keep 7 needs checkpoints: all"),
    ("train.steps", 10, "train: steps needs validate_every, the number of steps between two validations"),
    ("train.device", "gpu", "train.device is 'gpu', but should match pattern"),
    (
        "train.precision",
        "float16",
        "train.precision is 'float16', but should be 'auto', 'float32', 'mixed_bfloat16' or",
    ),
    (
        "train.scratch.colour",
        "grey",
        "train.scratch.colour is unknown (allowed here: online, mixup, cutmix, mirror, image_size",
    ),
    ("train.scratch.image_size", [32], "train.scratch.image_size is [32], but should have at least 2 items"),
    ("train.head.dropout", [0.1], "train: head.dropout has 1 values, but there are 2 dense layers"),
    ("train.schedule", "step", "train.schedule is 'step', but should be 'constant', 'cosine' or 'plateau'"),
    ("export.formats", ["onx"], "export.formats.0 is 'onx', but should be 'keras', 'saved_model', 'onnx', 'litert' or"),
    ("export.formats", ["onnx", "onnx"], "export.formats is ['onnx', 'onnx'], but each format may "),
    ("export.register", "a/b", "export.register is 'a/b', but a name may "),
    ("export.register", 3, "export.register is 3, but should be text: put it in quotes, such as '3'"),
    ("base.seed", -1, "base.seed is -1, but should be greater than or equal to 0"),
    ("tranin", {}, "tranin is not a section (sections: base, download, split, augment, extract, train"),
    ("compute.engine", "dask", "compute.engine is 'dask', but should be 'local' or 'ray'"),
    ("compute.workers", 2, "compute: engine local uses the cores of this machine: address and workers are Ray's"),
    ("compute.address", "10.0.0.1", "compute.address is '10.0.0.1', but should match pattern"),
    ("tracking.experiment", "", "tracking.experiment is '', but"),
]


def changed(key, value):
    content = copy.deepcopy(GOOD)
    *sections, last = key.split(".")
    place = content
    for section in sections:
        place = place[section]
    place[last] = value
    return content


def test_the_file_shows_every_key_with_its_default():
    """Nobody needs another list of what can be set; only what `online` transforms is described by its comment."""
    assert params.complete({}) == params.complete(GOOD)
    hidden = {key for key in flat(params.complete({})) if ".online." in key and not key.endswith(".preset")}
    assert set(flat(GOOD)) == set(flat(params.complete({}))) - hidden


def test_any_part_of_the_file_may_be_left_out(tmp_path):
    assert params.check({}).base.seed == 42
    (tmp_path / "params.yaml").write_text("train: {epochs: 3, head: {type: knn}}\nevaluate:\n")
    content = params.load(tmp_path / "params.yaml")
    assert content == {"train": {"epochs": 3, "head": {"type": "knn"}}, "evaluate": {}}
    assert params.complete(content)["train"] == params.complete({})["train"] | {
        "epochs": 3,
        "head": params.complete({})["train"]["head"] | {"type": "knn"},
    }


@pytest.mark.parametrize("text", ["", "- train\n", "train\n"])
def test_a_file_without_sections_is_named(tmp_path, text):
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(UserError, match=r"params\.yaml must be a mapping of sections \(base, download, split, .*\)\.$"):
        params.load(tmp_path / "params.yaml")


@pytest.mark.parametrize(("key", "value", "sentence"), WRONG)
def test_a_wrong_value_is_named(key, value, sentence):
    with pytest.raises(UserError) as error:
        params.check(changed(key, value))
    assert sentence in str(error.value)
    assert str(error.value).startswith("params.yaml: ")
    assert "\n" not in str(error.value)


def test_the_name_of_a_data_set_is_needed_for_tfds_alone():
    params.check({"download": {"source": "folder", "name": None}})


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"mode": "fine_tune"}, "mode fine_tune needs a head of type dense: knn "),
        ({"label_smoothing": 0.1}, "label_smoothing is for a head of type dense, not for knn"),
    ],
)
def test_values_that_do_not_go_together_are_named(changes, sentence):
    with pytest.raises(UserError, match=sentence) as error:
        params.check({"train": {"head": {"type": "knn"}} | changes})
    assert len(str(error.value)) < 200


def test_any_stage_refuses_a_mistake_in_any_section_before_it_works(workspace):
    set_param(workspace, "export.formats", ["onx"])
    result = run("python", "-m", "stages.download", cwd=workspace, check=False, PYTHONPATH=str(ROOT))
    assert result.returncode == 1
    allowed = "'keras', 'saved_model', 'onnx', 'litert' or 'litert_int8'"
    assert result.stderr.strip() == f"download: params.yaml: export.formats.0 is 'onx', but should be {allowed}."
    assert not (workspace / "data").exists()


def numbers(part, name=""):
    """Every number in a JSON Schema, with its name, and every list of numbers."""
    for key in ("anyOf", "oneOf", "allOf"):
        for inner in part.get(key, ()):
            yield from numbers(inner, name)
    for key, inner in part.get("properties", {}).items():
        yield from numbers(inner, f"{name}.{key}")
    if part.get("type") == "array":
        yield from ((f"{name}[]", inner, part) for _, inner, _ in numbers(part["items"]))
    if part.get("type") in ("number", "integer"):
        yield name, part, None


def test_every_number_has_bounds():
    """What a machine cannot bear is refused before anything starts."""
    found = list(numbers(schema((ROOT / "params.yaml").read_text(encoding="utf-8"))))
    assert len(found) > 80
    for name, number, array in found:
        assert {"maximum", "exclusiveMaximum"} & set(number), name
        assert array is None or "maxItems" in array, name


ABSURD = [1e12, 10**22, 16**5000, float("inf"), float("nan"), 1e-320]


def test_absurd_numbers_are_refused_everywhere():
    """No setting takes a huge number, infinity or NaN, in a list either; the sentence is short."""
    keys = [key for key, value in flat(params.complete({})).items() if not isinstance(value, bool)]
    for key in keys:
        for number in ABSURD:
            for value in (number, [number]):
                content = changed(key, value)
                try:
                    params.check(content)
                except UserError as error:
                    assert len(str(error)) < 1000, key
                else:
                    assert number == 1e-320, (key, value)  # where it is harmless
