"""Graphs of TensorFlow operations with their weights as constants."""

from collections.abc import Collection
from typing import Any


def numbered(graph: Any, ends: Collection[str]) -> Any:
    """A GraphDef whose nodes are named by their position, so that equal graphs have equal bytes.

    In Keras, names of layers depend on what the process has built before.

    Args:
        graph: without functions.
        ends: names that stay, of inputs and outputs.
    """
    names = {node.name: node.name if node.name in ends else f"node_{row}" for row, node in enumerate(graph.node)}
    result = type(graph)()
    result.CopyFrom(graph)
    for node in result.node:
        node.name = names[node.name]
        node.attr.pop("_class", None)  # nodes of whose device this one should be, by name
        node.input[:] = [_renamed(operand, names) for operand in node.input]
    return result


def _renamed(operand: str, names: dict[str, str]) -> str:
    """An input of a node, `name`, `name:output` or `^name`, with the name replaced."""
    control = "^" if operand.startswith("^") else ""
    name, colon, output = operand.removeprefix("^").partition(":")
    return f"{control}{names[name]}{colon}{output}"
