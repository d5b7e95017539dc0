import pytest

from darkroom.train.params import Params
from tests.helpers.training import head_params, scratch_params


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"steps": 10}, "steps needs validate_every"),
        ({"steps": 10, "validate_every": 4}, "steps 10 must be a multiple of validate_every, 4"),
        ({"keep": 3}, "keep 3 needs checkpoints: all"),
        ({"keep": 4, "checkpoints": "all"}, "keep 4 is an epoch after the last one, 3"),
        ({"mode": "fine_tune", "steps": 4, "validate_every": 2}, "steps is for modes head and scratch"),
        ({"mode": "fine_tune", "head": {"type": "knn"}}, "mode fine_tune needs a head of type dense"),
        (
            {"mode": "head", "head": {"type": "knn"}, "label_smoothing": 0.1},
            "label_smoothing is for a head of type dense",
        ),
        ({"warmup_epochs": 3}, "warmup_epochs 3 leaves no epoch for the full rate: lower it"),
        (
            {"mode": "fine_tune", "warmup_epochs": 2, "fine_tune": {"epochs": 2}},
            "2 must be fewer than fine_tune.epochs",
        ),
        ({"mode": "head", "head": {"type": "knn"}, "teacher": "data/weights/a"}, "teacher is for a head of type dense"),
        ({"device": "cpu:0", "strategy": "mirrored"}, "strategy mirrored is for several devices, but device is cpu:0"),
        ({"head": {"hidden": [4], "dropout": [0.1]}}, "dropout has 1 values, but there are 2 dense"),
        ({"head": {"prepare": ["l2", "l2"]}}, "each step may occur only once"),
        ({"fine_tune": {"unfreeze": ""}}, "must be all, none, the name of a layer or block, or a number of layers"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        scratch_params(**changes)


def test_the_last_epoch_to_keep_is_that_of_all_phases():
    phases = {"mode": "fine_tune", "checkpoints": "all", "epochs": 3, "fine_tune": {"epochs": 2}}
    assert Params(**phases, keep=5).keep == 5
    with pytest.raises(ValueError, match="keep 6 is an epoch after the last one, 5"):
        Params(**phases, keep=6)
    with pytest.raises(ValueError, match="keep 3 is an epoch after the last one, 2"):
        Params(**{**phases, "fine_tune": {"epochs": 2, "warm_up": False}}, keep=3)


def test_the_report_has_the_settings_that_a_mode_uses():
    descent = {"optimizer", "learning_rate", "schedule", "batch_size", "epochs", "steps", "patience", "keep"}
    descent |= {"warmup_epochs", "ema"}
    common = {"class_weights", "label_smoothing", "calibration"}
    assert set(head_params(head={"type": "knn"}).reported()) == common
    assert set(head_params().reported()) == common | descent
    assert set(scratch_params().reported()) == common | descent | {"scratch"}
    assert set(Params(mode="fine_tune").reported()) == common | descent | {"fine_tune"}


def test_the_key_of_the_state_leaves_out_what_changes_no_weight():
    key = head_params(precision="float32").state_key()
    assert head_params(precision="float32", keep="last", calibration="none", log_devices=True).state_key() == key
    assert head_params(precision="float32", patience=6).state_key() != key
