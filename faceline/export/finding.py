"""The three networks of MTCNN as graphs; the decisions between them are left to whoever runs them.

`serving/device/cascade.js` takes them in a browser as `faceline.faces.mtcnn.cascade` does here.
"""

import tensorflow as tf

from faceline.export.graph import Graph, graph
from faceline.faces.mtcnn.networks import OUTPUT, REFINED, functions

PNET, RNET, ONET = "pnet", "rnet", "onet"


def detector_graphs() -> tuple[Graph, Graph, Graph]:
    """P-, R- and O-Net, from pixels as MTCNN normalizes them, (value - 127.5) / 128, to what `Networks` gives.

    P-Net takes `images`, float32 (n, height, width, 3), R- and O-Net `patches`, float32 (n, 24, 24, 3) and
    (n, 48, 48, 3). All give `offsets` (…, 4) and `scores` (…), P-Net for each of its cells; O-Net `landmarks` (n, 10).
    """
    pnet, rnet, onet = functions()
    return (
        graph(PNET, _spec("images", None), lambda images: _named(pnet(images))),
        graph(RNET, _spec("patches", REFINED), lambda patches: _named(rnet(patches))),
        graph(ONET, _spec("patches", OUTPUT), lambda patches: _named(onet(patches))),
    )


def _spec(name: str, side: int | None) -> tf.TensorSpec:
    return tf.TensorSpec((None, side, side, 3), tf.float32, name)


def _named(outputs: list[tf.Tensor]) -> dict[str, tf.Tensor]:
    return dict(zip(("offsets", "scores", "landmarks"), outputs, strict=False))
