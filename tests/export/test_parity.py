"""How closely a format must agree with Keras, and what is reported."""

import contextlib
import dataclasses
from pathlib import Path

import numpy as np
import pytest

from darkroom.core import paths
from darkroom.core.errors import UserError
from darkroom.core.files import read_csv
from darkroom.export import parity
from darkroom.export.conversion import Conversion
from darkroom.images.decode import decode
from darkroom.inference.formats import FORMATS, onnx
from darkroom.inference.formats.base import EXACT

# Keras' probabilities of four pictures, and those of a format; whether each of the three gates lets them pass.
KERAS = [[0.9, 0.1], [0.5, 0.5], [0.3, 0.7], [0.2, 0.8]]
GATES = [
    (KERAS, True, True, True),
    ([[0.9, 0.1], [0.49995, 0.50005], [0.3, 0.7], [0.2, 0.8]], True, True, True),  # a tie may fall either way
    ([[0.9, 0.1], [0.5, 0.5], [0.3, 0.7], [0.2002, 0.7998]], False, False, True),
    ([[0.9, 0.1], [0.5, 0.5], [0.3, 0.7], [0.6, 0.4]], False, False, False),  # three labels of four
    ([[np.nan] * 2] * 4, False, False, False),
]


@pytest.mark.parametrize(("given", "exact", "votes", "int8"), GATES)
def test_what_a_gate_lets_pass(given, exact, votes, int8):
    rows = [{"label": "a", "predicted": "a"}] * 2 + [{"label": "b", "predicted": "b"}] * 2
    for name, head, passes in (
        ("onnx", "dense", exact), ("litert", "forest", votes), ("litert_int8", "dense", int8),
        ("litert_int8", "knn", int8),
    ):  # fmt: skip
        with contextlib.nullcontext() if passes else pytest.raises(UserError, match=r"disagrees with Keras on 4 test"):
            report = parity.report(name, np.array(given), np.array(KERAS), rows, ["a", "b"], parity.gate(name, head))
            assert report["keras_accuracy"] == 1
            assert (
                report["accuracy"] == report["same_as_evaluated"] == np.mean(np.argmax(given, axis=1) == [0, 0, 1, 1])
            )


def test_a_forest_may_decide_differently_for_a_few_pictures():
    expected = np.tile([0.9, 0.1], (20, 1))
    given = expected.copy()
    given[:2] = [0.8973, 0.1027]
    rows = [{"label": "a", "predicted": "a"}] * 20
    report = parity.report("onnx", given, expected, rows, ["a", "b"], parity.gate("onnx", "forest"))
    assert (report["same_label"], report["within"]) == (1, 0.003)
    given[2] = [0.897, 0.103]
    with pytest.raises(UserError, match=r"100.0% of the labels are the same, probabilities differ by up to 3.0e-03"):
        parity.report("onnx", given, expected, rows, ["a", "b"], parity.gate("onnx", "forest"))


def test_differences_that_depend_on_the_machine_are_not_reported():
    """Arithmetic in another order: below the tolerance, the tolerance is reported."""
    rows = [{"label": "a", "predicted": "a"}] * 4
    reports = [
        parity.report("onnx", np.array(KERAS) + noise, np.array(KERAS), rows, ["a", "b"], EXACT)
        for noise in (1e-7, 3e-6)
    ]
    assert reports[0] == reports[1]
    assert reports[0]["within"] == 1e-4


def test_a_network_from_scratch_has_the_exact_gate():
    assert parity.gate("onnx", "mini_vggnet") == EXACT


@pytest.mark.usefixtures("tensorflow")
class TestHalves:
    """Of files with the same backbone, or another, and a cache that is empty at first."""

    @pytest.fixture
    def given(self, exported, tmp_path, monkeypatch):
        """A function that writes a model in a format, and compares its file's probabilities with the model's own.

        It also records what went through a backbone.
        """
        monkeypatch.chdir(exported.folder)
        monkeypatch.setattr(paths, "home", lambda: tmp_path)
        rows = read_csv(Path("reports/predictions.csv"))[:7]

        def compare(model, name):
            path = Conversion(model.whole(), list(model.spec.classes)).write(FORMATS[name], tmp_path)
            halves = FORMATS[name].halves(path)

            def counted(pixels):
                compare.passes += 1
                return halves.features(pixels)

            result = parity.in_halves(dataclasses.replace(halves, features=counted), rows, name)
            expected = [model.whole()(decode(Path(row["path"]))[None])[0] for row in rows]
            assert np.abs(result - np.stack(expected)).max() < parity.TOLERANCE
            return result

        compare.passes = 0
        return compare

    @pytest.mark.parametrize("name", [name for name in FORMATS if FORMATS[name].halves])
    def test_another_head_needs_no_pass_and_no_conversion_of_the_backbone(self, exported, given, name, monkeypatch):
        conversions = []
        convert = onnx.converted
        monkeypatch.setattr(onnx, "converted", lambda *arguments: conversions.append(1) or convert(*arguments))
        spec = exported.model.spec
        other = dataclasses.replace(exported.model, spec=spec.model_copy(update={"temperature": 2 * spec.temperature}))
        first, second = (given(model, name) for model in (exported.model, other))
        assert np.abs(first - second).max() > 0.01
        assert given.passes == len(first)
        assert len(conversions) == (3 if name == "onnx" else 0)  # a backbone and two heads

    @pytest.mark.parametrize("name", [name for name in FORMATS if FORMATS[name].halves])
    def test_another_backbone_computes_features_of_its_own(self, exported, given, name):
        other = dataclasses.replace(exported.model)  # loads the backbone again
        kernel = other.backbone.layers[1].weights[0]
        kernel.assign(1.5 * kernel)
        first, second = (given(model, name) for model in (exported.model, other))
        assert np.abs(first - second).max() > 0.01
        assert given.passes == 2 * len(first)
