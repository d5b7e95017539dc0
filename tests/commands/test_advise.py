"""The advice: four corners of the rule of thumb, and that its command is one that the params take."""

import re
import shutil

import pytest
import yaml

from darkroom.commands import advise
from darkroom.core import params
from tests.helpers.project import ROOT, run

EXTRACTED = {"backbone": "VGG16", "weights": "imagenet", "image_size": [224, 224], "layers": ["block5_pool"]}


@pytest.mark.parametrize(
    ("per_class", "close", "mode", "layer"),
    [
        (100, 0.9, "head", "block5_pool"),
        (5000, 0.9, "fine_tune", "block4_pool"),
        (100, 0.2, "head", "block4_conv3"),
        (5000, 0.2, "fine_tune", "block5_pool"),
    ],
)
def test_each_corner_has_its_advice_and_params_that_go_together(per_class, close, mode, layer):
    advice = advise.advise(per_class, close, EXTRACTED)
    assert advice.params["train.mode"] == mode
    assert advice.params["extract.layers"] == [layer]
    content = yaml.safe_load((ROOT / "params.yaml").read_text())
    for key, value in advice.params.items():
        place = content
        *sections, last = key.split(".")
        for section in sections:
            place = place[section]
        assert last in place, key
        place[last] = value
    params.check(content)


def test_any_advice_can_follow_any_other():
    corners = [advise.advise(count, close, EXTRACTED).params for count in (100, 5000) for close in (0.2, 0.9)]
    for first in corners:
        for second in corners:
            content = yaml.safe_load((ROOT / "params.yaml").read_text())
            for key, value in (first | second).items():
                place = content
                *sections, last = key.split(".")
                for section in sections:
                    place = place[section]
                place[last] = value
            section = params.check(content)["train"]
            if content["extract"]["pooling"] == "flatten":
                assert not section.fine_tune.pixels_change()


def test_features_that_are_too_many_are_not_advised():
    advice = advise.advise(5000, 0.9, EXTRACTED | {"backbone": "NASNetMobile", "layers": ["activation_187"]})
    assert advice.params["extract.pooling"] == "avg"
    assert advice.params["train.fine_tune.online.preset"] == "tutorial"


def test_random_weights_have_nothing_to_transfer():
    advice = advise.advise(100, 0.9, EXTRACTED | {"weights": "random"})
    assert advice.params == {"extract.weights": "imagenet"}


def test_it_looks_at_the_features_that_there_are(project):
    """On the small project: 40 pictures of a class, ten classes of clothes."""
    said = run("make", "-s", "-o", ".venv/installed", "advise", cwd=project).stdout
    right = float(re.search(r"right for ([0-9.]+)% of (\d+) validation pictures; chance is 10\.0%", said)[1])
    assert right > 50
    assert "VGG16 (imagenet) at block3_pool" in said
    assert said.strip().splitlines()[-1].split()[:3] == ["dvc", "exp", "run"]


@pytest.mark.full
def test_its_command_runs(project, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(project, copy, symlinks=True)
    for key, value in (("user.name", "Test"), ("user.email", "test@localhost")):
        run("git", "config", key, value, cwd=copy)  # DVC keeps an experiment as a commit
    said = run("python", "-m", "stages.advise", cwd=copy).stdout
    run("bash", "-c", said.strip().splitlines()[-1], cwd=copy)
    content = yaml.safe_load((copy / "params.yaml").read_text())
    assert content["extract"]["layers"] == ["block5_pool"]
    assert content["train"]["head"]["type"] == "logistic"


def test_without_features_it_says_what_to_do(workspace):
    done = run("python", "-m", "stages.advise", cwd=workspace, check=False, PYTHONPATH=str(ROOT))
    assert (done.returncode, done.stderr.strip()) == (
        1, "advise: there is no reports/extract.json yet: run `dvc repro extract`."
    )  # fmt: skip
