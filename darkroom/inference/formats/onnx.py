"""ONNX, which many runtimes read."""

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from darkroom.core.errors import is_of_the_machine
from darkroom.core.model_spec import JOINT
from darkroom.core.parallel import cores
from darkroom.inference.formats.base import HEAD, PIXELS, PROBABILITIES, Conversion, Exported, Format, Halves, register

if TYPE_CHECKING:
    import onnx

OPSET = 18  # from 2022
METADATA = "classes"  # the class names as JSON


def load(path: Path) -> Exported:
    """Load an .onnx file; this needs no TensorFlow."""
    session = _session(path)
    classes = json.loads(session.get_modelmeta().custom_metadata_map[METADATA])
    return Exported(classes, lambda pixels: session.run([PROBABILITIES], {PIXELS: pixels})[0])


def _session(model: Path | bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cores()
    options.use_deterministic_compute = True
    options.enable_mem_pattern = False  # it would keep a memory plan for every picture size
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def halves(path: Path) -> Halves:
    """Load an .onnx file in two halves."""
    import onnx

    extractor = onnx.utils.Extractor(onnx.load(path))
    parts = [([PIXELS], [JOINT]), ([JOINT], [PROBABILITIES])]
    backbone, head = (extractor.extract_model(*ends).SerializeToString(deterministic=True) for ends in parts)
    first, second = _session(backbone), _session(head)
    return Halves(
        hashlib.sha256(backbone).hexdigest(),
        lambda pixels: first.run([JOINT], {PIXELS: pixels})[0],
        lambda features: second.run([PROBABILITIES], {JOINT: features})[0],
    )


def write(conversion: Conversion, target: Path) -> None:
    """Write an .onnx file with the class names as metadata and named dynamic axes."""
    import onnx

    backbone, head = conversion.halves
    first = onnx.ModelProto.FromString(
        conversion.recall("onnx", backbone, lambda graph: converted(graph, PIXELS, JOINT).SerializeToString())
    )
    second = converted(head, JOINT, PROBABILITIES)
    joined = onnx.compose.merge_models(first, second, [(f"{JOINT}:0", f"{JOINT}:0")], prefix2=f"{HEAD}/")
    model = ordered(joined, {f"{PIXELS}:0": PIXELS, f"{JOINT}:0": JOINT, f"{HEAD}/{PROBABILITIES}:0": PROBABILITIES})
    features = model.graph.value_info.add()  # declared, so that the model can be cut there
    features.CopyFrom(second.graph.input[0])
    features.name = JOINT
    for value in (model.graph.input[0], features, model.graph.output[0]):
        axes = ("batch", "height", "width") if value.name == PIXELS else ("batch",)
        for size, axis in zip(value.type.tensor_type.shape.dim, axes, strict=False):
            size.dim_param = axis
    onnx.helper.set_model_props(model, {METADATA: json.dumps(conversion.classes, ensure_ascii=False)})
    onnx.checker.check_model(model)
    onnx.save(model, target)


def converted(graph: Any, argument: str, output: str) -> "onnx.ModelProto":
    """A TensorFlow graph with these ends as tf2onnx converts it.

    By default it copies the graph with all weights before each of its optimizers, to go back to if that one fails,
    which takes most of the time. So the copies are made only if one does fail.
    """
    try:
        return _converted(without_erfc(graph), argument, output, catch_errors=False)
    except Exception as error:
        if is_of_the_machine(error):
            raise
        return _converted(without_erfc(graph), argument, output, catch_errors=True)


def _converted(graph: Any, argument: str, output: str, catch_errors: bool) -> "onnx.ModelProto":
    import tf2onnx

    variable = tf2onnx.constants.ENV_TF2ONNX_CATCH_ERRORS  # they are not caught if it has any value
    if catch_errors:
        os.environ.pop(variable, None)
    else:
        os.environ[variable] = "FALSE"
    node = tf2onnx.graph.Node
    update = node.update_proto

    def update_others(self: Any, *arguments: Any) -> None:
        # After each of some twenty optimizers it would copy all weights anew into memory that protobuf frees at the
        # end only; nothing reads these copies.
        if not self.is_const():
            update(self, *arguments)

    with mock.patch.object(node, "update_proto", update_others):
        model, _ = tf2onnx.convert.from_graph_def(
            graph, input_names=[f"{argument}:0"], output_names=[f"{output}:0"], opset=OPSET
        )
    return model


def without_erfc(graph: Any) -> Any:
    """A TensorFlow graph with 1 - erf(x) in place of erfc(x), which GELU uses and ONNX lacks."""
    import tensorflow as tf

    result = type(graph)()
    for node in graph.node:
        result.node.add().CopyFrom(node)
        if node.op == "Erfc":
            erf, one = result.node[-1], result.node.add()
            erf.op, erf.name = "Erf", f"{node.name}/erf"
            one.op, one.name = "Const", f"{node.name}/one"
            one.attr["dtype"].type = tf.float32.as_datatype_enum
            one.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(1.0, tf.float32))
            difference = result.node.add(op="Sub", name=node.name, input=[one.name, erf.name])
            difference.attr["T"].type = tf.float32.as_datatype_enum
    result.versions.CopyFrom(graph.versions)
    result.library.CopyFrom(graph.library)
    return result


def ordered(model: "onnx.ModelProto", names: dict[str, str]) -> "onnx.ModelProto":
    """The same model with nodes in a fixed order and named by their position.

    tf2onnx iterates over sets, so its order and its numbering differ from process to process. Here nodes are sorted
    topologically, by a depth-first walk from the output.

    Args:
        model: has one output and no subgraphs within nodes, like all feed-forward networks.
        names: new names of tensors by their old ones.
    """
    import onnx

    graph = model.graph
    producers = {name: node for node in graph.node for name in node.output}
    constants = {constant.name: constant for constant in graph.initializer}
    names = {"": "", **names}  # an omitted operand has no name
    nodes: list[onnx.NodeProto] = []
    used: list[onnx.TensorProto] = []
    visited: set[str] = set()
    stack = [(graph.output[0].name, False)]
    while stack:
        name, inputs_done = stack.pop()
        if inputs_done:
            node = producers[name]
            nodes.append(node)
            node.name = f"{node.op_type}_{len(nodes)}"
            for position, output in enumerate(node.output):
                names.setdefault(output, f"{node.name}_{position}" if position else node.name)
        elif name in producers and name not in visited:
            visited.update(producers[name].output)
            stack.append((name, True))
            stack += [(operand, False) for operand in reversed(producers[name].input)]
        elif name in constants and name not in names:
            used.append(constants[name])
            names[name] = f"constant_{len(used)}"
    for node in nodes:
        node.input[:] = [names[name] for name in node.input]
        node.output[:] = [names[name] for name in node.output]
    for named in (*used, graph.input[0], graph.output[0]):
        named.name = names[named.name]
    sorted_graph = onnx.helper.make_graph(nodes, "darkroom", graph.input, graph.output, used)
    return onnx.helper.make_model(sorted_graph, opset_imports=model.opset_import, ir_version=model.ir_version)


register(Format("onnx", "model.onnx", load, write, packages=("onnxruntime",), order=3, preference=1, halves=halves))
