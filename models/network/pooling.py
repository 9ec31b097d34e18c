"""What the ViViT family's head sees of an encoder's tokens: one of them, their mean, or an attention over them."""

from __future__ import annotations

from typing import Literal

import keras
import numpy as np
from keras import initializers, ops

from models.network.attention import HeadProjection, attention_weights, register
from models.network.layers import LAYER_NORM_EPSILON, LayerNorm

Classifier = Literal["token", "gap", "gmp", "gsp", "0", "token_and_mean", "attention_pooler", "attentive"]

FIRST_TOKEN = ("token", "0")
CLASS_TOKEN = ("token", "token_and_mean")
POOLS = {"gap": ops.mean, "gmp": ops.max, "gsp": ops.sum}
# Those that see all tokens alike.
OF_ALL_TOKENS = (*POOLS, "attention_pooler", "attentive")


@register
class TokenPool(keras.layers.Layer):
    """Pools tokens [..., N, D] to [..., D].

    Args:
      classifier: "token" or "0" takes the first; "gap", "gmp", "gsp" mean, maximum, sum; "token_and_mean" the first and
        the mean of the others, [..., 2 * D]; "concat" all of them, [..., N * D].
    """

    def __init__(self, classifier: Classifier | Literal["concat"], **kwargs):
        super().__init__(**kwargs)
        self.classifier = classifier

    def call(self, tokens):
        """Returns [..., D], or wider."""
        if self.classifier in POOLS:
            return POOLS[self.classifier](tokens, axis=-2)
        if self.classifier == "token_and_mean":
            return ops.concatenate([tokens[..., 0, :], ops.mean(tokens[..., 1:, :], axis=-2)], axis=-1)
        if self.classifier == "concat":
            return ops.reshape(tokens, (-1, *tokens.shape[1:-2], tokens.shape[-2] * tokens.shape[-1]))
        return tokens[..., 0, :]


@register
class AttentionPooler(keras.layers.Layer):
    """Pools tokens [B, N, D] to [B, D]: one learned token attends to them, and a normalisation follows.

    VideoPrism's (Zhao et al., ICML 2024; `AttenTokenPoolingLayer` of google-deepmind/videoprism), whose scale of each
    dimension of a query is part of the kernel here. There is no residual connection, and no MLP.

    Args:
      num_heads: Heads of attention.
      inner: Width of all heads together.
      layer_norm_epsilon: As in `ViViTConfig`.
    """

    def __init__(self, num_heads: int, inner: int, layer_norm_epsilon: float = LAYER_NORM_EPSILON, **kwargs):
        super().__init__(**kwargs)
        self.num_heads, self.inner = num_heads, inner
        self.norm = LayerNorm(layer_norm_epsilon, name="LayerNorm_0", dtype="float32")

    def build(self, tokens_shape):
        """Makes the token that attends, [1, 1, D], its projections, and the normalisation."""
        width, own = tokens_shape[-1], {"inner": self.inner, "dtype": self.dtype_policy}
        init = initializers.LecunNormal()
        self.probe = self.add_weight(name="probe", shape=(1, 1, width), initializer=init)
        self.query, self.key, self.value = (
            HeadProjection(self.num_heads, width, outwards=False, name=name, **own)
            for name in ("query", "key", "value")
        )
        self.out = HeadProjection(self.num_heads, width, outwards=True, name="out", **own)
        for layer in (self.query, self.key, self.value, self.out):
            layer.build(tokens_shape)
        self.norm.build((None, width))

    def call(self, tokens):
        """Returns features float32 [B, D]."""
        value = ops.swapaxes(self.value(tokens), 1, 2)
        attended = ops.matmul(ops.cast(self._weights(tokens), value.dtype), value)
        return self.norm(ops.cast(self.out(ops.swapaxes(attended, 1, 2))[:, 0], "float32"))

    def shares(self, tokens):
        """The mean over heads of the attention weights, float32 [B, N]."""
        return ops.mean(self._weights(tokens), axis=(1, 2))

    def _weights(self, tokens):
        """Weights float32 [B, heads, 1, N]."""
        query, key = self.query(ops.cast(self.probe, tokens.dtype)), self.key(tokens)
        return attention_weights(*(ops.swapaxes(x, 1, 2) for x in (query, key)))


@register
class AttentivePool(keras.layers.Layer):
    """Pools tokens [B, T * N, D], time first, to [B, heads * (D + T)]: what each head attends to, and when that was.

    One learned query attends with several heads, as in attentive probes (V-JEPA, Bardes et al. 2024). Head h weighs a
    token x of frame t by the softmax over all tokens of x · u_h + p_h[t]. Of one query, only its product with the key
    kernel counts, and that is u_h (Psomas et al., ICLR 2026); a value kernel would be one with that of the linear head,
    which follows.

    The position is of time alone, for keys p and for values the frames' shares in the weights: tokens of frames that
    were encoded by themselves do not know their time, while the order of two events tells actions apart. The encoder
    has told a token its place in the frame.

    At first, each head looks at its own part of the time: the features are those parts' means, nearly.

    Args:
      num_heads: Heads of attention.
      frames: T.
    """

    def __init__(self, num_heads: int, frames: int, **kwargs):
        super().__init__(**kwargs)
        self.num_heads, self.frames = num_heads, frames

    def build(self, tokens_shape):
        """Makes the query as the keys see it, [heads, D], and the position of keys, [heads, T]."""
        width = tokens_shape[-1]
        init = initializers.RandomNormal(stddev=width**-0.5)
        self.query = self.add_weight(name="query", shape=(self.num_heads, width), initializer=init)
        position = initializers.Constant(parts_of_time(self.num_heads, self.frames))
        self.position = self.add_weight(name="position", shape=(self.num_heads, self.frames), initializer=position)

    def call(self, tokens):
        """Returns features [B, heads * (D + T)]: of each head the tokens' mean, and the frames' shares in it."""
        weights = self._weights(tokens)
        pooled, times = ops.matmul(weights, tokens), ops.sum(self._by_frame(weights), axis=-1)
        features = ops.concatenate([pooled, times], axis=-1)
        return ops.reshape(features, (-1, self.num_heads * (tokens.shape[-1] + self.frames)))

    def shares(self, tokens):
        """The mean over heads of the attention weights, float32 [B, T * N]."""
        return ops.mean(self._weights(tokens), axis=1)

    def _weights(self, tokens):
        """Weights [B, heads, T * N]."""
        scores = self._by_frame(ops.matmul(self.query, ops.swapaxes(tokens, 1, 2))) + self.position[..., None]
        return ops.softmax(ops.reshape(scores, (-1, self.num_heads, tokens.shape[1])))

    def _by_frame(self, values):
        """[B, heads, T * N] to [B, heads, T, N]."""
        return ops.reshape(values, (-1, self.num_heads, self.frames, values.shape[-1] // self.frames))


def parts_of_time(heads: int, frames: int) -> np.ndarray:
    """Minus the squared distance of each frame to the middle of each head's part of the time: float32 [heads, T].

    The unit is the length of a part, so that a neighbouring part has the weight exp(-1).
    """
    frame, part = (np.arange(frames) + 0.5) * heads / frames, np.arange(heads) + 0.5
    return -np.square(frame - part[:, None]).astype(np.float32)


@register
class FlattenTokens(keras.layers.Layer):
    """[B, T, N, D] to [B, T * N, D], time first."""

    def call(self, tokens):
        """Returns [B, T * N, D]."""
        return ops.reshape(tokens, (-1, tokens.shape[1] * tokens.shape[2], tokens.shape[3]))


@register
class SwapTimeAndSpace(keras.layers.Layer):
    """[B, T, N, D] to [B, N, T, D], or back."""

    def call(self, tokens):
        """Returns [B, N, T, D]."""
        return ops.swapaxes(tokens, 1, 2)
