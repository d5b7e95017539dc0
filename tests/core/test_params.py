import copy

import pytest
import yaml

from darkroom.core import params
from darkroom.core.errors import UserError
from tests.helpers.project import ROOT, run

GOOD = yaml.safe_load((ROOT / "params.yaml").read_text())

WRONG = [
    ("train.drpout", 0.3, "train.drpout is unknown (allowed here: epochs, steps, validate_every, patience"),
    ("train.head.droput", 0.3, "train.head.droput is unknown (allowed here: type, prepare, hidden, "),
    ("train.head.dropout", 1.5, "train.head.dropout is 1.5, but should be less than 1"),
    ("train.epochs", "fifty", "train.epochs is 'fifty', but should be a valid integer"),
    ("train.epochs", True, "train.epochs is True, but should be a valid integer"),
    ("train.epochs", 0, "train.epochs is 0, but should be greater than or equal to 1"),
    ("train.optimizer", "adm", "train.optimizer is 'adm', but should be 'adam', 'adamw', 'sgd' or 'rmsprop'"),
    ("download.source", "ftp", "download.source is 'ftp', but should be 'tfds', 'folder', 'archive', 'csv' or 'idx'"),
    ("split.ratio", [0.7, 0.1, 0.1], "split.ratio is [0.7, 0.1, 0.1], but train, val and test must be shares"),
    ("download.sha256", "abc", "download.sha256 is 'abc', but string should match pattern"),
    (
        "download.classes",
        {"a": "x/y"},
        "download.classes is {'a': 'x/y'}, but 'x/y' cannot be a folder's name: 'x_y' can",
    ),
    ("download.csv.shape", [28], "download.csv.shape is [28], but list should have at least 2 items"),
    ("download.csv.shape", [28, 28, 1], "but it must be [height, width] for grey or [height, width, 3] for colour"),
    ("download.csv.shape", [-2, 2], "download.csv.shape.0 is -2, but should be greater than or equal to 1"),
    ("download.min_sides", 3, "download.min_sides is unknown (allowed here: source, name, data_dir, manual_dir, path"),
    ("split.fold", 6, "split.fold is 6, but the folds are 1 to 5"),
    ("split.method", "fixed", "split.fixed is None, but method fixed needs the numbers of pictures of each class"),
    ("split.group", "(", "split.group is '(', but it is no regular expression"),
    ("augment.hue", 0.7, "augment.hue is 0.7, but should be less than or equal to 0.5"),
    ("augment.rotatoin", 3, "augment.rotatoin is unknown (allowed here: preset, rotation"),
    ("split.ratio", [0.9, 0.1], "split.ratio is [0.9, 0.1], but"),
    ("augment.target", "most", "augment.target is 'most', but should be 'max' or 'none' or should be a valid integer"),
    ("augment.target", 0, "augment.target is 0, but should be 'max' or 'none' or should be greater than or equal to 1"),
    ("extract.image_size", [0, 64], "extract.image_size.0 is 0, but should be greater than or equal to 1"),
    ("train.head.hidden", [256, 0], "train.head.hidden.1 is 0, but should be greater than or equal to 1"),
    ("train.head", 7, "train.head is 7, but should be a valid dictionary or instance of Head"),
    ("train.head.C", 1.0, "train.head.C is 1.0, but should be a valid list"),
    ("train.head.prepare", ["l2", "l2"], "train.head.prepare is ['l2', 'l2'], but each step may stand there once"),
    ("train.head.type", "svm", "train.head.type is 'svm', but should be 'dense', 'logistic', 'linear_svm', 'rbf_svm'"),
    ("train.fine_tune.unfreeze", "", "train.fine_tune.unfreeze is '', but must be all, none, the name of a layer"),
    (
        "train.fine_tune.online.rotatoin",
        3,
        "train.fine_tune.online.rotatoin is unknown (allowed here: preset, rotation",
    ),
    ("train.network", "lenet", "train.network is 'lenet', but should be 'fashion_cnn', 'mnist_cnn', 'mini_vggnet', "),
    ("train.keep", 0, "train.keep is 0, but should be 'best' or 'last' or should be greater than or equal to 1"),
    ("train.keep", 7, "train: keep 7 needs checkpoints: all"),
    ("train.steps", 10, "train: steps 10 must be a multiple of validate_every, not None"),
    ("train.device", "gpu", "train.device is 'gpu', but string should match pattern"),
    (
        "train.precision",
        "float16",
        "train.precision is 'float16', but should be 'auto', 'float32', 'mixed_bfloat16' or",
    ),
    (
        "train.scratch.colour",
        "grey",
        "train.scratch.colour is unknown (allowed here: online, mixup, cutmix, image_size",
    ),
    ("train.scratch.image_size", [32], "train.scratch.image_size is [32], but list should have at least 2 items"),
    ("train.head.dropout", [0.1], "train: head.dropout has 1 values, but there are 2 dense layers"),
    ("train.schedule", "step", "train.schedule is 'step', but should be 'constant', 'cosine' or 'plateau'"),
    (
        "export.formats",
        ["onx"],
        "export.formats.0 is 'onx', but should be 'keras', 'saved_model', 'onnx', 'litert' or 'litert_int8'",
    ),
    (
        "export.register",
        "a/b",
        "export.register is 'a/b', but a name may have letters, digits, spaces, _, . and - only",
    ),
    ("export.register", 3, "export.register is 3, but should be a valid string"),
    ("base.seed", -1, "base.seed is -1, but should be greater than or equal to 0"),
    ("tranin", {}, "tranin is no section (sections: base, download, split, augment, extract, train"),
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


def test_the_file_as_it_is_is_right():
    assert set(params.check(params.load(ROOT / "params.yaml"))) == set(GOOD)


@pytest.mark.parametrize("section", [name for name in GOOD if name != "base"])
def test_every_key_that_there_is_stands_in_the_file(section):
    """What can be set is seen there, with a comment; keys with a default may be left out of an overlay."""
    fields = params.models()[section].model_fields
    assert {field.alias or name for name, field in fields.items()} == set(GOOD[section])


@pytest.mark.parametrize(("key", "value", "sentence"), WRONG)
def test_a_wrong_value_is_named(key, value, sentence):
    with pytest.raises(UserError) as error:
        params.check(changed(key, value))
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"mode": "fine_tune"}, "mode fine_tune needs a head of type dense: knn has no gradient"),
        ({"label_smoothing": 0.1}, "label_smoothing is for a head of type dense, not for knn"),
    ],
)
def test_values_that_do_not_go_together_are_named(changes, sentence):
    content = copy.deepcopy(GOOD)
    content["train"] |= changes
    content["train"]["head"]["type"] = "knn"
    with pytest.raises(UserError, match=sentence) as error:
        params.check(content)
    assert len(str(error.value)) < 200


def test_a_missing_key_is_named():
    content = copy.deepcopy(GOOD)
    del content["train"]["epochs"], content["evaluate"]
    with pytest.raises(UserError, match=r"train\.epochs is missing; evaluate\.mistakes is missing"):
        params.check(content)


def test_exponents_are_numbers(tmp_path):
    (tmp_path / "params.yaml").write_text("train: {learning_rate: 1e-4, epochs: 3, name: 1.e, seed: 3e5}")
    assert params.load(tmp_path / "params.yaml")["train"] == {
        "learning_rate": 1e-4, "epochs": 3, "name": "1.e", "seed": 3e5
    }  # fmt: skip


def test_any_stage_refuses_a_slip_in_any_section_before_it_works(workspace):
    (workspace / "params.yaml").write_text(yaml.safe_dump(changed("export.formats", ["onx"])))
    done = run("python", "-m", "stages.download", cwd=workspace, check=False, PYTHONPATH=str(ROOT))
    assert done.returncode == 1
    known = "'keras', 'saved_model', 'onnx', 'litert' or 'litert_int8'"
    assert done.stderr.strip() == f"download: params.yaml: export.formats.0 is 'onx', but should be {known}."
    assert not (workspace / "data").exists()


@pytest.mark.parametrize("stage", params.STAGES)
def test_help_is_quick_and_needs_no_tensorflow(stage):
    code = (
        f"import runpy, sys; sys.argv = ['x', '--help']\n"
        f"try: runpy.run_module('stages.{stage}', run_name='__main__', alter_sys=True)\n"
        f"except SystemExit as end: print('ended', end.code, 'tensorflow' in sys.modules, 'mlflow' in sys.modules)"
    )
    said = run("python", "-c", code, cwd=ROOT).stdout
    assert "Params " in said
    assert "Writes " in said
    assert said.endswith("ended 0 False False\n")
