"""Graphs as ONNX, by tf2onnx, and asked again through ONNX Runtime."""

import logging
from collections.abc import Iterator

import numpy as np
import onnx
import onnxruntime
import tf2onnx
from onnx import helper, numpy_helper

from faceline.export.graph import Graph

ENDING = ".onnx"
OPSET = 18  # of 2022; every runtime of today has it
SMALLEST = 4096  # values; shorter constants, as those of a batch normalization, weigh little and need all their digits
PALETTE = 256  # numbers that one byte tells apart
HALF, PLACES, NUMBERS, WHOLE = "_float16", "_places", "_numbers", "_int32"  # behind the name of a constant


def convert(graph: Graph, half_precision: bool) -> bytes:
    """The graph as a serialized ONNX model.

    Args:
        half_precision: store weights as float16, or in a byte each where they are rounded to few numbers; the model
            makes float32 of them when it is opened. Those of a bundle in half precision stay as they are, but for
            convolutions that took a batch normalization in.
    """
    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)  # it tells of each shortcut that a graph does not allow
    model, _ = tf2onnx.convert.from_function(graph.function, input_signature=[graph.takes], opset=OPSET)
    if half_precision:
        _halve(model.graph)
    model.producer_name, model.producer_version = "faceline", ""
    onnx.checker.check_model(model)
    serialized: bytes = model.SerializeToString(deterministic=True)
    return serialized


def ask(model: bytes, inputs: np.ndarray) -> dict[str, np.ndarray]:
    """The outputs of a model by name."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    answers = session.run(names, {session.get_inputs()[0].name: inputs})
    return dict(zip(names, map(np.asarray, answers), strict=True))


def _halve(graph: onnx.GraphProto) -> None:
    """Store the constants that are not too large for it as float16 or less, each with nodes that undo it."""
    undone = list(_undone(graph))
    nodes = [*undone, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def _undone(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for constant in list(graph.initializer):
        if constant.data_type != onnx.TensorProto.FLOAT:
            continue
        values, name = numpy_helper.to_array(constant), constant.name
        if values.size < SMALLEST or np.abs(values).max() > np.finfo(np.float16).max:
            continue
        numbers, places = np.unique(values.astype(np.float16), return_inverse=True)
        if len(numbers) > PALETTE:
            constant.CopyFrom(numpy_helper.from_array(values.astype(np.float16), name + HALF))
            yield helper.make_node("Cast", [name + HALF], [name], to=onnx.TensorProto.FLOAT)
            continue
        constant.CopyFrom(numpy_helper.from_array(places.reshape(values.shape).astype(np.uint8), name + PLACES))
        graph.initializer.append(numpy_helper.from_array(numbers.astype(np.float32), name + NUMBERS))
        yield helper.make_node("Cast", [name + PLACES], [name + WHOLE], to=onnx.TensorProto.INT32)
        yield helper.make_node("Gather", [name + NUMBERS, name + WHOLE], [name])
