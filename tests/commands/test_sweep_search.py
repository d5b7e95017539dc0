"""The ranges that a sweep searches."""

import optuna
import pytest

from darkroom.commands.sweep import search
from darkroom.core.params import overlay
from darkroom.models import heads
from darkroom.pipeline import params
from darkroom.train.params import Params
from tests.helpers.project import ROOT


@pytest.mark.parametrize("kind", search.TYPES)
def test_all_draws_are_valid_and_cover_the_ranges(kind):
    random = optuna.create_study(sampler=optuna.samplers.RandomSampler(1))
    random.enqueue_trial(search.first(kind))
    head, content, drawn = heads.registered()[kind], params.load(ROOT / "params.yaml"), []
    for number in range(40):
        change = search.drawn(random.ask(), [kind])
        drawn.append(change["head"])
        settings = Params(**overlay(content, {"train": change})["train"])
        if number == 0:
            assert tuple(settings.head.prepare) == head.prepare
            assert (settings.learning_rate, settings.optimizer, settings.batch_size) == (3e-4, "adam", 256)
    key = getattr(head, "knob", "hidden")
    assert len({str(settings[key]) for settings in drawn}) > 15
    assert len({str(settings["prepare"]) for settings in drawn}) == len(search.PREPARE)
