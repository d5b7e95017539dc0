"""Params of any name and length reach MLflow, and can be read back."""

import mlflow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.utils.validation import _validate_param

from darkroom.tracking import names, store, training_record
from tests.helpers.project import set_params
from tests.helpers.stores import new_store


def test_names_stay_readable():
    assert names.encoded("download.classes.tench, Tinca tinca") == "download.classes.tench:2C: Tinca tinca"
    assert names.encoded("train.head.hidden_1-x y") == "train.head.hidden_1-x y"


@given(st.text())
def test_encoding_is_reversible_and_accepted(name):
    encoded = names.encoded(f"download.{name}")
    assert names.decoded(encoded) == f"download.{name}"
    if len(encoded) <= names.LONGEST_NAME:
        _validate_param(encoded, "")


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.none(), max_size=5))
def test_all_params_are_accepted(classes):
    logged = names.logged({"download": {"classes": classes}})
    assert len(logged) == len(classes)
    for name, value in logged.items():
        _validate_param(name, value)
        value.encode()


def test_what_is_too_long_is_told_apart_by_its_end():
    logged = names.logged({"a": {"x" * 300: "y" * 9000, "x" * 299 + "z": "y" * 9000 + "z"}})
    assert sorted(map(len, logged)) == [250, 250]
    assert [len(value) for value in logged.values()] == [6000, 6000]
    assert len(set(logged.values())) == 2


ODD = {
    "tench, Tinca tinca": "tench", "a/../b": "x", "50 % : ?": "y", "\U0001f600": "z", "=1+1": "a", "<b>": "b",
    "t\tab": "c",
    "l" * 255: "d", **{f"class {number}": "e" for number in range(150)},
}  # fmt: skip


@pytest.fixture
def own_store(workspace):
    new_store(workspace / "mlflow.db")
    yield store.connect()
    mlflow.set_tracking_uri(None)


def test_a_run_has_the_params_of_any_classes(own_store, workspace):
    set_params(workspace, {"download.classes": ODD})
    with mlflow.start_run(experiment_id=own_store) as active:
        mlflow.log_params(names.logged(training_record.params.complete(training_record.params.load())))
    run = mlflow.get_run(active.info.run_id)
    assert training_record.has_current_params(run)
    assert run.data.params["download.classes.tench:2C: Tinca tinca"] == "tench"
    set_params(workspace, {"download.classes": {**ODD, "tench, Tinca tinca": "other"}})
    assert not training_record.has_current_params(run)
