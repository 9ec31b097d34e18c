"""The transformer encoder of the ViViT family: positions, registers, blocks and a last normalisation.

Weights are named as in the reference implementation (google-research/scenic).
"""

from __future__ import annotations

import collections
import functools
from collections.abc import Sequence
from typing import Literal

import keras
from keras import ops

from models.network.embeddings import PositionEmbedding, PositionKind
from models.network.layers import (
    LAYER_NORM_EPSILON,
    AttentionOrder,
    EncoderBlock,
    FactorizedSelfAttentionBlock,
    Gelu,
    KernelInit,
    LayerNorm,
    PatchDropout,
    register,
    shared_dropout,
)
from models.network.remat import recompute, recomputes

ComputeDtype = Literal["float32", "bfloat16"]


@register
class Encoder(keras.layers.Layer):
    """Position embedding, transformer blocks and a last layer normalisation.

    Takes and returns tokens float32 [B, N, D], or [B, T, N, D] to encode each of T frames by itself.

    Args:
      block: "joint", or "factorized_self_attention" or "factorized_dot_product", which separate time and space in the N
        of [B, N, D] by the grid.
      grid: Tokens in (frames, rows, columns), without a class token.
      num_layers, num_heads, mlp_dim, position_embedding, dropout, attention_dropout, stochastic_depth,
        attention_order, temporal_init, gelu, layer_norm_epsilon, attention_logit_cap: As in `ViViTConfig`.
      shared_over_time: Whether all T share the dropout masks.
      first_token_only: Whether the last block computes the first token only, and N = 1 comes out; "joint" only.
      registers: Tokens that are learned and have no position, which the blocks see besides those given and which do not
        come out (Darcet et al. 2024); "joint" only. They come last, so that the first token stays the first.
      patch_dropout: Share of the tokens that is left out in training, so that N is smaller; "joint" only.
      kept_tokens: Tokens at the beginning that are never left out.
      compute_dtype: Of the blocks' matrix products.
      last_norm: Whether the last normalisation is there.
    """

    def __init__(
        self,
        block: Literal["joint", "factorized_self_attention", "factorized_dot_product"],
        grid: Sequence[int],
        num_layers: int,
        num_heads: int,
        mlp_dim: int,
        position_embedding: PositionKind = "learned_1d",
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        stochastic_depth: float = 0.0,
        attention_order: AttentionOrder = "time_space",
        temporal_init: KernelInit = "xavier",
        shared_over_time: bool = False,
        first_token_only: bool = False,
        registers: int = 0,
        compute_dtype: ComputeDtype = "float32",
        gelu: Gelu = "tanh",
        layer_norm_epsilon: float = LAYER_NORM_EPSILON,
        attention_logit_cap: float | None = None,
        last_norm: bool = True,
        patch_dropout: float = 0.0,
        kept_tokens: int = 0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.block, self.grid, self.first_token_only = block, tuple(grid), first_token_only
        self.registers = registers
        self.positions = PositionEmbedding(position_embedding, grid, name="posembed_input")
        self.patch_dropout = PatchDropout(patch_dropout, kept_tokens)
        self.dropout = shared_dropout(dropout, shared_over_time)
        both = {"dropout": dropout, "attention_dropout": attention_dropout, "compute_dtype": compute_dtype}
        both |= {"gelu": gelu, "layer_norm_epsilon": layer_norm_epsilon, "attention_logit_cap": attention_logit_cap}
        self.blocks = []
        for layer in range(num_layers):
            name = f"encoderblock_{layer}"
            if block == "factorized_self_attention":
                order = {"order": attention_order, "temporal_init": temporal_init}
                self.blocks.append(FactorizedSelfAttentionBlock(num_heads, mlp_dim, **order, **both, name=name))
            else:
                axis = "space" if block == "joint" else "time_and_space"
                rate = stochastic_depth * layer / max(num_layers - 1, 1)
                own = {"axis": axis, "stochastic_depth": rate, "shared_over_time": shared_over_time}
                own["first_token_only"] = first_token_only and layer == num_layers - 1
                self.blocks.append(EncoderBlock(num_heads, mlp_dim, **own, **both, name=name))
        self.norm = LayerNorm(layer_norm_epsilon, name="encoder_norm") if last_norm else None

    def build(self, tokens_shape):
        """Builds the layers, and makes the registers, [1, R, D]."""
        self.positions.build(tokens_shape)
        if self.registers:
            shape, init = (1, self.registers, tokens_shape[-1]), keras.initializers.RandomNormal(stddev=1e-6)
            self.register_tokens = self.add_weight(name="registers", shape=shape, initializer=init)
        frames, rows, columns = self.grid
        separated = (tokens_shape[0], frames, rows * columns, tokens_shape[-1])
        for block in self.blocks:
            block.build(tokens_shape if self.block == "joint" else separated)
        if self.norm:
            self.norm.build(tokens_shape)

    def call(self, tokens, training=False):
        """Returns tokens of the shape given, or with N = 1 for the first token only."""
        return collections.deque(self.stages(tokens, training), maxlen=1).pop()

    def stages(self, tokens, training=False):
        """Yields the tokens that enter each block, as that takes them, and last those that `call` returns."""
        shape = (-1, *tokens.shape[1:])
        tokens = self.patch_dropout(self.positions(tokens), training=training)
        given = tokens.shape[-2]
        tokens = self.dropout(self._with_registers(tokens), training=training)
        if self.block != "joint":
            frames, rows, columns = self.grid
            tokens = ops.reshape(tokens, (-1, frames, rows * columns, shape[-1]))
        for block in self.blocks:
            yield tokens
            if training and recomputes("blocks"):
                tokens = recompute(block, functools.partial(block, training=training), tokens)
            else:
                tokens = block(tokens, training=training)
        tokens = tokens[..., :given, :] if self.registers else tokens
        tokens = self.norm(tokens) if self.norm else tokens
        yield tokens if self.block == "joint" else ops.reshape(tokens, shape)

    def _with_registers(self, tokens):
        if not self.registers:
            return tokens
        shape = (*ops.shape(tokens)[:-2], *self.register_tokens.shape[1:])
        return ops.concatenate([tokens, ops.broadcast_to(self.register_tokens, shape)], axis=-2)

    def compute_output_shape(self, tokens_shape):
        """Keeps Keras from tracing all blocks to find the shape."""
        return (*tokens_shape[:-2], 1 if self.first_token_only else tokens_shape[-2], tokens_shape[-1])
