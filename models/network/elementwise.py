"""Functions that touch each value a few times, with gradients of their own: fewer passes, and less that is kept.

On a CPU, and on any device without a compiler that fuses, each operation of such a function reads and writes all of its
values; TensorFlow's own gradients take two to three times as many operations as the closed forms below.
"""

from __future__ import annotations

import math

from keras import ops

# gelu(x) = x * sigmoid(x * (A + B * x^2)) is the tanh approximation (Hendrycks and Gimpel 2016).
_A = 2 * math.sqrt(2 / math.pi)
_B = _A * 0.044715


@ops.custom_gradient
def gelu(x):
    """The tanh approximation of GELU of float [...], in the dtype given."""
    share = ops.sigmoid(x * (_B * ops.square(x) + _A))

    def gradient(upstream):
        slope = x * (3 * _B * ops.square(x) + _A)
        return upstream * share * (1 + slope * (1 - share))

    return x * share, gradient


def standardise(tokens, epsilon):
    """float32 [..., D] with mean 0 and variance 1 over the last axis; `epsilon` is added to the variance."""

    @ops.custom_gradient
    def run(tokens):
        centred = tokens - ops.mean(tokens, axis=-1, keepdims=True)
        inverse = ops.rsqrt(ops.mean(ops.square(centred), axis=-1, keepdims=True) + epsilon)
        standard = centred * inverse

        def gradient(upstream):
            mean = ops.mean(upstream, axis=-1, keepdims=True)
            along = ops.mean(upstream * standard, axis=-1, keepdims=True)
            return inverse * (upstream - mean - standard * along)

        return standard, gradient

    return run(tokens)
