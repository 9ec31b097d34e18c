"""Where a network looked: attention rollout (Abnar and Zuidema 2020, section 3), back from the head to the tubelets.

A token after an attention is half the token before it, by the residual connection, and half the tokens that it attended
to, by the mean A of the heads' weights: (A + I) / 2. The MLP mixes no tokens. The rollout is the product of these
matrices over the layers. One row of it is wanted, the share of each token in what the head reads: a row of shares goes
backwards through the layers, and no two matrices are multiplied. A class token is the same for every clip; its share is
left out, and so are registers.
"""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from models.network.attention import Attention
from models.network.embeddings import ClassToken, TubeletEmbedding
from models.network.encoder import Encoder
from models.network.layers import EncoderBlock, FactorizedSelfAttentionBlock, LayerNorm
from models.network.pooling import (
    FIRST_TOKEN,
    AttentionPooler,
    AttentivePool,
    FlattenTokens,
    SwapTimeAndSpace,
    TokenPool,
)


def can_roll_out(model: keras.Model) -> bool:
    """Whether a model is a network of `build_vivit`, of any variant, or has its layers below another head."""
    return bool(_body(model))


def attention_rollout(model: keras.Model, clips: tf.Tensor) -> tf.Tensor:
    """How much each tubelet contributed to what the head reads, by attention rollout.

    Starts at the class token or first token where the classifier reads that, at a learned query's weights, else at
    all tokens alike, which for "gmp" is an approximation. In model 2 the shares of the frames, by the temporal encoder,
    go on into the tokens of each frame. Model 3's two attentions of a block follow each other, each with its own
    residual connection; model 4's heads over time and over space are one mean.

    The attention weights are computed once more, one layer at a time, from the tokens that enter it. One clip of
    ViViT-B/16x2 model 1 (3,137 tokens, 12 layers and heads) peaks at 0.84 GB in float32 on CPU; its forward pass at
    0.74 GB.

    Args:
      model: A network for which `can_roll_out`.
      clips: float32 [B, T, H, W, 3] in [-1, 1].

    Returns:
      float32 [B, t, h, w] over the tubelets, 0 or more; each clip's sum is 1.
    """
    tokens, walked = clips, []
    for layer in _body(model):
        stages = layer.stages(tokens) if isinstance(layer, Encoder) else (tokens, layer(tokens))
        *inputs, tokens = stages
        walked.append((layer, inputs))
    shares = ops.ones(ops.shape(clips)[:1])
    for layer, inputs in reversed(walked):
        shares = _BACKWARDS[type(layer)](layer, shares, inputs)
    # Uniform where all that was read is class tokens.
    shares = shares + np.finfo(np.float32).tiny
    return shares / ops.sum(shares, axis=(1, 2, 3), keepdims=True)


def _body(model):
    """The layers from the clip to the features that the head reads, a chain; none if one of them is not ours."""
    layers = model.layers[1:]
    pools = (AttentionPooler, AttentivePool, TokenPool)
    ends = [position for position, layer in enumerate(layers, start=1) if isinstance(layer, pools)]
    body = layers[: max(ends, default=0)]
    return body if all(type(layer) in _BACKWARDS for layer in body) else []


def _into_pool(pool, shares, inputs):
    """[...] to [..., N]."""
    length = inputs[0].shape[-2]
    row = np.full(length, 1 / length)
    if pool.classifier in FIRST_TOKEN:
        row = np.eye(1, length)[0]
    elif pool.classifier == "token_and_mean":
        row = np.concatenate([[0.5], np.full(length - 1, 0.5 / (length - 1))])
    return shares[..., None] * ops.cast(row, shares.dtype)


def _into_pooler(pooler, shares, inputs):
    """[B] to [B, N]."""
    return shares[:, None] * pooler.shares(inputs[0])


def _into_swapped(layer, shares, inputs):
    """[B, N, T] to [B, T, N], or back."""
    return ops.swapaxes(shares, 1, 2)


def _into_encoder(encoder, shares, inputs):
    """[B, N] to the same, or to [B, T, N] where the blocks separate time and space; [B, T, N] to the same."""
    if encoder.block != "joint":
        shares = ops.reshape(shares, (-1, *inputs[0].shape[1:-1]))
    elif encoder.registers and not encoder.first_token_only:
        shares = ops.pad(shares, [*[(0, 0)] * (len(shares.shape) - 1), (0, encoder.registers)])
    for block, tokens in zip(reversed(encoder.blocks), reversed(inputs), strict=True):
        shares = _into_block(block, shares, tokens)
    return shares[..., : -encoder.registers] if encoder.registers else shares


def _into_block(block: EncoderBlock | FactorizedSelfAttentionBlock, shares, tokens):
    if isinstance(block, EncoderBlock):
        return _into_attention(block.attention, block.attention_norm, shares, tokens)
    first, second = block.order
    between = block.attend(first, tokens)
    shares = _into_attention(block.attentions[second], block.norms[second], shares, between)
    return _into_attention(block.attentions[first], block.norms[first], shares, tokens)


def _into_attention(attention: Attention, norm: LayerNorm, shares, tokens):
    # TensorFlow would compute the weights of all layers at once, and hold them until their turn comes.
    with tf.control_dependencies([shares]):
        tokens = tf.identity(tokens)
    attended = attention.spread(shares, norm(tokens))
    # Where only the first token comes out, the others have no share of the residual connection.
    missing = attended.shape[-1] - shares.shape[-1]
    kept = ops.pad(shares, [*[(0, 0)] * (len(shares.shape) - 1), (0, missing)])
    return (kept + attended) / 2


def _into_class_token(layer, shares, inputs):
    """[..., N + 1] to [..., N]."""
    return shares[..., 1:]


def _into_flatten(layer, shares, inputs):
    """[B, T * N] to [B, T, N]."""
    return ops.reshape(shares, (-1, *inputs[0].shape[1:-1]))


def _into_embedding(embedding, shares, inputs):
    """[B, t, h * w] to [B, t, h, w]."""
    rows, columns = (size // side for size, side in zip(inputs[0].shape[2:4], embedding.tubelet[1:], strict=True))
    return ops.reshape(shares, (-1, shares.shape[1], rows, columns))


# Each takes a layer, the shares of what comes out of it, and its inputs; returns the shares of what goes in.
_BACKWARDS = {
    TokenPool: _into_pool,
    AttentionPooler: _into_pooler,
    AttentivePool: _into_pooler,
    SwapTimeAndSpace: _into_swapped,
    Encoder: _into_encoder,
    ClassToken: _into_class_token,
    FlattenTokens: _into_flatten,
    TubeletEmbedding: _into_embedding,
}
