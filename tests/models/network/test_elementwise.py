"""models.network.elementwise: values and gradients of the library's own functions."""

import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from models.network.elementwise import gelu, standardise

VALUES = tf.constant(np.random.default_rng(0).normal(scale=3, size=(5, 7, 48)), tf.float32)
UPSTREAM = tf.constant(np.random.default_rng(1).normal(size=VALUES.shape), tf.float32)


def plain_gelu(values):
    return tf.nn.gelu(values, approximate=True)


def plain_standardise(values):
    mean, variance = tf.nn.moments(values, -1, keepdims=True)
    return (values - mean) / tf.sqrt(variance + 1e-6)


def value_and_gradient(function, values):
    with tf.GradientTape() as tape:
        tape.watch(values)
        found = function(values)
    return found.numpy(), tape.gradient(found, values, tf.cast(UPSTREAM, values.dtype)).numpy()


@pytest.mark.parametrize(
    ("ours", "plain"), [(gelu, plain_gelu), (lambda values: standardise(values, 1e-6), plain_standardise)]
)
@pytest.mark.parametrize("graph", [False, True])
def test_values_and_gradients_are_those_of_the_formula_in_float64(ours, plain, graph):
    ours = tf.function(ours) if graph else ours
    wanted = value_and_gradient(plain, tf.cast(VALUES, tf.float64))
    for found, exact in zip(value_and_gradient(ours, VALUES), wanted, strict=True):
        np.testing.assert_allclose(found, exact, rtol=0, atol=3e-6)


def test_gelu_is_finite_far_from_zero_and_in_bfloat16():
    far = tf.constant([-1e4, -50.0, 0.0, 50.0, 1e4])
    with tf.GradientTape() as tape:
        tape.watch(far)
        values = gelu(far)
    np.testing.assert_array_equal(values, [0, 0, 0, 50, 1e4])
    np.testing.assert_array_equal(tape.gradient(values, far), [0, 0, 0.5, 1, 1])
    halves = gelu(ops.cast(VALUES, "bfloat16"))
    assert halves.dtype == tf.bfloat16
    np.testing.assert_allclose(ops.cast(halves, "float32"), gelu(VALUES), rtol=0, atol=0.05)
