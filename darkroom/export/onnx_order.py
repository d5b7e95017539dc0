"""An ONNX model in an order of its own, with names of its own, so that it is the same whoever writes it.

tf2onnx goes through sets, whose order is another one in each process, and numbers names on the way.
"""

import onnx


def ordered(model: onnx.ModelProto, names: dict[str, str]) -> onnx.ModelProto:
    """The same model: nodes as they are met from the output on, each after what it takes, and named by their place.

    Args:
        model: one output, and no graphs within nodes, which feed-forward networks do not have.
        names: new names of input and output, by their old ones.
    """
    graph = model.graph
    made_by = {name: node for node in graph.node for name in node.output}
    constants = {constant.name: constant for constant in graph.initializer}
    names = {"": "", **names}  # an operand that is left out has no name
    nodes: list[onnx.NodeProto] = []
    kept: list[onnx.TensorProto] = []
    seen: set[str] = set()
    todo = [(graph.output[0].name, False)]
    while todo:
        name, all_taken = todo.pop()
        if all_taken:
            node = made_by[name]
            nodes.append(node)
            node.name = f"{node.op_type}_{len(nodes)}"
            for place, output in enumerate(node.output):
                names.setdefault(output, f"{node.name}_{place}" if place else node.name)
        elif name in made_by and name not in seen:
            seen.update(made_by[name].output)
            todo.append((name, True))
            todo += [(taken, False) for taken in reversed(made_by[name].input)]
        elif name in constants and name not in names:
            kept.append(constants[name])
            names[name] = f"constant_{len(kept)}"
    for node in nodes:
        node.input[:] = [names[name] for name in node.input]
        node.output[:] = [names[name] for name in node.output]
    for named in (*kept, graph.input[0], graph.output[0]):
        named.name = names[named.name]
    sorted_graph = onnx.helper.make_graph(nodes, "darkroom", graph.input, graph.output, kept)
    return onnx.helper.make_model(sorted_graph, opset_imports=model.opset_import, ir_version=model.ir_version)
