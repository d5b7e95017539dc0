"""Classical classifiers on features: scikit-learn fits them, and what was fitted becomes the weights of a Keras head.

So a head is saved without pickle, exported like any other, and needs no scikit-learn to predict.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import psutil

from darkroom.core.errors import UserError
from darkroom.core.parallel import cores
from darkroom.models import heads
from darkroom.models.inputs import Held, Inputs
from darkroom.train.calibration import fit_temperature, log_loss
from darkroom.train.params import Head
from darkroom.train.result import History, Log

KNOBS = {"logistic": "C", "linear_svm": "C", "rbf_svm": "C", "knn": "neighbours", "tree": "leaf", "forest": "trees"}
MOST_FOR_CURVES = 2000  # training rows on which loss and accuracy are measured


class Data(NamedTuple):
    """What scikit-learn fits on."""

    x: np.ndarray  # prepared features (rows, n), float32
    y: np.ndarray  # class numbers (rows,)
    weights: np.ndarray  # of each class (classes,)
    seed: int

    @property
    def class_weight(self) -> dict[int, float] | None:
        """The weights as scikit-learn takes them; weights of 1 would change what a forest draws."""
        if (self.weights == 1).all():
            return None
        return {number: float(weight) for number, weight in enumerate(self.weights)}


class Fitted(NamedTuple):
    """What a Keras head needs: what its layers must know to be built, and the weights of each, by the layer's name."""

    sizes: dict[str, Any]
    weights: dict[str, list[np.ndarray]]


def fit(
    params: Head,
    train: Inputs,
    val: Inputs,
    classes: Sequence[str],
    class_weights: np.ndarray | None,
    seed: int,
    log: Log,
) -> tuple[dict[str, Any], keras.Model, History]:
    """Fit a head with each value of its knob (see KNOBS); the one with the lowest log loss on val stays.

    Log losses are those after calibration on val, since the scores of a support vector machine are no logits.

    Returns:
        The head's settings with what was chosen and fitted, the head, and a row of history for each value.

    Raises:
        UserError: memory has no room for it.
    """
    settings, knob = params.model_dump(by_alias=True), KNOBS[params.type]
    features = train.rows(slice(0, 1)).shape[1]
    _require_memory(4 * 4 * len(train) * features, params, (len(train), features))  # with scikit-learn's copies
    prepared = heads.prepare(settings, features)
    heads.fit_scale(prepared, train)
    weights = np.ones(len(classes), np.float32) if class_weights is None else class_weights
    data = Data(heads.run(prepared, train), train.numbers(classes), weights, seed)
    some = np.unique(np.linspace(0, len(train) - 1, MOST_FOR_CURVES).astype(int))
    history: History = {name: [] for name in ("accuracy", "loss", "val_accuracy", "val_loss", knob)}
    best: tuple[dict[str, Any], keras.Model] | None = None
    fitter = _FITTERS[params.type](data, params)
    for trial, value in enumerate(settings[knob], start=1):
        fitted = fitter(value)
        chosen = settings | {"fitted": {knob: value, **fitted.sizes}}
        head = heads.build(chosen, features, len(classes), prepared)
        for name, arrays in fitted.weights.items():
            head.get_layer(name).set_weights(arrays)
        logits, labels = heads.run(head, val), val.numbers(classes)
        on_train, of_train = heads.run(head, Held(train.rows(some), train, some)), data.y[some]
        temperature = fit_temperature(logits, labels)
        figures = {
            "loss": log_loss(on_train / temperature, of_train),
            "accuracy": float((on_train.argmax(axis=1) == of_train).mean()),
            "val_loss": log_loss(logits / temperature, labels),
            "val_accuracy": float((logits.argmax(axis=1) == labels).mean()),
        }
        if best is None or figures["val_loss"] < min(history["val_loss"]):
            best = chosen, head
        figures[knob] = float(value)
        for name, figure in figures.items():
            history[name].append(figure)
        log(trial, figures)
        shown = ", ".join(f"{name} {figure:.4g}" for name, figure in figures.items())
        print(f"{params.type}: {shown}", flush=True)
    assert best is not None  # noqa: S101 - the params have at least one value
    return *best, history


Fitter = Callable[[Any], Fitted]  # takes a value of the knob


def _logistic(data: Data, params: Head) -> Fitter:
    from sklearn.linear_model import LogisticRegression

    def fitter(c: float) -> Fitted:
        model = LogisticRegression(C=c, max_iter=1000, class_weight=data.class_weight).fit(data.x, data.y)
        return Fitted({}, {"classifier": _two_columns(model.coef_.T, model.intercept_)})

    return fitter


def _linear_svm(data: Data, params: Head) -> Fitter:
    from sklearn.svm import LinearSVC

    def fitter(c: float) -> Fitted:
        model = LinearSVC(C=c, dual="auto", class_weight=data.class_weight, random_state=data.seed)
        model.fit(data.x, data.y)
        return Fitted({}, {"classifier": _two_columns(model.coef_.T, model.intercept_)})

    return fitter


def _neighbours(data: Data, params: Head) -> Fitter:
    votes = np.eye(len(data.weights), dtype=np.float32)[data.y] * data.weights

    def fitter(k: int) -> Fitted:
        k = min(k, len(data.x))
        return Fitted({"vectors": len(data.x), "neighbours": k}, {"classifier": [data.x, votes]})

    return fitter


def _require_memory(needed: int, params: Head, shape: tuple[int, ...]) -> None:
    """Stop with a sentence before the system stops the process without one."""
    if needed > psutil.virtual_memory().available:
        raise UserError(
            f"train.head {params.type} on {shape[0]:,} pictures with {shape[1]:,} features needs about "
            f"{needed / 2**30:.0f} GB of memory: choose head dense, extract.pooling avg, or fewer pictures "
            "(download.limit_per_class)."
        )


def _two_columns(coefficients: np.ndarray, intercepts: np.ndarray) -> list[np.ndarray]:
    """(n, classes) and (classes,); for two classes scikit-learn has one score, that of the second."""
    if coefficients.shape[1] == 1:
        coefficients, intercepts = coefficients * [0.0, 1.0], intercepts * [0.0, 1.0]
    return [coefficients, intercepts]


def _rbf_svm(data: Data, params: Head) -> Fitter:
    """One machine for each class against the rest; their decision values are the scores.

    The kernel of all pairs of pictures is one matrix product, which scikit-learn's own loop takes many times as long
    for. gamma is scikit-learn's `scale`.
    """
    from sklearn.svm import SVC

    _require_memory(3 * 8 * len(data.x) ** 2, params, data.x.shape)
    spread = data.x.shape[1] * data.x.var(dtype=np.float64)
    gamma = np.array(1 / spread if spread else 1.0, np.float32)
    kernel = np.exp(-gamma * keras.ops.convert_to_numpy(heads.squared_distances(data.x, data.x))).astype(np.float64)
    classes = len(data.weights)

    def fitter(c: float) -> Fitted:
        coefficients = np.zeros((len(data.x), classes))
        intercepts = np.zeros(classes)
        for number in range(classes) if classes > 2 else [1]:
            machine = SVC(kernel="precomputed", C=c, cache_size=1000)
            machine.fit(kernel, data.y == number, sample_weight=data.weights[data.y])
            coefficients[machine.support_, number] = machine.dual_coef_[0]
            intercepts[number] = machine.intercept_[0]
        used = np.flatnonzero(coefficients.any(axis=1))
        return Fitted(
            {"vectors": len(used)},
            {"kernel": [data.x[used], gamma], "classifier": [coefficients[used], intercepts]},
        )

    return fitter


def _trees(data: Data, params: Head) -> Fitter:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.tree import DecisionTreeClassifier

    known = {"random_state": data.seed, "class_weight": data.class_weight}

    def tree(leaf: int) -> Fitted:
        grown = DecisionTreeClassifier(min_samples_leaf=leaf, **known).fit(data.x, data.y).tree_
        samples = grown.weighted_n_node_samples[:, None]
        # Laplace's rule: a leaf with few pictures is less sure than one with many.
        return _nodes([(grown, (grown.value[:, 0] * samples + 1) / (samples + len(data.weights)))], floor=0.0)

    def forest(count: int) -> Fitted:
        grown = RandomForestClassifier(count, n_jobs=cores(), **known).fit(data.x, data.y).estimators_
        return _nodes([(one.tree_, one.tree_.value[:, 0]) for one in grown], floor=1.0 / count)

    return tree if params.type == "tree" else forest


def _nodes(trees: list[tuple[Any, np.ndarray]], floor: float) -> Fitted:
    """All nodes of all trees in one list (see heads.Trees)."""
    counts = [tree.node_count for tree, _ in trees]
    roots = np.cumsum([0, *counts[:-1]])

    def children(name: str) -> np.ndarray:
        return np.concatenate(
            [
                root + np.where(getattr(tree, name) < 0, np.arange(tree.node_count), getattr(tree, name))
                for (tree, _), root in zip(trees, roots, strict=True)
            ]
        )

    threshold = np.concatenate([tree.threshold for tree, _ in trees])
    single = threshold.astype(np.float32)
    # The largest float32 that is not above: then x <= threshold is the same question for every float32 x.
    single = np.where(single > threshold, np.nextafter(single, np.float32(-np.inf)), single)
    weights = [
        np.maximum(np.concatenate([tree.feature for tree, _ in trees]), 0),
        children("children_left"),
        children("children_right"),
        roots,
        single,
        np.concatenate([shares for _, shares in trees]),
    ]
    deepest = max(tree.max_depth for tree, _ in trees)
    sizes = {"roots": len(trees), "nodes": sum(counts), "deepest": deepest, "floor": floor}
    return Fitted(sizes, {"classifier": weights})


_FITTERS: dict[str, Callable[[Data, Head], Fitter]] = {
    "logistic": _logistic,
    "linear_svm": _linear_svm,
    "rbf_svm": _rbf_svm,
    "knn": _neighbours,
    "tree": _trees,
    "forest": _trees,
}
