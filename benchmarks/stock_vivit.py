"""The same networks in stock Keras layers, written straightforwardly: what `benchmarks.model` measures against.

Weights come in the order of `build_vivit`'s (but for model 4), so that ``set_weights`` makes both agree.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

import keras
from keras import layers, ops

from models.network.pooling import POOLS
from models.network.vivit import SplitHeads, ViViTConfig

gelu = functools.partial(keras.activations.gelu, approximate=True)


class ClassToken(layers.Layer):
    """Prepends a learned token to [B, N, D]."""

    def build(self, shape):
        """Makes the token."""
        self.token = self.add_weight(shape=(1, 1, shape[-1]), initializer="zeros")

    def call(self, tokens):
        """Returns [B, N + 1, D]."""
        shape = (ops.shape(tokens)[0], 1, tokens.shape[-1])
        return ops.concatenate([ops.broadcast_to(self.token, shape), tokens], axis=1)


class Positions(layers.Layer):
    """Adds a learned embedding to [B, N, D]."""

    def build(self, shape):
        """Makes the embedding."""
        self.table = self.add_weight(shape=(1, *shape[1:]), initializer="random_normal")

    def call(self, tokens):
        """Returns [B, N, D]."""
        return tokens + self.table


def build_stock_vivit(
    config: ViViTConfig, *, clip_shape: tuple[int, int, int], heads: Mapping[str, int]
) -> keras.Model:
    """Builds the network of `build_vivit` for learned positions and 3-D tubelets, without dropout of any kind."""
    clip = keras.Input((*clip_shape, 3))
    grid = layers.Conv3D(config.hidden_size, config.tubelet, config.tubelet)(clip)
    _, frames, rows, columns, width = grid.shape
    space = (-1, rows * columns, width)
    if config.variant == "factorized_encoder":
        spatial = _encoder(ops.reshape(grid, space), config, config.num_heads, config.num_layers, config.mlp_dim)
        features = ops.reshape(_pool(spatial, config), (-1, frames, width))
        if config.temporal_layers:
            num_heads = config.temporal_num_heads or config.num_heads
            mlp_dim = config.temporal_mlp_dim or config.mlp_dim
            features = _pool(_encoder(features, config, num_heads, config.temporal_layers, mlp_dim), config)
        else:
            features = ops.mean(features, axis=1)
    else:
        tokens = ops.reshape(grid, (-1, frames * rows * columns, width))
        shape = (frames, rows * columns)
        tokens = _encoder(tokens, config, config.num_heads, config.num_layers, config.mlp_dim, shape)
        features = _pool(tokens, config)
    if config.representation_size is not None:
        features = layers.Dense(config.representation_size, "tanh")(features)
    logits = layers.Dense(sum(heads.values()))(features)
    return keras.Model(clip, SplitHeads(heads)(logits))


def _pool(tokens, config):
    return POOLS[config.classifier](tokens, axis=1) if config.classifier in POOLS else tokens[:, 0]


def _encoder(tokens, config, num_heads, num_layers, mlp_dim, shape=None):
    if config.classifier == "token":
        tokens = ClassToken()(tokens)
    tokens = Positions()(tokens)
    flat = (-1, *tokens.shape[1:])
    factorized = config.variant.startswith("factorized_") and shape is not None
    if factorized:
        tokens = ops.reshape(tokens, (-1, *shape, config.hidden_size))
    for _ in range(num_layers):
        tokens = _block(tokens, config, num_heads, mlp_dim, factorized)
    tokens = layers.LayerNormalization(epsilon=1e-6)(tokens)
    return ops.reshape(tokens, flat) if factorized else tokens


def _block(tokens, config, num_heads, mlp_dim, factorized):
    head_width = config.hidden_size // num_heads
    if not factorized:
        tokens = tokens + _attention(tokens, layers.MultiHeadAttention(num_heads, head_width))
    elif config.variant == "factorized_self_attention":
        for axis in [{"time": 1, "space": 2}[name] for name in config.attention_order.split("_")]:
            attention = layers.MultiHeadAttention(num_heads, head_width, attention_axes=(axis,))
            tokens = tokens + _attention(tokens, attention)
    else:
        halves = [layers.MultiHeadAttention(num_heads // 2, head_width, attention_axes=(axis,)) for axis in (1, 2)]
        normalised = layers.LayerNormalization(epsilon=1e-6)(tokens)
        tokens = tokens + halves[0](normalised, normalised) + halves[1](normalised, normalised)
    hidden = layers.Dense(mlp_dim, gelu)(layers.LayerNormalization(epsilon=1e-6)(tokens))
    return tokens + layers.Dense(config.hidden_size)(hidden)


def _attention(tokens, attention):
    normalised = layers.LayerNormalization(epsilon=1e-6)(tokens)
    return attention(normalised, normalised)
