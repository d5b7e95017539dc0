import pytest

from darkroom.download.params import Params


@pytest.mark.parametrize("source", ["archive", "csv", "folder", "idx"])
def test_only_tfds_needs_a_name(source):
    assert Params(source=source, name=None).name is None


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"source": "tfds", "name": None}, "source tfds needs the name of a data set, such as fashion_mnist:3.0.1"),
        ({"source": "base"}, "Input should be 'archive', 'csv', 'folder', 'idx', 'table' or 'tfds'"),
        ({"classes": {"a": "x/y"}}, "'x/y' cannot be the name of a folder: 'x_y' can"),
    ],
)
def test_params_that_do_not_fit_are_refused(values, sentence):
    with pytest.raises(ValueError, match=sentence):
        Params(**values)


def test_classes_may_be_listed_or_renamed():
    assert Params(classes=["a/b"]).classes == ["a/b"]  # the source's own names
    assert Params(classes={"a/b": "ab"}).classes == {"a/b": "ab"}
