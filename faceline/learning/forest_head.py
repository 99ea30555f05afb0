"""A random forest as a layer of Keras, so that a network whose head is a forest is a file like any other."""

from typing import Any

import keras
from keras import ops

from faceline.learning.forest import Trees


class ForestHead(keras.layers.Layer):  # type: ignore[misc]
    """The head of a target that answers with a forest: features (batch, d) in, float32 (batch, outputs) out.

    The arrays of `faceline.learning.forest.Trees` are its weights; they can't be trained.

    Args:
        trees, nodes, outputs, depth: the shapes of these arrays, and the steps to any leaf.
    """

    def __init__(self, trees: int, nodes: int, outputs: int, depth: int, dtype: Any = "float32", **options: Any):
        super().__init__(dtype=dtype, **options)
        self.trees, self.nodes, self.outputs, self.depth = trees, nodes, outputs, depth

    @classmethod
    def of(cls, trees: Trees, features: int, name: str) -> "ForestHead":
        """The layer called `name` that answers as `trees` do, for rows of that many features."""
        nodes, outputs = trees.values.shape
        layer = cls(len(trees.roots), nodes, outputs, trees.depth, name=name)
        layer.build((None, features))
        layer.set_weights([trees.roots, trees.features, trees.thresholds, trees.children, trees.values])
        return layer

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make room for the arrays."""
        self.roots = self._array("roots", (self.trees,), "int32")
        self.features = self._array("features", (self.nodes,), "int32")
        self.thresholds = self._array("thresholds", (self.nodes,), "float32")
        self.children = self._array("children", (self.nodes, 2), "int32")
        self.values = self._array("values", (self.nodes, self.outputs), "float32")

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """The mean over the trees of the leaves that each row ends in."""
        children = ops.reshape(self.children, (-1,))
        # Every row walks every tree at once, a level a step; in a leaf it stays where it is.
        node = ops.zeros_like(inputs[:, :1], dtype="int32") + self.roots
        for _ in range(self.depth):
            seen = ops.take_along_axis(inputs, ops.take(self.features, node), axis=1)
            right = ops.cast(seen > ops.take(self.thresholds, node), "int32")
            node = ops.take(children, 2 * node + right)
        answers = ops.cast(ops.take(self.values, node, axis=0), "float64")  # to be as exact as scikit-learn's mean
        return ops.cast(ops.mean(answers, axis=1), "float32")

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """(batch, outputs)."""
        return (input_shape[0], self.outputs)

    def get_config(self) -> dict[str, Any]:
        """What makes the layer anew; its arrays are saved as weights."""
        shapes = {"trees": self.trees, "nodes": self.nodes, "outputs": self.outputs, "depth": self.depth}
        return {**super().get_config(), **shapes}

    def _array(self, name: str, shape: tuple[int, ...], dtype: str) -> Any:
        return self.add_weight(shape=shape, dtype=dtype, initializer="zeros", trainable=False, name=name)
