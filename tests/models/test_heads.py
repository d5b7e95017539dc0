"""Every head on real features: it says what scikit-learn's own says, and the same after a detour over the disk."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier

from darkroom.core import runtime
from darkroom.core.errors import UserError
from darkroom.models import heads
from darkroom.models.inputs import Features, Held
from darkroom.train import classical
from darkroom.train.params import Head
from stages import train
from tests.helpers.training import session
from tests.train.test_train import params

CLASSICAL = sorted(classical.KNOBS)
ONE = {"C": [1.0], "neighbours": [7], "leaf": [3], "trees": [20]}


@pytest.fixture(scope="module")
def features(project):
    """Every eighth training and validation feature of the small project, and its class names."""
    both = [Features(project / "data/features", part, ["block3_pool"]) for part in ("train", "val")]
    return (*(Held(np.ascontiguousarray(part.rows()[:, ::8]), part) for part in both), sorted(set(both[0].labels)))


@pytest.fixture(scope="module")
def two(features):
    """The same for two of the classes."""
    chosen = []
    for inputs in features[:2]:
        which = np.flatnonzero(np.isin(inputs.labels, ["Coat", "Dress"]))
        chosen.append(Held(inputs.rows(which), inputs, which))
    return (*chosen, ["Coat", "Dress"])


def fitted(kind, data, **changes):
    runtime.prepare(1)
    settings, head, history = train.fit_head(params(head={"type": kind, **ONE, **changes}), *data, session())
    return settings, head, history


def peers(kind):
    return {
        "logistic": LogisticRegression(max_iter=1000),
        "linear_svm": LinearSVC(random_state=1),
        "rbf_svm": SVC(),
        "knn": KNeighborsClassifier(7),
        "tree": DecisionTreeClassifier(min_samples_leaf=3, random_state=1),
        "forest": RandomForestClassifier(20, random_state=1),
    }[kind]


@pytest.mark.parametrize("kind", CLASSICAL)
@pytest.mark.parametrize("prepare", [[], ["sqrt", "l2"]])
def test_a_head_says_what_scikit_learn_says(features, kind, prepare):
    train_, val, classes = features
    _, head, _ = fitted(kind, features, prepare=prepare)
    settings = {"type": kind, "prepare": prepare}
    prepared = heads.prepare(settings, train_.rows().shape[1])
    x, y = heads.run(prepared, train_), train_.numbers(classes)
    new = heads.run(prepared, val)
    model = peers(kind)
    logits = heads.run(head, val)
    if kind == "rbf_svm":  # one against the rest, in Keras' arithmetic
        for number in range(len(classes)):
            expected = model.fit(x, y == number).decision_function(new)
            assert np.abs(logits[:, number] - expected).max() < 2e-3
        return
    model.fit(x, y)
    if kind == "linear_svm":
        assert np.abs(logits - model.decision_function(new)).max() < 1e-3
        return
    expected = model.predict_proba(new)
    if kind == "logistic":
        assert np.abs(softmax(logits, axis=1) - expected).max() < 1e-3
    if kind == "knn":  # half a vote more for each class
        assert np.abs(np.exp(logits) - (7 * expected + 0.5) / (7 + 5)).max() < 1e-5
    if kind == "tree":  # smoothed in each leaf, so that only the order stays
        alone = expected.max(axis=1) - np.sort(expected, axis=1)[:, -2] > 0
        assert (logits.argmax(axis=1) == expected.argmax(axis=1))[alone].all()
    if kind == "forest":
        assert np.abs(np.exp(logits) - (expected + 1 / 20) / (1 + 10 / 20)).max() < 1e-5


@pytest.mark.parametrize("kind", ["dense", *CLASSICAL])
def test_a_head_learns_two_and_ten_classes(features, two, kind):
    for data, least in ((features, 0.4 if kind == "tree" else 0.6), (two, 0.7)):
        _, head, history = fitted(kind, data)
        right = (heads.run(head, data[1]).argmax(axis=1) == data[1].numbers(data[2])).mean()
        assert right >= least
        assert right == pytest.approx(history["val_accuracy"][int(np.argmin(history["val_loss"]))], abs=1e-6)


@pytest.mark.parametrize("kind", ["dense", *CLASSICAL])
def test_one_seed_gives_one_head_and_the_disk_keeps_it(features, kind, tmp_path):
    """The bytes of the file too, so that DVC sees no change where there is none."""
    said = []
    for number in range(2):
        settings, head, _ = fitted(kind, features)
        head.save_weights(tmp_path / f"{number}.weights.h5")
        again = heads.build(settings, head.input_shape[1], len(features[2]))
        again.load_weights(tmp_path / f"{number}.weights.h5")
        said.append(heads.run(head, features[1]))
        assert (heads.run(again, features[1]) == said[-1]).all()
    assert (said[0] == said[1]).all()
    if kind != "dense":  # there Keras numbers the generators of dropout; other processes begin anew with them
        assert (tmp_path / "0.weights.h5").read_bytes() == (tmp_path / "1.weights.h5").read_bytes()


@pytest.mark.parametrize("kind", CLASSICAL)
def test_the_value_with_the_lowest_loss_on_val_stays(features, kind):
    knob = classical.KNOBS[kind]
    values = {"C": [1e-4, 1.0, 1e4], "neighbours": [1, 5, 80], "leaf": [1, 5, 40], "trees": [1, 9]}[knob]
    settings, head, history = fitted(kind, features, **{knob: values})
    assert history[knob] == values
    best = int(np.argmin(history["val_loss"]))
    assert settings["fitted"][knob] == values[best]
    alone = fitted(kind, features, **{knob: [values[best]]})[1]
    assert (heads.run(alone, features[1]) == heads.run(head, features[1])).all()


@pytest.mark.parametrize("kind", ["dense", *CLASSICAL])
def test_balanced_weights_find_more_of_the_rare_class(two, kind):
    """Of one class only every tenth picture is there to train on."""
    train_, val, classes = two
    numbers = train_.numbers(classes)
    rare = np.flatnonzero(numbers == 1)[::10]
    which = np.sort(np.concatenate([np.flatnonzero(numbers == 0), rare]))
    few = Held(train_.rows(which), train_, which)
    found = []
    for weights in ("none", "balanced"):
        changed = params(head={"type": kind, **ONE, "leaf": [2]}, class_weights=weights, epochs=8)
        _, head, _ = train.fit_head(changed, few, val, classes, session())
        logits = heads.run(head, val)
        found.append(float((logits[:, 1] - logits[:, 0])[val.numbers(classes) == 1].mean()))
    assert found[1] > found[0]


def test_one_sigmoid_is_a_softmax_of_two(two):
    """Its logits are (0, z); trained alike, its cross-entropy is the binary one."""
    _, head, history = fitted("dense", two, output="sigmoid", dropout=0.0)
    logits = heads.run(head, two[1])
    assert (logits[:, 0] == 0).all()
    labels = two[1].numbers(two[2])
    sigmoid = 1 / (1 + np.exp(-logits[:, 1].astype(np.float64)))
    binary = -np.where(labels, np.log(sigmoid), np.log(1 - sigmoid)).mean()
    assert binary == pytest.approx(min(history["val_loss"]), rel=1e-5)


def test_one_sigmoid_for_more_classes_is_refused(features):
    with pytest.raises(UserError, match=r"train\.head\.output sigmoid is for two classes, but there are 10"):
        fitted("dense", features, output="sigmoid")


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid", "leaky_relu"])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_every_activation_learns(features, activation, batch_norm):
    _, _, history = fitted("dense", features, activation=activation, batch_norm=batch_norm)
    assert history["loss"][-1] < history["loss"][0]
    assert max(history["val_accuracy"]) > 0.5


@pytest.mark.parametrize(
    ("activation", "function"),
    [
        ("relu", lambda x: np.maximum(x, 0)),
        ("tanh", np.tanh),
        ("sigmoid", lambda x: 1 / (1 + np.exp(-x))),
        ("leaky_relu", lambda x: np.where(x > 0, x, 0.2 * x)),
    ],
)
def test_the_activation_is_the_one_asked_for(features, activation, function):
    settings = params(head={"activation": activation, "prepare": []}).head.model_dump(by_alias=True)
    head = heads.build(settings, 512, 10)
    kernel, bias, out, out_bias = (array.astype(np.float64) for array in head.get_weights())
    expected = function(features[1].rows() @ kernel + bias) @ out + out_bias
    assert np.abs(heads.run(head, features[1]) - expected).max() < 1e-4 * np.abs(expected).max()


def test_batch_norm_is_there_where_it_is_asked_for():
    counts = []
    for wanted in (False, True):
        settings = params(head={"batch_norm": wanted, "hidden": [8, 8]}).head.model_dump(by_alias=True)
        layers = heads.build(settings, 16, 3).layers
        counts.append(sum(type(layer).__name__ == "BatchNormalization" for layer in layers))
    assert counts == [0, 2]


def test_label_smoothing_makes_a_head_less_sure(features):
    sure = []
    for smoothing in (0.0, 0.3):
        _, head, _ = train.fit_head(params(label_smoothing=smoothing, epochs=8), *features, session())
        sure.append(softmax(heads.run(head, features[1]), axis=1).max(axis=1).mean())
    assert sure[1] < sure[0] - 0.1


@pytest.mark.parametrize("steps", [["one"], ["each"], ["l2"], ["sqrt"], ["sqrt", "each"], ["sqrt", "l2", "each"], []])
def test_features_are_prepared_as_numpy_would(features, steps):
    rows = features[0].rows()
    model = heads.prepare({"type": "dense", "prepare": steps}, rows.shape[1])
    heads.fit_scale(model, features[0])
    x = rows.astype(np.float64)
    for step in steps:
        if step == "sqrt":
            x = np.sign(x) * np.sqrt(np.abs(x))
        elif step == "l2":
            x = x / np.linalg.norm(x, axis=1, keepdims=True)
        else:
            axis = None if step == "one" else 0
            variance = x.var(axis=axis)
            x = (x - x.mean(axis=axis)) / np.sqrt(np.maximum(variance, heads.LEAST_VARIANCE * np.mean(variance)))
    assert np.abs(heads.run(model, features[0]) - x).max() < 2e-3 * max(1, np.abs(x).max())


def test_a_feature_that_hardly_varied_does_not_blow_up(features):
    train_ = features[0]
    x = train_.rows().copy()
    x[:, 0] = 1.0
    model = heads.prepare({"type": "dense", "prepare": ["each"]}, x.shape[1])
    heads.fit_scale(model, Held(x, train_))
    new = x[:1].copy()
    new[0, 0] = 2.0
    assert abs(heads.run(model, Held(new, train_, slice(0, 1)))[0, 0]) < 1000


@pytest.mark.parametrize("kind", ["dense", *CLASSICAL])
def test_features_that_are_all_the_same_are_no_error(features, kind):
    same = [Held(np.ones((len(part), 8), np.float32), part) for part in features[:2]]
    _, head, _ = fitted(kind, (*same, features[2]))
    assert np.isfinite(heads.run(head, same[1])).all()


def test_distances_far_from_zero_are_exact_enough():
    random = np.random.default_rng(0)
    vectors, x = (1000 + random.normal(0, 1, (count, 512)) for count in (50, 9))
    expected = ((x[:, None] - vectors[None]) ** 2).sum(axis=2)
    found = heads.squared_distances(x.astype(np.float32), vectors.astype(np.float32))
    assert np.abs(np.array(found) - expected).max() < 1e-3 * expected.mean()


def test_memory_is_looked_at_before_it_is_gone(features, monkeypatch):
    import psutil

    class Little:
        available = 10**6

    monkeypatch.setattr(psutil, "virtual_memory", Little)
    with pytest.raises(UserError, match=r"train\.head forest on 420 pictures with 512 features needs about .* memory"):
        fitted("forest", features)


def test_what_suits_a_type_is_what_the_params_say(features):
    """`prepare: null` and the same steps by name come to the same head."""
    for kind, steps in heads.STEPS.items():
        null, named = (fitted(kind, features, prepare=prepare, hidden=[8])[1] for prepare in (None, steps))
        assert (heads.run(null, features[1]) == heads.run(named, features[1])).all(), kind


def test_every_type_is_known_everywhere():
    types = set(Head.model_fields["type"].annotation.__args__)
    assert types == set(heads.STEPS) == set(heads._KINDS) == {"dense", *CLASSICAL}
