"""Averaged weights with batch normalization's statistics of their own.

A moving average of weights is a network that never ran while training: the running statistics beside it are those of
the weights as they went, whose features differ. So before averaged weights are judged they get the statistics of their
own features, over pictures of the training set as they are served (Izmailov et al. 2018,
https://arxiv.org/abs/1803.05407, section 3.2).
"""

import keras
import numpy as np
import tensorflow as tf

from faceline.learning import normalization
from faceline.learning.checkpoint import Arrays

ROWS = 4096  # pictures that statistics are taken of, the first ones of the shards, which are shuffled


class OwnStatistics:
    """Takes the statistics of batch normalization anew for weights of one architecture.

    Args:
        network: an untrained network of it, to be used for nothing else. What is frozen in it keeps its statistics.
        pictures: batches of the network's input, (batch, side, side, channels), the same ones each time.
    """

    def __init__(self, network: keras.Model, pictures: tf.data.Dataset):
        self._network, self._pictures = network, pictures
        layers = list(normalization.layers(network))
        self._normalizing = [
            layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
        ]
        for layer in self._normalizing:
            layer.momentum = 0.0  # what runs along is the last batch's
        for layer in layers:
            if isinstance(layer, keras.layers.Dropout):
                layer.rate = 0.0  # as it is served
        self._run = tf.function(lambda batch: network(batch, training=True), reduce_retracing=True)

    def of(self, weights: Arrays) -> Arrays:
        """The weights with the statistics of the features that they give; as they are where nothing is normalized."""
        if not self._normalizing:
            return weights
        self._network.set_weights(weights)
        rows, seen = [], []
        for batch in self._pictures:
            self._run(batch)
            rows.append(len(batch))
            seen.append([(layer.moving_mean.numpy(), layer.moving_variance.numpy()) for layer in self._normalizing])
        share = np.array(rows) / sum(rows)
        for layer, batches in zip(self._normalizing, zip(*seen, strict=True), strict=True):
            means, variances = (np.array(values, np.float64) for values in zip(*batches, strict=True))
            mean = share @ means
            layer.moving_mean.assign(mean)
            layer.moving_variance.assign(share @ (variances + (means - mean) ** 2))  # within batches and between them
        return list(self._network.get_weights())
