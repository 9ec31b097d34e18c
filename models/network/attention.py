"""Attention of the ViViT family, and its dense layers with an axis of heads.

Weights are named as in the reference implementation (google-research/scenic). Matrix products run in the layer's
compute dtype, softmax in float32.
"""

from __future__ import annotations

import functools
import math
from typing import Literal

import keras
import tensorflow as tf
from keras import initializers, ops

from models.network.draws import Dropout
from models.network.remat import recompute, recomputes

# Over the tokens N, over the frames T, or half of the heads each (paper section 3.3, model 4).
AttentionAxis = Literal["space", "time", "time_and_space"]
KernelInit = Literal["xavier", "zero"]

register = keras.saving.register_keras_serializable(package="vivit")


@register
class FlatGlorotUniform(initializers.GlorotUniform):
    """Glorot uniform of the kernel [inputs, outputs] that a kernel with an axis of heads is when the heads are flat.

    Args:
      inputs: Size of that kernel's first axis.
    """

    def __init__(self, inputs: int):
        super().__init__()
        self.inputs = inputs

    def __call__(self, shape, dtype=None):
        """Draws a kernel of `shape`."""
        flat = (self.inputs, math.prod(shape) // self.inputs)
        return ops.reshape(super().__call__(flat, dtype=dtype), shape)

    def get_config(self):
        """Returns the constructor's argument."""
        return {"inputs": self.inputs}


@register
class HeadProjection(keras.layers.Layer):
    """One of attention's four dense layers, with heads as an axis of their own.

    Args:
      num_heads: Heads.
      width: Width D of a token.
      outwards: False for query, key and value, kernel [D, heads, I / heads] and bias [heads, I / heads]; True for the
        projection out, kernel [heads, I / heads, D] and bias [D].
      kernel_init: "xavier" or "zero".
      inner: Width I of all heads together; None for D.
    """

    def __init__(
        self,
        num_heads: int,
        width: int,
        outwards: bool,
        kernel_init: KernelInit = "xavier",
        inner: int | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_heads, self.width, self.outwards, self.kernel_init = num_heads, width, outwards, kernel_init
        self.inner = width if inner is None else inner

    def build(self, tokens_shape=None):
        """Makes kernel and bias."""
        heads, width = (self.num_heads, self.inner // self.num_heads), self.width
        kernel_shape, bias_shape = ((*heads, width), (width,)) if self.outwards else ((width, *heads), heads)
        inputs = self.inner if self.outwards else width
        init = FlatGlorotUniform(inputs) if self.kernel_init == "xavier" else "zeros"
        self.kernel = self.add_weight(name="kernel", shape=kernel_shape, initializer=init)
        self.bias = self.add_weight(name="bias", shape=bias_shape, initializer="zeros")

    def call(self, inputs):
        """Projects [..., D] to [..., heads, I / heads], or, outwards, back."""
        sizes = (self.inner, self.width) if self.outwards else (self.width, self.inner)
        # Rank 2, as TensorFlow multiplies a batch by one matrix slowly, more so backwards.
        flat = ops.reshape(inputs, (-1, sizes[0]))
        flat = ops.matmul(flat, ops.reshape(self.kernel, sizes))
        # Not +, which TensorFlow does not compute within the product.
        flat = ops.add(flat, ops.reshape(self.bias, sizes[1:]))
        leading = inputs.shape[1:-2] if self.outwards else inputs.shape[1:-1]
        return ops.reshape(flat, (-1, *leading, *self.bias.shape))


@register
class Attention(keras.layers.Layer):
    """Multi-head self-attention over one axis of [B, N, D] or [B, T, N, D].

    Query, key and value are three products: measured on CPU no slower than one over joined kernels, and with less
    memory. Heads are moved ahead of the tokens for plain matrix products, which einsum is slower than.

    Args:
      num_heads: Heads; they divide D. Even for "time_and_space".
      axis: "space" over N; "time" over T; "time_and_space" the first half of the heads over T, the second over N.
      dropout: Rate of dropout on the attention weights.
      shared_over_time: Whether all T share one dropout mask.
      first_token_only: Whether only the first of the N tokens is a query; with axis "space".
      kernel_init: "xavier" or "zero", for all four kernels.
      logit_cap: As `attention_logit_cap` in `ViViTConfig`.
    """

    def __init__(
        self,
        num_heads: int,
        axis: AttentionAxis = "space",
        dropout: float = 0.0,
        shared_over_time: bool = False,
        first_token_only: bool = False,
        kernel_init: KernelInit = "xavier",
        logit_cap: float | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_heads, self.axis, self.first_token_only = num_heads, axis, first_token_only
        self.kernel_init, self.logit_cap = kernel_init, logit_cap
        noise_shape = (None, 1, None, None, None) if shared_over_time else None
        self.dropout = Dropout(dropout, noise_shape, dtype=self.dtype_policy)

    def build(self, tokens_shape):
        """Makes query, key, value and out."""
        width, own = tokens_shape[-1], {"kernel_init": self.kernel_init, "dtype": self.dtype_policy}
        self.query = HeadProjection(self.num_heads, width, outwards=False, name="query", **own)
        self.key = HeadProjection(self.num_heads, width, outwards=False, name="key", **own)
        self.value = HeadProjection(self.num_heads, width, outwards=False, name="value", **own)
        self.out = HeadProjection(self.num_heads, width, outwards=True, name="out", **own)
        for projection in (self.query, self.key, self.value, self.out):
            projection.build(tokens_shape)

    def call(self, tokens, training=False):
        """Returns tokens in the compute dtype, of the shape given, or with N = 1 for the first token only."""
        first = tokens[..., :1, :] if self.first_token_only else tokens
        query, key, value = self.query(first), self.key(tokens), self.value(tokens)
        if self.axis == "time_and_space":
            half = self.num_heads // 2
            over_time = self._attend(*(x[..., :half, :] for x in (query, key, value)), "time", training)
            over_space = self._attend(*(x[..., half:, :] for x in (query, key, value)), "space", training)
            return self.out(ops.concatenate([over_time, over_space], axis=-2))
        return self.out(self._attend(query, key, value, self.axis, training))

    def spread(self, shares, tokens):
        """Spreads shares of the tokens that come out over those that they attend to, by the heads' mean weights.

        The product of the shares, as a row, with the mean over heads of the attention weights of `call` at inference.
        No more is formed than the weights of all heads, [B, heads, N, N] over N, [B, N, heads, T, T] over T.

        Args:
          shares: float32 [B, N] or [B, T, N]; N = 1 for the first token only.
          tokens: As in `call`.

        Returns:
          float32 [B, N] or [B, T, N], with the sum of the shares given.
        """
        query, key = self.query(tokens[..., :1, :] if self.first_token_only else tokens), self.key(tokens)
        if self.axis == "time_and_space":
            half = self.num_heads // 2
            over_time = self._spread(shares, query[..., :half, :], key[..., :half, :], "time")
            return (over_time + self._spread(shares, query[..., half:, :], key[..., half:, :], "space")) / 2
        return self._spread(shares, query, key, self.axis)

    def _attend(self, query, key, value, axis, training):
        """Attends over T or N of [B, T, N, heads, D / heads], or over N of [B, N, heads, D / heads]."""
        length = -3 if axis == "space" else -4
        query, key, value = (ops.moveaxis(x, length, -2) for x in (query, key, value))
        if training and recomputes("attention"):
            attended = recompute(self.dropout, functools.partial(self._average, training=training), query, key, value)
        else:
            attended = self._average(query, key, value, training)
        return ops.moveaxis(attended, -2, length)

    def _average(self, query, key, value, training):
        """The values [..., tokens, D / heads], averaged by the weights of each query."""
        weights = attention_weights(query, key, self.logit_cap, value.dtype)
        return ops.matmul(self.dropout(weights, training=training), value)

    def _spread(self, shares, query, key, axis):
        """Spreads shares [B, T, N] over T or N, or [B, N] over N; query and key as in `_attend`."""
        length = -3 if axis == "space" else -4
        query, key = (ops.moveaxis(x, length, -2) for x in (query, key))
        weights = attention_weights(query, key, self.logit_cap)
        rows = ops.moveaxis(shares, length + 2, -1)[..., None, None, :]
        return ops.moveaxis(ops.mean(ops.matmul(rows, weights), axis=(-3, -2)), -1, length + 2)


def attention_weights(query, key, logit_cap=None, dtype="float32"):
    """Weights [..., queries, keys] of queries and keys [..., tokens, D / heads]; the cap is `Attention`'s."""
    scores = ops.cast(ops.matmul(query * (query.shape[-1] ** -0.5), ops.swapaxes(key, -1, -2)), "float32")
    return softmax(scores if logit_cap is None else logit_cap * ops.tanh(scores / logit_cap), dtype)


def softmax(scores, dtype):
    """Softmax of float32 scores in another dtype, which is all that the backward pass keeps of it.

    Without a gradient of its own, the softmax in float32 would be kept besides. XLA decides by itself what it keeps.
    """
    if dtype == "float32":
        return ops.softmax(scores)

    @ops.custom_gradient
    def run(scores):
        weights = ops.cast(ops.softmax(scores), dtype)

        def gradient(upstream):
            upstream = ops.cast(upstream, "float32")
            # TensorFlow would else widen the weights as soon as it has them, and keep both until the backward pass.
            with tf.control_dependencies([upstream]):
                shares = ops.cast(tf.identity(weights), "float32")
            product = shares * upstream
            return product - shares * ops.sum(product, axis=-1, keepdims=True)

        return weights, gradient

    return run(scores)
