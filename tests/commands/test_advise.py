"""The advice: the four cases of the rule of thumb, and that its command is one that DVC and the params accept."""

import re

import pytest

from darkroom.commands import advise
from darkroom.core.model_spec import BackboneSpec
from darkroom.core.params import flat, overlay
from darkroom.pipeline import params, recipes
from tests.helpers.project import ROOT, copy_project, identify, run

VGG16 = BackboneSpec(backbone="VGG16", weights="imagenet", image_size=(224, 224), layers=("block5_pool",))
SHOWN = flat(params.load(ROOT / "params.yaml"))
CASES = {
    (100, 0.9): ("head", "block5_pool"),
    (5000, 0.9): ("fine_tune", "block4_pool"),
    (100, 0.2): ("head", "block4_conv3"),
    (5000, 0.2): ("fine_tune", "block5_pool"),
}


@pytest.fixture(scope="module")
def advices(tensorflow):
    """The advice in each case, for a network that is built once."""
    with pytest.MonkeyPatch.context() as patch:
        layers = advise.find_layers(VGG16)
        patch.setattr(advise, "find_layers", lambda backbone: layers)
        return {case: advise.advise(*case, VGG16) for case in CASES}


def nested(settings):
    """`{"train.epochs": 5}` as `{"train": {"epochs": 5}}`."""
    content = {}
    for key, value in settings.items():
        content = overlay(content, recipes.parsed(f"{key}="))
        place = content
        *sections, last = key.split(".")
        for section in sections:
            place = place[section]
        place[last] = value
    return content


def test_each_case_has_its_advice(advices):
    for case, (mode, layer) in CASES.items():
        settings = advices[case].settings
        assert settings["train.mode"] == mode
        assert settings["extract.layers"] == [layer]
        assert set(settings) <= set(SHOWN)
        params.check(nested(settings))
    reasons = [advice.reason for advice in advices.values()]
    assert len(set(reasons)) == 4
    assert "last 3 layers" in reasons[1]


def test_any_advice_can_follow_any_other(advices):
    for first in advices.values():
        for second in advices.values():
            sections = params.check(nested(first.settings | second.settings))
            assert sections.train.mode == second.settings["train.mode"]
            if sections.extract.pooling == "flatten":
                assert not sections.train.fine_tune.pixels_change()


def test_the_limits_belong_to_the_larger_and_the_similar(advices, monkeypatch):
    layers = advise.Layers("top", "earlier", 3, "below")
    monkeypatch.setattr(advise, "find_layers", lambda backbone: layers)
    assert advise.advise(advise.LARGE, advise.SIMILAR, VGG16).settings["train.fine_tune.unfreeze"] == 3
    assert advise.advise(advise.LARGE - 1, advise.SIMILAR, VGG16).settings["extract.layers"] == ["top"]
    assert advise.advise(advise.LARGE - 1, advise.SIMILAR - 0.01, VGG16).settings["extract.layers"] == ["earlier"]
    assert advise.advise(advise.LARGE, advise.SIMILAR - 0.01, VGG16).settings["train.fine_tune.unfreeze"] == "all"


def test_features_that_are_too_large_to_cache_are_not_advised(monkeypatch, tensorflow):
    monkeypatch.setattr(advise, "MOST_CACHED", 14 * 14 * 512 - 1)  # below the features of block4_pool
    advice = advise.advise(5000, 0.9, VGG16)
    assert advice.settings["extract.layers"] == ["block5_pool"]
    assert advice.settings["extract.pooling"] == "avg"
    assert advice.settings["train.fine_tune.online.preset"] == "tutorial"


def test_random_weights_have_nothing_to_transfer():
    advice = advise.advise(100, 0.9, VGG16.model_copy(update={"weights": "random"}))
    assert advice.settings == {"extract.weights": "imagenet"}


def test_settings_are_written_as_dvc_takes_them():
    values = [None, "avg", ["a", "b"], 1e-5, True, 3]
    assert [advise._hydra(value) for value in values] == ["null", "avg", "[a,b]", "1e-05", "True", "3"]


def test_the_features_of_the_project_are_measured(project, monkeypatch, capsys, tensorflow):
    """On the small project: 40 pictures of a class, ten classes of clothes."""
    monkeypatch.chdir(project)
    advise.main()
    output = capsys.readouterr().out
    match = re.search(r"classify ([0-9.]+)% of (\d+) validation pictures correctly; chance is 10\.0%\.", output)
    assert float(match[1]) > 50
    assert "VGG16 (imagenet) at block3_pool" in output
    assert output.strip().splitlines()[-1].split()[:3] == ["dvc", "exp", "run"]
    content = params.complete(params.load())
    settings = advise.advise(40, float(match[1]) / 100, VGG16).settings
    monkeypatch.setattr(params, "load", lambda: overlay(content, nested(settings)))
    advise.main()
    assert capsys.readouterr().out.endswith("\n    params.yaml has these settings already.\n")


@pytest.mark.full
def test_its_command_runs(project, tmp_path):
    copy = tmp_path / "copy"
    copy_project(project, copy)
    identify(copy)
    output = run("make", "-s", "-o", ".venv/installed", "advise", cwd=copy).stdout
    run("bash", "-c", f"{output.strip().splitlines()[-1]} train", cwd=copy)
    content = params.load(copy / "params.yaml")
    assert content["extract"]["layers"] == ["block5_pool"]
    assert content["train"]["head"]["type"] == "logistic"


def test_without_features_it_names_the_remedy(workspace):
    result = run("python", "-m", "darkroom", "advise", cwd=workspace, check=False, PYTHONPATH=str(ROOT))
    message = "advise: reports/extract.json is missing: run `dvc repro extract`, which writes it.\n"
    assert (result.returncode, result.stderr) == (1, message)
