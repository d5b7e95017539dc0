"""Every type of head on real features, a row of a table each: its fit, its weights on disk, its sweep, its gate."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier

from darkroom.core.errors import UserError
from darkroom.export.parity import EXACT, VOTES, gate
from darkroom.models import forward, head_model, heads
from darkroom.models.heads.base import Classical
from darkroom.models.inputs import Held
from darkroom.train.params import Head
from tests.helpers.training import fitted_head, head_params, small_features

pytestmark = pytest.mark.usefixtures("tensorflow")
CLASSES = 10


class Row(NamedTuple):
    """What is tested of a type of head."""

    keys: list[str]  # of train.head
    prepare: list[str]  # by default
    values: list[Any]  # of the knob, of which the first is not the best
    peer: Callable[[Any], Any]  # scikit-learn's own classifier with a value of the knob
    agrees: Callable[[Any, Any, Any, Any], Any]  # logits (rows, n), the fitted peer, new rows, the value
    accuracy: float = 0.6  # at least; chance is 0.1
    votes: bool = False


def near(difference, tolerance):
    assert np.abs(difference).max() < tolerance


def agrees_except_for_ties(logits, peer, rows, value):
    """Smoothing in each leaf changes probabilities, but not the order where scikit-learn's have one."""
    expected = np.sort(peer.predict_proba(rows), axis=1)
    clear = expected[:, -1] > expected[:, -2]
    assert (logits.argmax(axis=1) == peer.predict_proba(rows).argmax(axis=1))[clear].all()


HEADS = {
    "logistic": Row(
        ["C"],
        ["sqrt", "l2"],
        [1e-4, 10.0, 1e3],
        lambda c: LogisticRegression(C=c, max_iter=1000),
        lambda logits, peer, rows, _: near(softmax(logits, axis=1) - peer.predict_proba(rows), 1e-3),
    ),
    "linear_svm": Row(
        ["C"],
        ["sqrt", "l2"],
        [1e-4, 1.0, 1e2],
        lambda c: LinearSVC(C=c, random_state=1),
        lambda logits, peer, rows, _: near(logits - peer.decision_function(rows), 1e-3),
    ),
    "rbf_svm": Row(
        ["C"],
        ["sqrt", "l2"],
        [1e-4, 3.0],
        lambda c: OneAgainstTheRest(c),
        lambda logits, peer, rows, _: near(logits - peer.decision_function(rows), 2e-3),
    ),
    "knn": Row(
        ["neighbours"],
        ["sqrt", "l2"],
        [1, 7, 80],
        KNeighborsClassifier,
        # Half a vote more for each class.
        lambda logits, peer, rows, k: near(np.exp(logits) - (k * peer.predict_proba(rows) + 0.5) / (k + 5), 1e-5),
        votes=True,
    ),
    "tree": Row(
        ["leaf"],
        ["l2"],
        [80, 5, 1],
        lambda leaf: DecisionTreeClassifier(min_samples_leaf=leaf, random_state=1),
        agrees_except_for_ties,
        accuracy=0.4,
        votes=True,
    ),
    "forest": Row(
        ["trees"],
        ["sqrt", "l2"],
        [1, 20],
        lambda count: RandomForestClassifier(count, random_state=1),
        lambda logits, peer, rows, n: near(
            np.exp(logits) - (peer.predict_proba(rows) + 1 / n) / (1 + CLASSES / n), 1e-5
        ),
        votes=True,
    ),
}
ALL = ["dense", *HEADS]


class OneAgainstTheRest:
    """A support vector machine for each class, as scikit-learn itself does not combine them."""

    def __init__(self, c):
        self.c = c

    def fit(self, x, y):
        self.machines = [SVC(C=self.c).fit(x, y == number) for number in range(CLASSES)]
        return self

    def decision_function(self, rows):
        return np.stack([machine.decision_function(rows) for machine in self.machines], axis=1)


@pytest.fixture(scope="module")
def features(project):
    return small_features(project)


@pytest.fixture(scope="module")
def two(project):
    """The same for two of the classes."""
    return small_features(project, ["Coat", "Dress"])


def fitted(name, data, **changes):
    one = {"C": [1.0], "neighbours": [7], "leaf": [3], "trees": [20]}
    return fitted_head(data, head={"type": name, **one, **changes})


def test_every_type_has_its_row():
    assert list(heads.registered()) == ALL
    with pytest.raises(ValueError, match=r"should be 'dense', 'logistic', .* or 'forest'"):
        Head(type="perceptron")


def test_the_keys_of_a_head_are_in_the_params():
    """In the order of params.yaml, which model.json has too."""
    assert list(Head().model_dump(by_alias=True)) == [
        "type", "prepare", "hidden", "activation", "batch_norm", "dropout", "output", "C", "neighbours", "leaf", "trees"
    ]  # fmt: skip
    for name, row in HEADS.items():
        assert list(heads.registered()[name].settings().model_dump(by_alias=True)) == row.keys


@pytest.mark.parametrize("name", HEADS)
def test_a_classical_head_is_scikit_learns(features, name, tmp_path):
    """With the best value of its knob it predicts what scikit-learn predicts, and the same when loaded from disk."""
    row, (train, val, classes) = HEADS[name], features
    settings, head, history = fitted(name, features, **{row.keys[0]: row.values})
    knob = heads.registered()[name].knob
    assert history[knob] == row.values
    best = int(np.argmin(history["val_loss"]))
    value = row.values[best]
    assert best > 0  # so that a choice was made
    assert settings["fitted"][knob] == value
    logits = forward.run(head, val)
    accuracy = (logits.argmax(axis=1) == val.numbers(classes)).mean()
    assert accuracy >= row.accuracy
    assert accuracy == pytest.approx(history["val_accuracy"][best], abs=1e-6)

    prepared = head_model.prepare({"type": name, "prepare": row.prepare}, train.rows().shape[1])
    x, new = forward.run(prepared, train), forward.run(prepared, val)
    row.agrees(logits, row.peer(value).fit(x, train.numbers(classes)), new, value)

    # Fitted with this value alone, and with the default steps by name, it is the same head, in the same bytes on disk.
    again, same, _ = fitted(name, features, prepare=row.prepare, **{knob: [value]})
    for number, model in enumerate((head, same)):
        model.save_weights(tmp_path / f"{number}.weights.h5")
    assert (tmp_path / "0.weights.h5").read_bytes() == (tmp_path / "1.weights.h5").read_bytes()
    loaded = head_model.build(again, head.input_shape[1], len(classes))
    loaded.load_weights(tmp_path / "0.weights.h5")
    assert (forward.run(loaded, val) == logits).all()


def test_a_dense_head_is_the_same_from_the_same_seed_and_from_disk(features, tmp_path):
    settings, head, history = fitted("dense", features)
    _, same, _ = fitted("dense", features, prepare=["one"])
    logits = forward.run(head, features[1])
    assert (forward.run(same, features[1]) == logits).all()
    accuracy = (logits.argmax(axis=1) == features[1].numbers(features[2])).mean()
    assert accuracy >= 0.6
    assert accuracy == pytest.approx(history["val_accuracy"][int(np.argmin(history["val_loss"]))], abs=1e-6)
    head.save_weights(tmp_path / "head.weights.h5")
    loaded = head_model.build(settings, head.input_shape[1], CLASSES)
    loaded.load_weights(tmp_path / "head.weights.h5")
    assert (forward.run(loaded, features[1]) == logits).all()


@pytest.mark.parametrize("name", ALL)
def test_balanced_weights_find_more_of_the_rare_class(two, name):
    """Of one of two classes, only every tenth picture is there to train on. Without that, the head learns both."""
    train, val, classes = two
    _, head, _ = fitted(name, two)
    assert (forward.run(head, val).argmax(axis=1) == val.numbers(classes)).mean() >= 0.7
    numbers = train.numbers(classes)
    rows = np.sort(np.concatenate([np.flatnonzero(numbers == 0), np.flatnonzero(numbers == 1)[::10]]))
    few = Held(train.rows(rows), train, rows), val, classes
    margins = []
    for weights in ("none", "balanced"):
        one = {"C": [1.0], "neighbours": [7], "leaf": [2], "trees": [20]}
        _, head, _ = fitted_head(few, head={"type": name, **one}, class_weights=weights, epochs=6)
        logits = forward.run(head, val)[val.numbers(classes) == 1]
        margins.append((logits[:, 1] - logits[:, 0]).mean())
    assert margins[1] > margins[0]


@pytest.mark.parametrize("name", ALL)
def test_constant_features_are_no_error(features, name):
    train, val = (Held(np.ones((len(part), 8), np.float32), part) for part in features[:2])
    _, head, _ = fitted(name, (train, val, features[2]))
    assert np.isfinite(forward.run(head, val)).all()


@pytest.mark.parametrize("name", HEADS)
def test_a_sweep_searches_the_knob(name):
    """Over all of its range; the first trial is valid, and in the range."""
    head = heads.registered()[name]
    assert isinstance(head, Classical)
    calls = []

    def suggest(parameter, low, high, log):
        calls.append((parameter, low, high, log))
        return low

    drawn = head.draw(SimpleNamespace(suggest_int=suggest, suggest_float=suggest))
    low, high = head.limits
    assert calls == [(f"{name}.{head.knob}", low, high, True)]
    assert drawn == {"head": {head.knob: [low]}, "label_smoothing": 0.0, "teacher": None}
    assert low <= head.start[head.knob] <= high
    assert head_params(head={"type": name, **drawn["head"]}).head.type == name


@pytest.mark.parametrize("name", ALL)
def test_exports_of_heads_that_count_votes_may_differ_by_a_vote(name):
    votes = name in HEADS and HEADS[name].votes
    assert heads.counts_votes(name) == votes
    assert gate("onnx", name) == (VOTES if votes else EXACT)
    assert not heads.counts_votes("small_resnet")


def test_memory_is_checked_before_a_fit(features, monkeypatch):
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=10**6))
    with pytest.raises(UserError, match=r"train\.head forest on 420 pictures with 512 features would take .* memory"):
        fitted("forest", features)


def test_one_sigmoid_is_a_softmax_of_two(two, features):
    """Its logits are (0, z); trained alike, its cross-entropy is the binary one."""
    _, head, history = fitted("dense", two, output="sigmoid", dropout=0.0)
    logits = forward.run(head, two[1])
    assert (logits[:, 0] == 0).all()
    labels = two[1].numbers(two[2])
    sigmoid = 1 / (1 + np.exp(-logits[:, 1].astype(np.float64)))
    binary = -np.where(labels, np.log(sigmoid), np.log(1 - sigmoid)).mean()
    assert binary == pytest.approx(min(history["val_loss"]), rel=1e-5)
    with pytest.raises(UserError, match=r"train\.head\.output sigmoid is for two classes, but there are 10"):
        fitted("dense", features, output="sigmoid")


@pytest.mark.parametrize(
    ("activation", "function", "batch_norm"),
    [
        ("relu", lambda x: np.maximum(x, 0), True),
        ("tanh", np.tanh, False),
        ("sigmoid", lambda x: 1 / (1 + np.exp(-x)), True),
        ("leaky_relu", lambda x: np.where(x > 0, x, 0.2 * x), False),
    ],
)
def test_a_dense_head_has_its_activation_and_learns(features, activation, function, batch_norm):
    """With batch norm or without, it learns; without, what it computes is what NumPy computes."""
    own = {"activation": activation, "batch_norm": batch_norm, "hidden": [32]}
    _, head, history = fitted("dense", features, **own)
    assert history["loss"][-1] < history["loss"][0]
    assert max(history["val_accuracy"]) > 0.5
    kinds = [type(layer).__name__ for layer in head.layers]
    assert kinds.count("BatchNormalization") == batch_norm
    settings = head_params(head={**own, "batch_norm": False, "prepare": []}).head.model_dump(by_alias=True)
    head = head_model.build(settings, 512, CLASSES)
    kernel, bias, out, out_bias = (array.astype(np.float64) for array in head.get_weights())
    expected = function(features[1].rows() @ kernel + bias) @ out + out_bias
    near(forward.run(head, features[1]) - expected, 1e-4 * np.abs(expected).max())


def test_every_hidden_layer_has_its_units_dropout_and_batch_norm():
    own = {"hidden": [8, 4], "dropout": [0.1, 0.2, 0.3], "batch_norm": True}
    layers = head_model.build(head_params(head=own).head.model_dump(by_alias=True), 16, 3).layers
    kinds = {kind: [layer for layer in layers if type(layer).__name__ == kind] for kind in ("Dense", "Dropout")}
    assert [layer.units for layer in kinds["Dense"]] == [8, 4, 3]
    assert [layer.rate for layer in kinds["Dropout"]] == [0.1, 0.2, 0.3]
    assert sum(type(layer).__name__ == "BatchNormalization" for layer in layers) == 2


def test_distances_far_from_zero_are_exact_enough():
    from darkroom.models.heads.layers import squared_distances

    random = np.random.default_rng(0)
    vectors, x = (1000 + random.normal(0, 1, (count, 512)) for count in (50, 9))
    expected = ((x[:, None] - vectors[None]) ** 2).sum(axis=2)
    near(
        np.array(squared_distances(x.astype(np.float32), vectors.astype(np.float32))) - expected, 1e-3 * expected.mean()
    )


def test_the_radial_kernel_is_summed_without_loss_of_precision():
    """In float32, although there are many rows of each class in a row; compared with float64."""
    random = np.random.default_rng(0)
    labels = np.repeat(["a", "b", "c"], 400)
    rows = (random.normal(size=(1200, 40)) + np.repeat(np.eye(3, 40), 400, axis=0)).astype(np.float32)
    pictures = SimpleNamespace(paths=[str(number) for number in range(1200)], labels=labels.tolist())
    data = Held(rows, pictures)
    _, head, _ = fitted("rbf_svm", (data, data, ["a", "b", "c"]), prepare=[], C=[30.0])
    vectors, gamma = (array.astype(np.float64) for array in head.get_layer("kernel").get_weights())
    coefficients, intercepts = (array.astype(np.float64) for array in head.get_layer("classifier").get_weights())
    distances = ((rows[::9, None].astype(np.float64) - vectors) ** 2).sum(axis=2)
    exact = np.exp(-gamma * distances) @ coefficients + intercepts
    assert np.abs(head(rows[::9]).numpy() - exact).max() < 8e-5  # class by class, 1.7e-4
