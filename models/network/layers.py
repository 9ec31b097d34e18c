"""Keras layers of the ViViT family's encoders: attention, MLP and the blocks made of them.

Weights are named as in the reference implementation (google-research/scenic), so that ``variable.path`` is the name in
its checkpoints. Tokens are [B, N, D], or [B, T, N, D] where attention treats time apart. Matrix products run in the
layer's compute dtype; softmax, normalisation and the residual stream stay float32.
"""

from __future__ import annotations

import math
from typing import Literal

import keras
from keras import initializers, ops

# Over the tokens N, over the frames T, or half of the heads each (paper section 3.3, model 4).
AttentionAxis = Literal["space", "time", "time_and_space"]
AttentionOrder = Literal["time_space", "space_time"]
KernelInit = Literal["xavier", "zero"]

LAYER_NORM_EPSILON = 1e-6

register = keras.saving.register_keras_serializable(package="vivit")


@register
class FlatGlorotUniform(initializers.GlorotUniform):
    """Glorot uniform of the square kernel [D, D] that a kernel with an axis of heads is when the heads are flat."""

    def __call__(self, shape, dtype=None):
        """Draws a kernel of `shape`, whose sizes multiply to D * D."""
        width = math.isqrt(math.prod(shape))
        return ops.reshape(super().__call__((width, width), dtype=dtype), shape)


@register
class LayerNorm(keras.layers.Layer):
    """Layer normalisation over the last axis in float32, epsilon 1e-6, with the reference's weight names."""

    def build(self, tokens_shape):
        """Makes scale and bias, [D]."""
        self.scale = self.add_weight(name="scale", shape=tokens_shape[-1:], initializer="ones")
        self.bias = self.add_weight(name="bias", shape=tokens_shape[-1:], initializer="zeros")

    def call(self, tokens):
        """Returns tokens of the shape given, float32."""
        mean = ops.mean(tokens, axis=-1, keepdims=True)
        centred = tokens - mean
        variance = ops.mean(ops.square(centred), axis=-1, keepdims=True)
        return centred * (ops.rsqrt(variance + LAYER_NORM_EPSILON) * self.scale) + self.bias


@register
class HeadProjection(keras.layers.Layer):
    """One of attention's four dense layers, with heads as an axis of their own.

    Args:
      num_heads: Heads.
      width: Width D of a token.
      outwards: False for query, key and value, kernel [D, heads, D / heads] and bias [heads, D / heads]; True for the
        projection out, kernel [heads, D / heads, D] and bias [D].
      kernel_init: "xavier" or "zero".
    """

    def __init__(self, num_heads: int, width: int, outwards: bool, kernel_init: KernelInit = "xavier", **kwargs):
        super().__init__(**kwargs)
        self.num_heads, self.width, self.outwards, self.kernel_init = num_heads, width, outwards, kernel_init

    def build(self, tokens_shape=None):
        """Makes kernel and bias."""
        heads, width = (self.num_heads, self.width // self.num_heads), self.width
        kernel_shape, bias_shape = ((*heads, width), (width,)) if self.outwards else ((width, *heads), heads)
        init = FlatGlorotUniform() if self.kernel_init == "xavier" else "zeros"
        self.kernel = self.add_weight(name="kernel", shape=kernel_shape, initializer=init)
        self.bias = self.add_weight(name="bias", shape=bias_shape, initializer="zeros")

    def call(self, inputs):
        """Projects [..., D] to [..., heads, D / heads], or, outwards, back."""
        # Rank 2, as TensorFlow multiplies a batch by one matrix slowly, more so backwards.
        flat = ops.reshape(inputs, (-1, self.width))
        flat = ops.matmul(flat, ops.reshape(self.kernel, (self.width, self.width)))
        flat = flat + ops.reshape(self.bias, (self.width,))
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
    """

    def __init__(
        self,
        num_heads: int,
        axis: AttentionAxis = "space",
        dropout: float = 0.0,
        shared_over_time: bool = False,
        first_token_only: bool = False,
        kernel_init: KernelInit = "xavier",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_heads, self.axis, self.first_token_only = num_heads, axis, first_token_only
        self.kernel_init = kernel_init
        noise_shape = (None, 1, None, None, None) if shared_over_time else None
        self.dropout = keras.layers.Dropout(dropout, noise_shape, dtype=self.dtype_policy)

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
        weights = ops.cast(_attention_weights(query, key), value.dtype)
        return ops.moveaxis(ops.matmul(self.dropout(weights, training=training), value), -2, length)

    def _spread(self, shares, query, key, axis):
        """Spreads shares [B, T, N] over T or N, or [B, N] over N; query and key as in `_attend`."""
        length = -3 if axis == "space" else -4
        weights = _attention_weights(*(ops.moveaxis(x, length, -2) for x in (query, key)))
        rows = ops.moveaxis(shares, length + 2, -1)[..., None, None, :]
        return ops.moveaxis(ops.mean(ops.matmul(rows, weights), axis=(-3, -2)), -1, length + 2)


def _attention_weights(query, key):
    """Weights float32 [..., queries, keys] of queries and keys [..., tokens, D / heads]."""
    scores = ops.matmul(query * (query.shape[-1] ** -0.5), ops.swapaxes(key, -1, -2))
    return ops.softmax(ops.cast(scores, "float32"))


@register
class MlpBlock(keras.layers.Layer):
    """Dense, GELU (tanh approximation), dropout, dense, dropout.

    Args:
      mlp_dim: Width of the hidden layer.
      dropout: Rate of both dropouts.
      shared_over_time: Whether all T of [B, T, N, D] share one dropout mask.
    """

    def __init__(self, mlp_dim: int, dropout: float = 0.0, shared_over_time: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.mlp_dim = mlp_dim
        self.hidden_dropout = shared_dropout(dropout, shared_over_time, dtype=self.dtype_policy)
        self.output_dropout = shared_dropout(dropout, shared_over_time, dtype=self.dtype_policy)

    def build(self, tokens_shape):
        """Makes both dense layers."""
        self.widen = self._dense(self.mlp_dim, "Dense_0")
        self.widen.build(tokens_shape)
        self.narrow = self._dense(tokens_shape[-1], "Dense_1")
        self.narrow.build((*tokens_shape[:-1], self.mlp_dim))

    def _dense(self, units, name):
        bias_init = initializers.RandomNormal(stddev=1e-6)
        return keras.layers.Dense(units, bias_initializer=bias_init, name=name, dtype=self.dtype_policy)

    def call(self, tokens, training=False):
        """Returns tokens of the shape given, in the compute dtype."""
        *leading, width = (-1, *tokens.shape[1:])
        # Rank 2, as TensorFlow multiplies a batch by one matrix slowly, more so backwards, and fuses none of the rest.
        hidden = ops.gelu(self.widen(ops.reshape(tokens, (-1, width))), approximate=True)
        hidden = self.hidden_dropout(ops.reshape(hidden, (*leading, self.mlp_dim)), training=training)
        tokens = self.narrow(ops.reshape(hidden, (-1, self.mlp_dim)))
        return self.output_dropout(ops.reshape(tokens, (*leading, width)), training=training)


def shared_dropout(rate: float, shared_over_time: bool, **kwargs) -> keras.layers.Dropout:
    """Dropout on tokens, with one mask for all T of [B, T, N, D] where `shared_over_time`."""
    return keras.layers.Dropout(rate, (None, 1, None, None) if shared_over_time else None, **kwargs)


@register
class StochasticDepth(keras.layers.Layer):
    """Drops a residual branch, for each example by itself, in training only (paper equation 10).

    As in the reference, the branch that survives is not rescaled, neither in training nor at inference.

    Args:
      rate: Probability in [0, 1).
    """

    def __init__(self, rate: float, **kwargs):
        super().__init__(**kwargs)
        self.rate = rate
        if rate:
            self.seed_generator = keras.random.SeedGenerator()

    def call(self, branch, training=False):
        """Returns the branch [B, ...], zero for the examples dropped."""
        if not training or not self.rate:
            return branch
        shape = (ops.shape(branch)[0], *(1 for _ in branch.shape[1:]))
        kept = keras.random.uniform(shape, seed=self.seed_generator) >= self.rate
        return branch * ops.cast(kept, branch.dtype)


@register
class EncoderBlock(keras.layers.Layer):
    """Pre-norm transformer block of models 1, 2 and 4: attention, then MLP, each with a residual connection.

    Args:
      num_heads: Heads of attention.
      mlp_dim: Width of the MLP's hidden layer.
      axis: What attention runs over, see `Attention`.
      dropout: Rate after attention and in the MLP.
      attention_dropout: Rate on the attention weights.
      stochastic_depth: Probability that a residual branch is dropped.
      shared_over_time: Whether all T of [B, T, N, D] share the dropout masks.
      first_token_only: Whether only the first of the N tokens comes out, all that is read of the last block where the
        classifier is a class token.
      compute_dtype: Of attention and MLP; the residual stream stays float32.
    """

    def __init__(
        self,
        num_heads: int,
        mlp_dim: int,
        axis: AttentionAxis = "space",
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        stochastic_depth: float = 0.0,
        shared_over_time: bool = False,
        first_token_only: bool = False,
        compute_dtype: str = "float32",
        **kwargs,
    ):
        super().__init__(**kwargs)
        policy = block_policy(compute_dtype)
        self.first_token_only = first_token_only
        self.attention_norm = LayerNorm(name="LayerNorm_0")
        self.attention = Attention(
            num_heads,
            axis,
            attention_dropout,
            shared_over_time,
            first_token_only,
            name="MultiHeadDotProductAttention_0",
            dtype=policy,
        )
        self.attention_dropout = shared_dropout(dropout, shared_over_time)
        self.attention_depth = StochasticDepth(stochastic_depth)
        self.mlp_norm = LayerNorm(name="LayerNorm_1")
        self.mlp = MlpBlock(mlp_dim, dropout, shared_over_time, name="MlpBlock_0", dtype=policy)
        self.mlp_depth = StochasticDepth(stochastic_depth)

    def build(self, tokens_shape):
        """Builds the layers."""
        for layer in (self.attention_norm, self.attention, self.mlp_norm, self.mlp):
            layer.build(tokens_shape)

    def call(self, tokens, training=False):
        """Returns tokens float32 of the shape given, or with N = 1 for the first token only."""
        branch = ops.cast(self.attention(self.attention_norm(tokens), training=training), tokens.dtype)
        branch = self.attention_depth(self.attention_dropout(branch, training=training), training=training)
        tokens = branch + (tokens[..., :1, :] if self.first_token_only else tokens)
        branch = ops.cast(self.mlp(self.mlp_norm(tokens), training=training), tokens.dtype)
        return tokens + self.mlp_depth(branch, training=training)


@register
class FactorizedSelfAttentionBlock(keras.layers.Layer):
    """Block of model 3 on [B, T, N, D]: attention over time and over space, one after the other, then MLP.

    Args:
      num_heads: Heads of both attentions.
      mlp_dim: Width of the MLP's hidden layer.
      order: "time_space" or "space_time".
      temporal_init: Kernels of the attention over time, "xavier" or "zero".
      dropout: Rate after each attention and in the MLP.
      attention_dropout: Rate on the attention weights.
      compute_dtype: Of attention and MLP; the residual stream stays float32.
    """

    def __init__(
        self,
        num_heads: int,
        mlp_dim: int,
        order: AttentionOrder,
        temporal_init: KernelInit = "xavier",
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        compute_dtype: str = "float32",
        **kwargs,
    ):
        super().__init__(**kwargs)
        policy = block_policy(compute_dtype)
        self.order = order.split("_")
        self.norms, self.attentions, self.dropouts = {}, {}, {}
        for axis, kernel_init in (("time", temporal_init), ("space", "xavier")):
            self.norms[axis] = LayerNorm(name=f"LayerNorm_{axis}")
            self.attentions[axis] = Attention(
                num_heads,
                axis,
                attention_dropout,
                kernel_init=kernel_init,
                name=f"MultiHeadDotProductAttention_{axis}",
                dtype=policy,
            )
            self.dropouts[axis] = keras.layers.Dropout(dropout)
        self.mlp_norm = LayerNorm(name="LayerNorm_mlp")
        self.mlp = MlpBlock(mlp_dim, dropout, name="MlpBlock", dtype=policy)

    def build(self, tokens_shape):
        """Builds the layers."""
        for layer in (*self.norms.values(), *self.attentions.values(), self.mlp_norm, self.mlp):
            layer.build(tokens_shape)

    def call(self, tokens, training=False):
        """Returns tokens of the shape given, float32."""
        for axis in self.order:
            tokens = self.attend(axis, tokens, training)
        return tokens + ops.cast(self.mlp(self.mlp_norm(tokens), training=training), tokens.dtype)

    def attend(self, axis, tokens, training=False):
        """Returns tokens after the attention over one axis, "time" or "space", with its residual connection."""
        branch = ops.cast(self.attentions[axis](self.norms[axis](tokens), training=training), tokens.dtype)
        return tokens + self.dropouts[axis](branch, training=training)


def block_policy(compute_dtype: str) -> str:
    """Keras's name of the policy that keeps float32 weights and computes in `compute_dtype`."""
    return "float32" if compute_dtype == "float32" else f"mixed_{compute_dtype}"
