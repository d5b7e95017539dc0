import pytest

from darkroom.split.methods import METHODS
from darkroom.split.params import Params
from tests.helpers.split_files import METHODS as TESTED


def test_the_methods_are_those_of_the_table():
    assert tuple(METHODS) == TESTED
    with pytest.raises(ValueError, match="Input should be 'ratio', 'fixed', 'kfold', 'ordered' or 'stable'"):
        Params(method="random")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"method": "fixed", "fixed": None},
            "method fixed needs the numbers of pictures of each class for val and test",
        ),
        ({"folds": 3, "fold": 4}, "the folds are 1 to 3"),
        ({"group": "("}, "it is not a regular expression"),
        ({"ratio": [0.5, 0.5, 0.5]}, "must be shares that add up to 1"),
    ],
)
def test_params_that_do_not_fit_are_refused(changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        Params(**changes)
