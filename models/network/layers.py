"""Keras layers of the ViViT family's encoders: normalisation, MLP and the blocks made of them.

Weights are named as in the reference implementation (google-research/scenic), so that ``variable.path`` is the name in
its checkpoints. Tokens are [B, N, D], or [B, T, N, D] where attention treats time apart. Matrix products run in the
layer's compute dtype; softmax, normalisation and the residual stream stay float32.
"""

from __future__ import annotations

from typing import Literal

import keras
from keras import initializers, ops

from models.network.attention import Attention, AttentionAxis, KernelInit, register
from models.network.draws import Dropout, ReplicaSeeds
from models.network.elementwise import gelu, standardise

AttentionOrder = Literal["time_space", "space_time"]
# The tanh approximation of the reference, or with the error function (Hendrycks and Gimpel 2016).
Gelu = Literal["tanh", "exact"]

LAYER_NORM_EPSILON = 1e-6


@register
class LayerNorm(keras.layers.Layer):
    """Layer normalisation over the last axis in float32, with the reference's weight names."""

    def __init__(self, epsilon: float = LAYER_NORM_EPSILON, **kwargs):
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def build(self, tokens_shape):
        """Makes scale and bias, [D]."""
        self.scale = self.add_weight(name="scale", shape=tokens_shape[-1:], initializer="ones")
        self.bias = self.add_weight(name="bias", shape=tokens_shape[-1:], initializer="zeros")

    def call(self, tokens):
        """Returns tokens of the shape given, float32."""
        return standardise(tokens, self.epsilon) * self.scale + self.bias


@register
class MlpBlock(keras.layers.Layer):
    """Dense, GELU, dropout, dense, dropout.

    Args:
      mlp_dim: Width of the hidden layer.
      dropout: Rate of both dropouts.
      shared_over_time: Whether all T of [B, T, N, D] share one dropout mask.
      gelu: "tanh" for its approximation, or "exact".
    """

    def __init__(
        self, mlp_dim: int, dropout: float = 0.0, shared_over_time: bool = False, gelu: Gelu = "tanh", **kwargs
    ):
        super().__init__(**kwargs)
        self.mlp_dim, self.gelu = mlp_dim, gelu
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
        hidden = self.widen(ops.reshape(tokens, (-1, width)))
        hidden = gelu(hidden) if self.gelu == "tanh" else ops.gelu(hidden, approximate=False)
        hidden = self.hidden_dropout(ops.reshape(hidden, (*leading, self.mlp_dim)), training=training)
        tokens = self.narrow(ops.reshape(hidden, (-1, self.mlp_dim)))
        return self.output_dropout(ops.reshape(tokens, (*leading, width)), training=training)


def shared_dropout(rate: float, shared_over_time: bool, **kwargs) -> Dropout:
    """Dropout on tokens, with one mask for all T of [B, T, N, D] where `shared_over_time`."""
    return Dropout(rate, (None, 1, None, None) if shared_over_time else None, **kwargs)


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
            self.seed_generator = ReplicaSeeds()

    def call(self, branch, training=False):
        """Returns the branch [B, ...], zero for the examples dropped."""
        if not training or not self.rate:
            return branch
        shape = (ops.shape(branch)[0], *(1 for _ in branch.shape[1:]))
        kept = keras.random.uniform(shape, seed=self.seed_generator) >= self.rate
        return branch * ops.cast(kept, branch.dtype)


@register
class PatchDropout(keras.layers.Layer):
    """Leaves out tokens in training, so that what follows costs less (Liu et al., WACV 2023).

    Which tokens stay is drawn for each sequence: for each clip of [B, N, D], for each frame of [B, T, N, D].

    Args:
      rate: Share of the tokens that is left out, in [0, 1); at least one stays.
      first: Tokens at the beginning that always stay.
    """

    def __init__(self, rate: float, first: int, **kwargs):
        super().__init__(**kwargs)
        self.rate, self.first = rate, first
        if rate:
            self.seed_generator = ReplicaSeeds()

    def call(self, tokens, training=False):
        """Returns tokens [..., N', D]."""
        if not training or not self.rate:
            return tokens
        others = tokens[..., self.first :, :]
        kept = max(1, round(others.shape[-2] * (1 - self.rate)))
        draws = keras.random.uniform(ops.shape(others)[:-1], seed=self.seed_generator)
        _, index = ops.top_k(draws, kept)
        others = ops.take_along_axis(others, index[..., None], axis=-2)
        return ops.concatenate([tokens[..., : self.first, :], others], axis=-2)


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
      gelu, layer_norm_epsilon, attention_logit_cap: As in `ViViTConfig`.
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
        gelu: Gelu = "tanh",
        layer_norm_epsilon: float = LAYER_NORM_EPSILON,
        attention_logit_cap: float | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        policy = block_policy(compute_dtype)
        self.first_token_only = first_token_only
        self.attention_norm = LayerNorm(layer_norm_epsilon, name="LayerNorm_0")
        self.attention = Attention(
            num_heads,
            axis,
            attention_dropout,
            shared_over_time,
            first_token_only,
            logit_cap=attention_logit_cap,
            name="MultiHeadDotProductAttention_0",
            dtype=policy,
        )
        self.attention_dropout = shared_dropout(dropout, shared_over_time)
        self.attention_depth = StochasticDepth(stochastic_depth)
        self.mlp_norm = LayerNorm(layer_norm_epsilon, name="LayerNorm_1")
        self.mlp = MlpBlock(mlp_dim, dropout, shared_over_time, gelu, name="MlpBlock_0", dtype=policy)
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
      gelu, layer_norm_epsilon, attention_logit_cap: As in `ViViTConfig`.
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
        gelu: Gelu = "tanh",
        layer_norm_epsilon: float = LAYER_NORM_EPSILON,
        attention_logit_cap: float | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        policy = block_policy(compute_dtype)
        self.order = order.split("_")
        self.norms, self.attentions, self.dropouts = {}, {}, {}
        for axis, kernel_init in (("time", temporal_init), ("space", "xavier")):
            self.norms[axis] = LayerNorm(layer_norm_epsilon, name=f"LayerNorm_{axis}")
            self.attentions[axis] = Attention(
                num_heads,
                axis,
                attention_dropout,
                kernel_init=kernel_init,
                logit_cap=attention_logit_cap,
                name=f"MultiHeadDotProductAttention_{axis}",
                dtype=policy,
            )
            self.dropouts[axis] = Dropout(dropout)
        self.mlp_norm = LayerNorm(layer_norm_epsilon, name="LayerNorm_mlp")
        self.mlp = MlpBlock(mlp_dim, dropout, gelu=gelu, name="MlpBlock", dtype=policy)

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
