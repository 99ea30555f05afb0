"""What is converted: a function of one tensor whose weights are constants, with names for what it takes and gives."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2


@dataclass(frozen=True)
class Graph:
    """A function of TensorFlow that is ready to be converted.

    Attributes:
        name: of its file, without the ending.
        takes: name, type and shape of its input; None stands for any length.
        gives: the names of its outputs.
        function: from that input to its outputs by name; a `tf.function` without variables.
    """

    name: str
    takes: tf.TensorSpec
    gives: tuple[str, ...]
    function: Any


def graph(name: str, takes: tf.TensorSpec, compute: Callable[[tf.Tensor], Mapping[str, tf.Tensor]]) -> Graph:
    """`compute` as a graph; the variables that it reads are constants from now on."""
    traced = tf.function(compute, input_signature=[takes]).get_concrete_function()
    gives = tuple(sorted(traced.structured_outputs))  # the order in which TensorFlow flattens them
    constant = convert_variables_to_constants_v2(traced)

    def named(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        return dict(zip(gives, constant(inputs), strict=True))

    return Graph(name, takes, gives, tf.function(named, input_signature=[takes]))
