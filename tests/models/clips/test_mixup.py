"""models.clips.mixup: its weights, and what it mixes with them."""

import numpy as np
import pytest
import tensorflow as tf

from models.clips import mixup


@pytest.mark.parametrize("alpha", [0.1, 0.3, 1.0])
def test_mixup_weights_have_the_moments_of_the_beta_distribution(alpha):
    draw = tf.function(lambda seed: mixup.draw(alpha, seed))
    weights = np.array([float(draw(tf.constant([3, i]))) for i in range(1500)])
    assert np.isfinite(weights).all()
    assert weights.mean() == pytest.approx(0.5, abs=0.04)
    assert weights.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.1)


def test_clips_and_targets_are_mixed_with_their_mirrors_by_the_first_weight():
    clips, targets = tf.constant([[1.0], [3.0]]), {"label": tf.eye(2)}
    mixed, mixed_targets = mixup.apply(clips, targets, tf.constant([0.75, 0.5]))
    np.testing.assert_array_equal(mixed, [[1.5], [2.5]])
    np.testing.assert_array_equal(mixed_targets["label"], [[0.75, 0.25], [0.25, 0.75]])


def test_a_batch_of_one_stays_as_it_is():
    np.testing.assert_array_equal(mixup.mix(tf.constant([[2.0, 4.0]]), tf.constant(0.3)), [[2.0, 4.0]])
