"""Graphs that are equal but for their names."""

import pytest

from darkroom.inference.frozen_graph import numbered

pytestmark = pytest.mark.usefixtures("tensorflow")


def graph(scope, factor=2.0):
    """A split, one of its outputs times a factor after the other, in names that begin with a scope."""
    import tensorflow as tf

    with tf.Graph().as_default() as whole:
        pixels = tf.compat.v1.placeholder(tf.float32, (2,), name="pixels")
        with tf.name_scope(scope):
            first, second = tf.split(pixels, 2)
            with tf.control_dependencies([first]):
                product = second * factor
        tf.identity(product, name="features")
    return whole.as_graph_def()


def test_equal_graphs_have_equal_bytes_whatever_their_names_are():
    digests = [
        numbered(each, ("pixels", "features")).SerializeToString(deterministic=True)
        for each in (graph("functional_1"), graph("functional_27/inner"), graph("functional_1", factor=3.0))
    ]
    assert digests[0] == digests[1] != digests[2]


def test_it_computes_the_same():
    import tensorflow as tf

    function = tf.compat.v1.wrap_function(
        lambda: tf.import_graph_def(numbered(graph("a"), ("pixels", "features")), name=""), []
    ).prune("pixels:0", "features:0")
    assert function(tf.constant([1.0, 4.0])).numpy().tolist() == [8.0]
