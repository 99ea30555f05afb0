"""The three networks as graphs of TensorFlow, with the weights that the package ships.

On a CPU they answer bit for bit as the package's Keras models do, whatever the company of a picture in its batch, but
for a batch of one patch, whose products run through another routine. They run on a GPU as they are.
"""

import importlib.resources
from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
import tensorflow as tf
from mtcnn.stages import StageONet, StagePNet, StageRNet

SIDES = {"rnet": 24, "onet": 48}  # pixels of a patch
STRIPE = 1_000_000  # pixels of a level that go through P-Net at once; bounds memory, about 120 bytes each
_REACH, _STRIDE = 12, 2  # of P-Net: pixels that one answer sees, and pixels between two answers

Weights = list[np.ndarray]
Network = Callable[[tf.Tensor, Weights], list[tf.Tensor]]
Answers = list[np.ndarray]


def use_gpu() -> bool:
    """Whether TensorFlow has a GPU to run on.

    If so, its products are set to full precision: the shorter TensorFloat-32 is its default, and would move boxes.
    """
    found = bool(tf.config.list_physical_devices("GPU"))
    if found:
        tf.config.experimental.enable_tensor_float_32_execution(False)
    return found


class Networks:
    """P-, R- and O-Net. Graphs are built when first needed, once a number of levels, not once a size of picture."""

    def __init__(self) -> None:
        self._pnet: dict[int, Callable[..., list[tf.Tensor]]] = {}

    def propose(self, levels: Sequence[np.ndarray]) -> list[Answers]:
        """P-Net on levels of pyramids.

        Args:
            levels: each float32 (n, height, width, 3), sides of 12 and more.

        Returns:
            Of each level the offsets (n, rows, columns, 4) and the scores (n, rows, columns), float32.
        """
        stripes = [stripe for level in levels for stripe in _stripes(level)]
        if len(stripes) == len(levels):
            return self._answer(levels)
        # Answers of pieces of a level are those of the whole: no layer pads, and pieces start on P-Net's stride.
        answers = iter(self._answer([stripe])[0] for stripe in stripes)
        parts = [[next(answers) for _ in _stripes(level)] for level in levels]
        return [[np.concatenate(kind, axis=1) for kind in zip(*part, strict=True)] for part in parts]

    def _answer(self, levels: Sequence[np.ndarray]) -> list[Answers]:
        if len(levels) not in self._pnet:
            self._pnet[len(levels)] = _graph(_pnet, self._weights[0], [(None, None, None, 3)] * len(levels))
        flat = [answer.numpy() for answer in self._pnet[len(levels)](*map(tf.constant, levels))]
        return [flat[start : start + 2] for start in range(0, len(flat), 2)]

    def refine(self, patches: np.ndarray) -> Answers:
        """R-Net: offsets (n, 4) and scores (n,) of patches (n, 24, 24, 3), all float32; n of 2 or more."""
        return [answer.numpy() for answer in self._rnet(tf.constant(patches))]

    def output(self, patches: np.ndarray) -> Answers:
        """O-Net: offsets (n, 4), scores (n,) and landmarks (n, 10) of patches (n, 48, 48, 3); n of 2 or more."""
        return [answer.numpy() for answer in self._onet(tf.constant(patches))]

    @cached_property
    def _weights(self) -> list[Weights]:
        # A bare name would let a file of that name in the working folder be unpickled instead of the package's.
        folder = importlib.resources.files("mtcnn.assets.weights")
        stages = (StagePNet, "pnet.lz4"), (StageRNet, "rnet.lz4"), (StageONet, "onet.lz4")
        return [stage(weights=str(folder / name)).model.get_weights() for stage, name in stages]

    @cached_property
    def _rnet(self) -> Callable[..., list[tf.Tensor]]:
        return _graph(_rnet, self._weights[1], [(None, SIDES["rnet"], SIDES["rnet"], 3)])

    @cached_property
    def _onet(self) -> Callable[..., list[tf.Tensor]]:
        return _graph(_onet, self._weights[2], [(None, SIDES["onet"], SIDES["onet"], 3)])


def _stripes(level: np.ndarray) -> list[np.ndarray]:
    """A level cut across into overlapping pieces whose answers follow on one another."""
    count, height, width, _ = level.shape
    rows = max(1, (STRIPE // (count * width) - _REACH) // _STRIDE)  # of answers
    answers = -(-(height - 2) // _STRIDE) - 4
    starts = range(0, max(1, answers), rows)
    ends = [_STRIDE * (start + rows - 1) + _REACH for start in starts[:-1]] + [height]
    return [level[:, _STRIDE * start : end] for start, end in zip(starts, ends, strict=True)]


def _graph(network: Network, weights: Weights, shapes: list[tuple[int | None, ...]]) -> Callable[..., list[tf.Tensor]]:
    """The network as one concrete function of inputs of any size, so that no size of picture is traced anew."""
    signature = [tf.TensorSpec(shape, tf.float32) for shape in shapes]

    def answer(*inputs: tf.Tensor) -> list[tf.Tensor]:
        return [output for images in inputs for output in network(images, weights)]

    return tf.function(answer, input_signature=signature).get_concrete_function()  # type: ignore[no-any-return]


def _pnet(images: tf.Tensor, w: Weights) -> list[tf.Tensor]:
    x = _prelu(_convolved(images, w[0], w[1]), w[2])
    x = tf.nn.max_pool2d(x, 2, 2, "SAME")
    x = _prelu(_convolved(x, w[3], w[4]), w[5])
    x = _prelu(_convolved(x, w[6], w[7]), w[8])
    return [_convolved(x, w[9], w[10]), _face(_convolved(x, w[11], w[12]))]


def _rnet(patches: tf.Tensor, w: Weights) -> list[tf.Tensor]:
    x = _prelu(_convolved(patches, w[0], w[1]), w[2])
    x = tf.nn.max_pool2d(x, 3, 2, "SAME")
    x = _prelu(_convolved(x, w[3], w[4]), w[5])
    x = tf.nn.max_pool2d(x, 3, 2, "VALID")
    x = _prelu(_convolved(x, w[6], w[7]), w[8])
    x = _prelu(_dense(_flat(x), w[9], w[10]), w[11])
    return [_dense(x, w[12], w[13]), _face(_dense(x, w[14], w[15]))]


def _onet(patches: tf.Tensor, w: Weights) -> list[tf.Tensor]:
    x = _prelu(_convolved(patches, w[0], w[1]), w[2])
    x = tf.nn.max_pool2d(x, 3, 2, "SAME")
    x = _prelu(_convolved(x, w[3], w[4]), w[5])
    x = tf.nn.max_pool2d(x, 3, 2, "VALID")
    x = _prelu(_convolved(x, w[6], w[7]), w[8])
    x = tf.nn.max_pool2d(x, 2, 2, "SAME")
    x = _prelu(_convolved(x, w[9], w[10]), w[11])
    x = _prelu(_dense(_flat(x), w[12], w[13]), w[14])
    return [_dense(x, w[15], w[16]), _face(_dense(x, w[19], w[20])), _dense(x, w[17], w[18])]


def _convolved(x: tf.Tensor, kernel: np.ndarray, bias: np.ndarray) -> tf.Tensor:
    return tf.nn.bias_add(tf.nn.conv2d(x, kernel, 1, "VALID"), bias)


def _dense(x: tf.Tensor, kernel: np.ndarray, bias: np.ndarray) -> tf.Tensor:
    # Adding the bias would be fused into the product, which then rounds otherwise than in the package's Keras layer.
    return tf.matmul(x, kernel) - (-bias)


def _prelu(x: tf.Tensor, slope: np.ndarray) -> tf.Tensor:
    if slope.max() <= 1:  # then the larger of the two is the right one, and half of the work is saved
        return tf.maximum(x, slope * x)
    return tf.nn.relu(x) + slope * tf.minimum(x, 0)


def _flat(x: tf.Tensor) -> tf.Tensor:
    """Columns first: the weights were trained by a program that holds pictures so."""
    _, rows, columns, channels = x.shape
    return tf.reshape(tf.transpose(x, [0, 2, 1, 3]), [-1, rows * columns * channels])


def _face(logits: tf.Tensor) -> tf.Tensor:
    """The probability of a face, out of the logits of none and of one."""
    return tf.nn.softmax(logits)[..., 1]
