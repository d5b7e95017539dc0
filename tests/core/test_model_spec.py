import json

import pytest
from pydantic import ValidationError

from darkroom.core.errors import UserError
from darkroom.core.model_spec import BackboneSpec, ModelSpec, TunedSpec, model_sha256

BACKBONE = BackboneSpec(backbone="VGG16", weights="imagenet", image_size=(32, 64), layers=("block3_pool",))
HEAD = ModelSpec(
    backbone=BACKBONE,
    layers=("block3_pool",),
    tuned=None,
    head={"type": "dense", "hidden": [3]},
    features=12,
    classes=("cat", "dög"),
)


def test_what_is_saved_is_loaded(tmp_path):
    HEAD.model_copy(update={"temperature": 1.5, "epoch": 7}).save(tmp_path)
    assert ModelSpec.load(tmp_path) == HEAD.model_copy(update={"temperature": 1.5, "epoch": 7})
    assert json.loads((tmp_path / "classes.json").read_text()) == ["cat", "dög"]
    content = json.loads((tmp_path / "model.json").read_text())
    keys = ["backbone", "layers", "tuned", "head", "features", "classes", "temperature", "epoch"]
    assert list(content) == keys
    assert content["backbone"] == {
        "backbone": "VGG16",
        "weights": "imagenet",
        "image_size": [32, 64],
        "layers": ["block3_pool"],
    }


def test_mode_and_type_follow_from_the_parts():
    tuned = HEAD.model_copy(update={"tuned": TunedSpec(start=None, top="block5_pool", pooling="avg")})
    scratch = HEAD.model_copy(update={"backbone": BackboneSpec(backbone=None), "head": {"name": "dense"}})
    assert [(spec.mode, spec.head_type) for spec in (HEAD, tuned, scratch)] == [
        ("head", "dense"),
        ("fine_tune", "dense"),
        ("scratch", "dense"),
    ]
    assert HEAD.backbone.size == (32, 64)


def test_a_specification_cannot_be_changed():
    with pytest.raises(ValidationError):
        HEAD.temperature = 2.0


def test_a_model_that_is_missing_or_unknown_is_named(tmp_path):
    with pytest.raises(UserError, match=r"holds no model: run `dvc repro`, or `dvc pull .*` if it was pushed\.$"):
        ModelSpec.load(tmp_path)
    for text in ("{}", "{", "[1]", json.dumps({"layers": []})):
        (tmp_path / "model.json").write_text(text)
        with pytest.raises(UserError, match=r"model\.json is damaged .*not the specification of a Darkroom model"):
            ModelSpec.load(tmp_path)


def test_the_identity_of_a_model_is_that_of_all_its_files(tmp_path):
    HEAD.save(tmp_path)
    before = model_sha256(tmp_path)
    (tmp_path / "head.weights.h5").touch()
    assert model_sha256(tmp_path) != before
