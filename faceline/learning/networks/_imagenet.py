"""Pixels as networks trained on ImageNet want them, from pixels scaled to -1 … 1 (`symmetric`), as layers of a network.

The three ways are those of `keras.applications.imagenet_utils.preprocess_input`: `tf` is -1 … 1, `torch` has mean 0 and
deviation 1 over ImageNet, `caffe` is 0 … 255 less the mean, with blue first.
"""

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import keras

MEAN = (0.485, 0.456, 0.406)  # of red, green and blue from 0 to 1 over ImageNet (torchvision)
DEVIATION = (0.229, 0.224, 0.225)
CAFFE_MEAN = (123.68, 116.779, 103.939)  # of red, green and blue from 0 to 255

Preprocessing = Literal["tf", "torch", "caffe"]


def prepared(image: "keras.KerasTensor", preprocessing: Preprocessing) -> "keras.KerasTensor":
    """Pictures (batch, side, side, 1 or 3) from -1 to 1 as pictures of three channels, float32, in another range."""
    from keras import layers, ops

    if image.shape[-1] == 1:
        image = layers.Concatenate(dtype="float32")([image] * 3)
    if preprocessing == "tf":
        return image
    if preprocessing == "torch":
        scale = [0.5 / deviation for deviation in DEVIATION]
        offset = [(0.5 - mean) / deviation for mean, deviation in zip(MEAN, DEVIATION, strict=True)]
        return layers.Rescaling(scale, offset, dtype="float32")(image)
    offset = [127.5 - mean for mean in CAFFE_MEAN]
    return ops.flip(layers.Rescaling(127.5, offset, dtype="float32")(image), axis=-1)
