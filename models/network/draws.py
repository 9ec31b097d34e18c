"""What layers draw in training: on every replica of a strategy its own, and on one device as Keras does.

Replicas hold the same states of their random layers, so that a checkpoint of one of them is one of all. What makes them
differ is therefore folded in where a seed is drawn: the replica's number, 0 on the first.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
import tensorflow as tf

# The seeds of random layers are drawn below 1e9 and taken modulo 2^31 - 2; this spreads the replicas' among them.
_SEEDS_APART = 40_503_001


class ReplicaSeeds(keras.random.SeedGenerator):
    """Seeds that differ between the replicas of a `tf.distribute.Strategy`; those of Keras where there is one."""

    def next(self, ordered=True):
        """The next seed, int [2]."""
        seed = super().next(ordered)
        if tf.distribute.get_strategy().num_replicas_in_sync == 1 or tf.distribute.in_cross_replica_context():
            return seed
        replica = tf.cast(tf.distribute.get_replica_context().replica_id_in_sync_group, seed.dtype)
        return seed + tf.stack([replica * _SEEDS_APART, tf.zeros_like(replica)])


@keras.saving.register_keras_serializable(package="vivit")
class Dropout(keras.layers.Layer):
    """Dropout whose mask is another on each replica; else that of Keras.

    Args:
      rate: Probability that a value is dropped, in [0, 1).
      noise_shape: Shape of the mask, 1 where it is shared; None as what it is applied to.
    """

    def __init__(self, rate: float, noise_shape: Sequence[int | None] | None = None, **kwargs):
        super().__init__(**kwargs)
        self.rate, self.noise_shape = rate, noise_shape
        if rate:
            self.seed_generator = ReplicaSeeds()

    def call(self, inputs, training=False):
        """Returns what was given, in training with some values 0 and the others scaled up."""
        if not training or not self.rate:
            return inputs
        return keras.random.dropout(inputs, self.rate, noise_shape=self.noise_shape, seed=self.seed_generator)
