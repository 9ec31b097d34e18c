"""Keras layers of the ViViT family's encoders: attention, MLP and the blocks made of them.

Weights are named as in the reference implementation (google-research/scenic), so that ``variable.path`` is the name in
its checkpoints. Tokens are [B, N, D], or [B, T, N, D] where attention treats time apart. Matrix products run in the
layer's compute dtype; softmax, normalisation and the residual stream stay float32.
"""

from __future__ import annotations

from typing import Literal

import keras
import numpy as np
from keras import initializers, ops

# Over the tokens N, over the frames T, or half of the heads each (paper section 3.3, model 4).
AttentionAxis = Literal["space", "time", "time_and_space"]
AttentionOrder = Literal["time_space", "space_time"]
KernelInit = Literal["xavier", "zero"]

LAYER_NORM_EPSILON = 1e-6

register = keras.saving.register_keras_serializable(package="vivit")


@register
class FlatGlorotUniform(initializers.Initializer):
    """Glorot uniform for kernels whose axes split the units of a 2-D kernel into heads.

    Args:
      fan_in: Units that go in, over all axes of the kernel.
      fan_out: Units that come out, over all axes of the kernel.
    """

    def __init__(self, fan_in: int, fan_out: int):
        self.fan_in, self.fan_out = fan_in, fan_out

    def __call__(self, shape, dtype=None):
        """Draws a kernel of `shape`, uniform in +-sqrt(6 / (fan_in + fan_out))."""
        limit = float(np.sqrt(6.0 / (self.fan_in + self.fan_out)))
        return keras.random.uniform(shape, -limit, limit, dtype=dtype)

    def get_config(self):
        """Returns the constructor's arguments."""
        return {"fan_in": self.fan_in, "fan_out": self.fan_out}


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
    """Weights of one of attention's four dense layers, heads as an axis of their own.

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
        init = FlatGlorotUniform(width, width) if self.kernel_init == "xavier" else "zeros"
        self.kernel = self.add_weight(name="kernel", shape=kernel_shape, initializer=init)
        self.bias = self.add_weight(name="bias", shape=bias_shape, initializer="zeros")

    def flat(self, dtype):
        """Returns kernel [D, D] and bias [D] as the dense layer that they are."""
        return ops.cast(ops.reshape(self.kernel, (self.width, self.width)), dtype), ops.cast(
            ops.reshape(self.bias, (self.width,)), dtype
        )


@register
class Attention(keras.layers.Layer):
    """Multi-head self-attention over one axis of [B, N, D] or [B, T, N, D].

    Args:
      num_heads: Heads; they divide D. Even for "time_and_space".
      axis: "space" over N; "time" over T; "time_and_space" the first half of the heads over T, the second over N.
      dropout: Rate of dropout on the attention weights.
      shared_over_time: Whether all T share one dropout mask.
      kernel_init: "xavier" or "zero", for all four kernels.
    """

    def __init__(
        self,
        num_heads: int,
        axis: AttentionAxis = "space",
        dropout: float = 0.0,
        shared_over_time: bool = False,
        kernel_init: KernelInit = "xavier",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_heads, self.axis, self.kernel_init = num_heads, axis, kernel_init
        noise_shape = (None, 1, None, None, None) if shared_over_time else None
        self.dropout = keras.layers.Dropout(dropout, noise_shape, dtype=self.dtype_policy)

    def build(self, tokens_shape):
        """Makes query, key, value and out."""
        width = tokens_shape[-1]
        for name in ("query", "key", "value", "out"):
            layer = HeadProjection(
                self.num_heads,
                width,
                outwards=name == "out",
                kernel_init=self.kernel_init,
                name=name,
                dtype=self.dtype_policy,
            )
            setattr(self, name, layer)
            layer.build()

    def call(self, tokens, training=False):
        """Returns tokens of the shape given, in the compute dtype."""
        *leading, length, width = tokens.shape
        frames = leading[1] if len(leading) == 2 else 1
        kernels, biases = zip(*(layer.flat(tokens.dtype) for layer in (self.query, self.key, self.value)), strict=True)
        flat = ops.reshape(tokens, (-1, width))
        qkv = ops.matmul(flat, ops.concatenate(kernels, axis=-1)) + ops.concatenate(biases)
        qkv = ops.reshape(qkv, (-1, frames, length, 3, self.num_heads, width // self.num_heads))
        if self.axis == "time_and_space":
            half = self.num_heads // 2
            over_time = self._attend(qkv[..., :half, :], "time", training)
            mixed = ops.concatenate([over_time, self._attend(qkv[..., half:, :], "space", training)], axis=-2)
        else:
            mixed = self._attend(qkv, self.axis, training)
        kernel, bias = self.out.flat(tokens.dtype)
        mixed = ops.matmul(ops.reshape(mixed, (-1, width)), kernel) + bias
        return ops.reshape(mixed, (-1, *leading[1:], length, width))

    def _attend(self, qkv, axis, training):
        """Attention of [B, T, N, 3, heads, D / heads] over T or N; gives [B, T, N, heads, D / heads]."""
        to_heads, back = (
            ((3, 0, 1, 4, 2, 5), (0, 1, 3, 2, 4)) if axis == "space" else ((3, 0, 2, 4, 1, 5), (0, 3, 1, 2, 4))
        )
        query, key, value = ops.unstack(ops.transpose(qkv, to_heads), 3)
        scores = ops.matmul(query * (query.shape[-1] ** -0.5), ops.swapaxes(key, -1, -2))
        weights = ops.cast(ops.softmax(ops.cast(scores, "float32")), value.dtype)
        return ops.transpose(ops.matmul(self.dropout(weights, training=training), value), back)


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
        self.Dense_0 = self._dense(self.mlp_dim, "Dense_0")
        self.Dense_0.build(tokens_shape)
        self.Dense_1 = self._dense(tokens_shape[-1], "Dense_1")
        self.Dense_1.build((*tokens_shape[:-1], self.mlp_dim))

    def _dense(self, units, name):
        bias_init = initializers.RandomNormal(stddev=1e-6)
        return keras.layers.Dense(units, bias_initializer=bias_init, name=name, dtype=self.dtype_policy)

    def call(self, tokens, training=False):
        """Returns tokens of the shape given, in the compute dtype."""
        hidden = ops.gelu(self.Dense_0(tokens), approximate=True)
        return self.output_dropout(self.Dense_1(self.hidden_dropout(hidden, training=training)), training=training)


def shared_dropout(rate: float, shared_over_time: bool, **kwargs) -> keras.layers.Dropout:
    """Dropout on tokens, with one mask for all T of [B, T, N, D] where `shared_over_time`."""
    return keras.layers.Dropout(rate, (None, 1, None, None) if shared_over_time else None, **kwargs)


@register
class StochasticDepth(keras.layers.Layer):
    """Drops a residual branch of each example with one probability, in training only (spec of the reference).

    The branch that survives is not rescaled, neither in training nor at inference.

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
        compute_dtype: str = "float32",
        **kwargs,
    ):
        super().__init__(**kwargs)
        policy = block_policy(compute_dtype)
        self.LayerNorm_0 = LayerNorm(name="LayerNorm_0")
        self.MultiHeadDotProductAttention_0 = Attention(
            num_heads, axis, attention_dropout, shared_over_time, name="MultiHeadDotProductAttention_0", dtype=policy
        )
        self.dropout = shared_dropout(dropout, shared_over_time)
        self.attention_depth = StochasticDepth(stochastic_depth)
        self.LayerNorm_1 = LayerNorm(name="LayerNorm_1")
        self.MlpBlock_0 = MlpBlock(mlp_dim, dropout, shared_over_time, name="MlpBlock_0", dtype=policy)
        self.mlp_depth = StochasticDepth(stochastic_depth)

    def build(self, tokens_shape):
        """Builds the layers."""
        for layer in (self.LayerNorm_0, self.MultiHeadDotProductAttention_0, self.LayerNorm_1, self.MlpBlock_0):
            layer.build(tokens_shape)

    def call(self, tokens, training=False):
        """Returns tokens of the shape given, float32."""
        branch = self.MultiHeadDotProductAttention_0(self.LayerNorm_0(tokens), training=training)
        branch = self.dropout(ops.cast(branch, tokens.dtype), training=training)
        tokens = tokens + self.attention_depth(branch, training=training)
        branch = ops.cast(self.MlpBlock_0(self.LayerNorm_1(tokens), training=training), tokens.dtype)
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
        for axis, kernel_init in (("time", temporal_init), ("space", "xavier")):
            setattr(self, f"LayerNorm_{axis}", LayerNorm(name=f"LayerNorm_{axis}"))
            name = f"MultiHeadDotProductAttention_{axis}"
            attention = Attention(num_heads, axis, attention_dropout, kernel_init=kernel_init, name=name, dtype=policy)
            setattr(self, name, attention)
            setattr(self, f"dropout_{axis}", keras.layers.Dropout(dropout))
        self.LayerNorm_mlp = LayerNorm(name="LayerNorm_mlp")
        self.MlpBlock = MlpBlock(mlp_dim, dropout, name="MlpBlock", dtype=policy)

    def build(self, tokens_shape):
        """Builds the layers."""
        for axis in self.order:
            getattr(self, f"LayerNorm_{axis}").build(tokens_shape)
            getattr(self, f"MultiHeadDotProductAttention_{axis}").build(tokens_shape)
        self.LayerNorm_mlp.build(tokens_shape)
        self.MlpBlock.build(tokens_shape)

    def call(self, tokens, training=False):
        """Returns tokens of the shape given, float32."""
        for axis in self.order:
            branch = getattr(self, f"LayerNorm_{axis}")(tokens)
            branch = getattr(self, f"MultiHeadDotProductAttention_{axis}")(branch, training=training)
            tokens = tokens + getattr(self, f"dropout_{axis}")(ops.cast(branch, tokens.dtype), training=training)
        branch = self.MlpBlock(self.LayerNorm_mlp(tokens), training=training)
        return tokens + ops.cast(branch, tokens.dtype)


def block_policy(compute_dtype: str) -> str:
    """Keras's name of the policy that keeps float32 weights and computes in `compute_dtype`."""
    return "float32" if compute_dtype == "float32" else f"mixed_{compute_dtype}"
