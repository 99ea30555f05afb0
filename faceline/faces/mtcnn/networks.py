"""The three networks as graphs of TensorFlow, with the weights that the package ships.

On a CPU they answer bit for bit as the package's Keras models do, whatever the company of a picture in its batch, but
for a batch of one patch, whose products run through another routine. They run on a GPU as they are.
"""

import importlib.resources
from collections.abc import Callable
from functools import partial

import numpy as np
import tensorflow as tf
from mtcnn.utils.tensorflow import load_weights

REFINED, OUTPUT = 24, 48  # pixels a side of the patches that R-Net and O-Net see

Weights = list[np.ndarray]
Network = Callable[..., tf.Tensor | list[tf.Tensor]]
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
    """P-, R- and O-Net."""

    def __init__(self) -> None:
        pnet, rnet, onet = _weights()
        self._pnet = _graph(_pnet, pnet, (None, None, None, 3))
        self._pnet_masked = _graph(_pnet, pnet, (None, None, None, 3), (None, None, None, 1))
        self._scores = tf.function(
            _face, input_signature=[tf.TensorSpec((None, 2), tf.float32)]
        ).get_concrete_function()
        self._rnet = _graph(_rnet, rnet, (None, REFINED, REFINED, 3))
        self._onet = _graph(_onet, onet, (None, OUTPUT, OUTPUT, 3))

    def propose(self, images: np.ndarray, masks: np.ndarray | None = None) -> Answers:
        """P-Net on images that are levels, or sheets of them with their masks (see faceline.faces.mtcnn.sheets).

        Args:
            images: float32 (n, height, width, 3).
            masks: float32 (n, height - 2, width - 2, 1).

        Returns:
            Offsets (n, rows, columns, 4) and logits of no face and of one (n, rows, columns, 2), float32.
        """
        if masks is None:
            return [answer.numpy() for answer in self._pnet(tf.constant(images))]
        return [answer.numpy() for answer in self._pnet_masked(tf.constant(images), tf.constant(masks))]

    def scores(self, logits: np.ndarray) -> np.ndarray:
        """The probability of a face (n,), of P-Net's logits (n, 2), float32; taken of few, for it costs much."""
        scores: np.ndarray = self._scores(tf.constant(logits)).numpy()
        return scores

    def refine(self, patches: np.ndarray) -> Answers:
        """R-Net: offsets (n, 4) and scores (n,) of patches (n, 24, 24, 3), all float32; n of 2 or more."""
        return [answer.numpy() for answer in self._rnet(tf.constant(patches))]

    def output(self, patches: np.ndarray) -> Answers:
        """O-Net: offsets (n, 4), scores (n,) and landmarks (n, 10) of patches (n, 48, 48, 3); n of 2 or more."""
        return [answer.numpy() for answer in self._onet(tf.constant(patches))]


def functions() -> tuple[Network, Network, Network]:
    """P-, R- and O-Net as functions of float32 tensors: what `Networks` gives, but P-Net's scores for its logits.

    They are for other runtimes: `scores` are of all cells, (n, rows, columns).
    """
    pnet, rnet, onet = _weights()

    def propose(images: tf.Tensor) -> list[tf.Tensor]:
        offsets, logits = _pnet(pnet, images)
        return [offsets, _face(logits)]

    return propose, partial(_rnet, rnet), partial(_onet, onet)


def _weights() -> tuple[Weights, Weights, Weights]:
    """The package's, of P-, R- and O-Net."""
    # A bare name would let a file of that name in the working folder be unpickled instead of the package's.
    folder = importlib.resources.files("mtcnn.assets.weights")
    pnet, rnet, onet = (load_weights(str(folder / f"{name}.lz4")) for name in ("pnet", "rnet", "onet"))
    return pnet, rnet, onet


def _graph(network: Network, weights: Weights, *shapes: tuple[int | None, ...]) -> Network:
    """The network as one concrete function for any number of inputs."""
    signature = [tf.TensorSpec(shape, tf.float32) for shape in shapes]
    whole = tf.function(lambda *inputs: network(weights, *inputs), input_signature=signature)
    return whole.get_concrete_function()  # type: ignore[no-any-return]


def _pnet(w: Weights, images: tf.Tensor, masks: tf.Tensor | None = None) -> list[tf.Tensor]:
    x = _gentle(_convolved(images, w[0], w[1]), w[2])
    x = x if masks is None else tf.minimum(x, masks)
    x = _steep(tf.nn.max_pool2d(x, 2, 2, "SAME"), w[2])
    x = _prelu(_convolved(x, w[3], w[4]), w[5])
    x = _prelu(_convolved(x, w[6], w[7]), w[8])
    return [_convolved(x, w[9], w[10]), _convolved(x, w[11], w[12])]


def _rnet(w: Weights, patches: tf.Tensor) -> list[tf.Tensor]:
    x = _pooled(patches, w[0:3], 3, "SAME")
    x = _pooled(x, w[3:6], 3, "VALID")
    x = _prelu(_convolved(x, w[6], w[7]), w[8])
    x = _prelu(_dense(_flat(x), w[9], w[10]), w[11])
    return [_dense(x, w[12], w[13]), _face(_dense(x, w[14], w[15]))]


def _onet(w: Weights, patches: tf.Tensor) -> list[tf.Tensor]:
    x = _pooled(patches, w[0:3], 3, "SAME")
    x = _pooled(x, w[3:6], 3, "VALID")
    x = _pooled(x, w[6:9], 2, "SAME")
    x = _prelu(_convolved(x, w[9], w[10]), w[11])
    x = _prelu(_dense(_flat(x), w[12], w[13]), w[14])
    return [_dense(x, w[15], w[16]), _face(_dense(x, w[19], w[20])), _dense(x, w[17], w[18])]


def _pooled(x: tf.Tensor, w: Weights, side: int, padding: str) -> tf.Tensor:
    """A convolution, its PReLU, and the largest of each window, which are 2 pixels apart."""
    kernel, bias, slope = w
    return _steep(tf.nn.max_pool2d(_gentle(_convolved(x, kernel, bias), slope), side, 2, padding), slope)


def _convolved(x: tf.Tensor, kernel: np.ndarray, bias: np.ndarray) -> tf.Tensor:
    return tf.nn.bias_add(tf.nn.conv2d(x, kernel, 1, "VALID"), bias)


def _dense(x: tf.Tensor, kernel: np.ndarray, bias: np.ndarray) -> tf.Tensor:
    # Adding the bias would be fused into the product, which then rounds otherwise than in the package's Keras layer.
    return tf.matmul(x, kernel) - (-bias)


def _prelu(x: tf.Tensor, slope: np.ndarray) -> tf.Tensor:
    return _steep(_gentle(x, slope), slope)


def _gentle(x: tf.Tensor, slope: np.ndarray) -> tf.Tensor:
    """PReLU where its slope is 1 or less: there it is a maximum. Channels of a steeper slope stay as they are."""
    return tf.maximum(x, np.minimum(slope, 1) * x)


def _steep(x: tf.Tensor, slope: np.ndarray) -> tf.Tensor:
    """PReLU where its slope is more than 1, for what is `_gentle` elsewhere.

    It commutes with a maximum over neighbours, and so may follow a pooling, which leaves it less to do.
    """
    return tf.minimum(x, np.maximum(slope, 1) * x) if slope.max() > 1 else x


def _flat(x: tf.Tensor) -> tf.Tensor:
    """Columns first: the weights were trained by a program that holds pictures so."""
    _, rows, columns, channels = x.shape
    return tf.reshape(tf.transpose(x, [0, 2, 1, 3]), [-1, rows * columns * channels])


def _face(logits: tf.Tensor) -> tf.Tensor:
    """The probability of a face, out of the logits of none and of one."""
    return tf.nn.softmax(logits)[..., 1]
