"""How shards hold their crops: the pixels as they lie in memory, or a PNG of them.

Pixels need no decoding, PNGs take less space. TensorFlow is imported by the functions that need it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from faceline.faces.decoding import PIXELS_LIMIT, Pixels, decode

if TYPE_CHECKING:
    import tensorflow as tf

Held = Literal["raw", "png"]


@dataclass(frozen=True)
class CropFormat:
    """What the bytes of a crop are.

    Attributes:
        pixels: raw (uint8, row by row, pixel by pixel, red, green, blue) or png.
        side: pixels a side.
    """

    pixels: Held
    side: int

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> Self:
        """That of the shards with this manifest."""
        return cls(manifest["pixels"], manifest["crop_size"])

    def pack(self, png: bytes) -> bytes:
        """What shards hold of a crop that comes as PNG."""
        return png if self.pixels == "png" else decode(png, max_pixels=PIXELS_LIMIT).tobytes()

    def unpack(self, data: bytes) -> Pixels:
        """The crop, (side, side, 3), of what shards hold."""
        if self.pixels == "png":
            return decode(data, max_pixels=PIXELS_LIMIT)
        return np.frombuffer(data, np.uint8).reshape(self.side, self.side, 3)

    def tensor(self, data: "tf.Tensor") -> "tf.Tensor":
        """As `unpack`, of a scalar string, as a tensor."""
        import tensorflow as tf

        if self.pixels == "png":
            return tf.ensure_shape(tf.io.decode_png(data, channels=3), (self.side, self.side, 3))
        return tf.reshape(tf.io.decode_raw(data, tf.uint8), (self.side, self.side, 3))
