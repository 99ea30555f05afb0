"""Graphs as TFLite, by TensorFlow's own converter, and asked again through its interpreter."""

import warnings

import numpy as np
import tensorflow as tf

from faceline.export.graph import Graph

ENDING = ".tflite"


def convert(graph: Graph, half_precision: bool) -> bytes:
    """The graph as a TFLite model with one signature, `serving_default`.

    Args:
        half_precision: store weights as float16; the interpreter makes float32 of them when it starts.
    """
    module = tf.Module()
    function = graph.function.get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], module)
    if half_precision:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
    return bytes(converter.convert())


def ask(model: bytes, inputs: np.ndarray) -> dict[str, np.ndarray]:
    """The outputs of a model by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # TensorFlow names its interpreter's successor
        interpreter = tf.lite.Interpreter(model_content=model)
    runner = interpreter.get_signature_runner()
    (name,) = runner.get_input_details()
    return {name: np.asarray(values) for name, values in runner(**{name: inputs}).items()}
