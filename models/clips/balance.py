"""Balanced sampling: how often each clip comes up in a pass over a set, so that all classes come up equally often.

Each class is a deck of cards, one for each of its clips, which is shuffled anew whenever it is used up. A pass over N
clips of K classes deals N / K cards from each deck, N in all, so that within a class no clip comes up twice before all
have come up once. What a pass deals depends on the seed and on the number of the pass alone.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf


def balanced_copies(classes: np.ndarray, seed: int) -> Callable[[tf.Tensor], tf.Tensor]:
    """Deals the decks of clips of these classes, int [N]; classes without a clip are none of the K.

    Returns:
      From the number of a pass, int64 and counted from 0, to how often each clip comes up in it, int64 [N].
    """
    _, deck, sizes = np.unique(classes, return_inverse=True, return_counts=True)
    starts = np.cumsum(sizes) - sizes
    card = np.empty_like(deck)
    card[np.argsort(deck, kind="stable")] = np.arange(len(deck)) - np.repeat(starts, sizes)
    count, of_deck = len(deck), sizes[deck]

    def dealt(passes: tf.Tensor) -> tf.Tensor:
        """How often each clip comes up in the first passes together."""
        # N in all for each pass: the sum of floor((x + k) / K) over k = 0..K-1 is x, for every whole x.
        cards = (passes * count + deck) // len(sizes)
        rounds, begun = cards // of_deck, cards % of_deck
        seeds = tf.stack([tf.fill([count], tf.constant(seed, tf.int64)), tf.constant(deck, tf.int64), rounds], axis=1)
        # Of the operation's public function, only the one for a single seed works.
        place = tf.raw_ops.RandomIndexShuffle(
            index=tf.constant(card, tf.int64), seed=seeds, max_index=tf.constant(of_deck - 1, tf.int64)
        )
        return rounds + tf.cast(place < begun, tf.int64)

    return lambda number: dealt(number + 1) - dealt(number)
