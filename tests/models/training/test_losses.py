"""models.training.losses: what the golden cases (test_parity_training) do not fix."""

import numpy as np
import pytest
import tensorflow as tf

from models.training import losses

LOGITS = tf.constant([[2.0, -1.0, 0.5], [0.0, 0.3, -0.7]])
TARGETS = tf.constant([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])


def test_class_weights_scale_the_loss_of_their_class():
    plain = losses.softmax_cross_entropy(LOGITS[1:], TARGETS[1:])
    weighted = losses.softmax_cross_entropy(LOGITS[1:], TARGETS[1:], class_weights=[1.0, 1.0, 4.0])
    np.testing.assert_allclose(weighted, 4 * plain, rtol=1e-6)


def test_balanced_class_weights_have_mean_one_over_clips():
    counts = [10, 30, 60]
    weights = losses.balanced_class_weights(counts)
    assert weights[0] == pytest.approx(6 * weights[2])
    assert np.dot(weights, counts) == pytest.approx(100)
    with pytest.raises(ValueError, match=r"none has class id \[1\]"):
        losses.balanced_class_weights([3, 0, 2])


def test_padding_adds_nothing():
    padded = losses.softmax_cross_entropy(LOGITS, TARGETS, label_smoothing=0.1, mask=tf.constant([1.0, 0.0]))
    alone = losses.softmax_cross_entropy(LOGITS[:1], TARGETS[:1], label_smoothing=0.1)
    np.testing.assert_allclose(padded, alone, rtol=1e-6)


def test_sigmoid_loss_is_the_sum_over_classes_of_the_mean_over_examples():
    targets = np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    probability = 1 / (1 + np.exp(-LOGITS.numpy()))
    expected = -(targets * np.log(probability) + (1 - targets) * np.log(1 - probability)).sum(-1).mean()
    np.testing.assert_allclose(losses.sigmoid_cross_entropy(LOGITS, targets), expected, rtol=1e-6)


def test_several_heads_count_the_same():
    heads = {"verb": tf.constant(1.0), "noun": tf.constant(4.0)}
    assert float(losses.mean_over_heads(heads)) == 2.5


def test_bfloat16_logits_give_a_float32_loss():
    assert losses.softmax_cross_entropy(tf.cast(LOGITS, tf.bfloat16), TARGETS).dtype == tf.float32
