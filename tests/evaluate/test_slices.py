"""Slices: those in which a model is really worse are found, and none where it is equally good everywhere."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.core import paths
from darkroom.core.errors import UserError
from darkroom.core.files import write_csv
from darkroom.evaluate.predictions import Predictions
from darkroom.evaluate.slices import MEASURES, find

COLUMNS = ("picture", "source_group", "source", *MEASURES)
COUNT = 400


@pytest.fixture
def compare(workspace):
    """The slices of test pictures with these measures, where the model is right about some."""

    def make(right, part="train", names=None, groups=None, **measures):
        (workspace / "reports").mkdir(exist_ok=True)
        generator = np.random.default_rng(1)
        values = {
            "width": generator.integers(100, 300, len(right)),
            "height": generator.integers(100, 300, len(right)),
            "brightness": generator.random(len(right)).round(4),
            "sharpness": generator.uniform(5, 60, len(right)).round(2),
        } | measures
        names = names or [f"{number}.jpg" for number in range(len(right))]
        groups = groups or [""] * len(right)
        columns = zip(*(values[name] for name in MEASURES), strict=True)
        rows = [
            (f"{part}/cat/{name}", group, "", *row) for name, group, row in zip(names, groups, columns, strict=True)
        ]
        write_csv(paths.GROUPS, COLUMNS, rows)
        given_ = np.where(np.asarray(right)[:, None], [0.9, 0.1], [0.1, 0.9])
        test = [f"data/split/test/cat/{name}" for name in names]
        return find(Predictions(test, np.zeros(len(right), int), given_, given_), "test").worse

    return make


def mistakes(where, often=0.4, seldom=0.03):
    """Which pictures a model is right about that is often wrong somewhere."""
    generator = np.random.default_rng(2)
    return generator.random(len(where)) > np.where(where, often, seldom)


@pytest.mark.parametrize(("kind", "scale", "name"), [("brightness", 1, "0.05 to 0.27"), ("sharpness", 100, "5 to 27")])
def test_a_measure_on_which_the_model_is_worse_is_found(kind, scale, name, compare):
    values = np.linspace(0.05, 0.95, COUNT).round(4)
    (worst,) = compare(mistakes(values < 0.27), **{kind: values * scale})
    assert (worst.kind, worst.name) == (kind, name)
    assert worst.pictures == COUNT / 4 - 1
    assert worst.low < worst.accuracy < worst.high < worst.elsewhere
    assert worst.missing == pytest.approx(worst.pictures * (worst.elsewhere - worst.accuracy))


def test_small_pictures_are_found_by_their_size(compare):
    side = np.linspace(30, 400, COUNT).astype(int)
    found = compare(mistakes(side < 120), width=side, height=side)
    assert [(each.kind, each.name) for each in found] == [("size", "30 to 121")]


@pytest.mark.parametrize("small", [True, False])
def test_pictures_of_another_camera_are_found_though_they_are_few(small, compare):
    """A fifth of the pictures has a size of its own, smaller or larger than that of the others."""
    few = np.arange(COUNT) % 5 == 0
    side = np.where(few == small, 100, 2000)
    sizes = [each for each in compare(mistakes(few), width=side, height=side) if each.kind == "size"]
    ((name, pictures),) = [(each.name, each.pictures) for each in sizes]
    assert pictures == COUNT / 5
    assert name == "100 to 2,000"


def test_a_picture_that_the_table_does_not_list_is_named(compare, workspace):
    compare([True, False])
    predictions = Predictions(["data/split/test/cat/lost.jpg"], np.zeros(1, int), *2 * [np.array([[0.9, 0.1]])])
    with pytest.raises(UserError, match=r"it does not list lost\.jpg"):
        find(predictions, "test")


def test_folders_and_groups_are_found_by_name(compare):
    names = [f"camera{number % 8}__{number}.jpg" for number in range(COUNT)]
    (folder,) = compare(mistakes(np.arange(COUNT) % 8 == 3), names=names)
    assert (folder.kind, folder.name, folder.pictures) == ("folder", "camera3", 50)
    (group,) = compare(mistakes(np.arange(COUNT) % 8 == 5), groups=[f"patient {number % 8}" for number in range(COUNT)])
    assert (group.kind, group.name) == ("group", "patient 5")


def test_a_model_that_is_equally_good_everywhere_has_hardly_any(compare):
    """At most one set in twenty, on average, has a slice by chance; here 40 sets with many slices each."""
    found = 0
    for seed in range(40):
        right = np.random.default_rng(seed).random(COUNT) > 0.2
        found += bool(compare(right, groups=[str(number % 20) for number in range(COUNT)]))
    assert found <= 5


def test_official_pictures_are_those_of_the_table(compare, workspace):
    assert compare(mistakes(np.arange(COUNT) < 100), part="test", brightness=np.arange(COUNT) / COUNT)


@pytest.mark.parametrize("right", [[True] * 50, [False] * 50, [True], [True] * 5 + [False] * 4])
def test_nothing_is_found_where_nothing_can_be(right, compare):
    assert compare(right) == []


def test_pictures_that_are_all_alike_have_no_slices(compare):
    same = [50] * COUNT
    assert compare(mistakes(np.arange(COUNT) < 100), width=same, height=same, brightness=same, sharpness=same) == []


@given(st.lists(st.booleans(), min_size=1, max_size=60), st.integers(1, 5))
def test_any_predictions_can_be_sliced(right, folders):
    from darkroom.evaluate import slices

    rows = [
        {"picture": f"train/a/{number % folders}__{number}.jpg", "source_group": str(number % 3), "source": ""}
        | dict.fromkeys(MEASURES, str(number % 4 + 1))
        for number in range(len(right))
    ]
    members = [member for _, _, member in slices._slices(rows)]
    assert all(member.shape == (len(right),) for member in members)
