"""What a ViViT's tokens are made of: tubelets, class token and positions.

Weights are named as in the reference implementation (google-research/scenic).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import keras
import numpy as np
from keras import initializers, ops

from models.network.attention import register

PositionKind = Literal["learned_1d", "sinusoidal_1d", "sinusoidal_3d", "none"]
TubeletInit = Literal["lecun_normal", "central_frame", "average_frame", "central_column"]

MAX_TIMESCALE = 1e4


@register
class TubeletInitializer(initializers.Initializer):
    """LeCun normal for the kernel [t, h, w, C, D] of a tubelet embedding, shaped over time.

    Args:
      kind: "lecun_normal" as drawn; "central_frame" zero but for frame t // 2; "average_frame" the first frame in every
        frame; "central_column" zero but for column w = t // 2, which is what the reference's
        central_frame_initializer computes.
    """

    def __init__(self, kind: TubeletInit):
        self.kind = kind

    def __call__(self, shape, dtype=None):
        """Draws a kernel of `shape`."""
        kernel = initializers.LecunNormal()(shape, dtype=dtype)
        middle = shape[0] // 2
        if self.kind == "average_frame":
            return ops.broadcast_to(kernel[:1], shape)
        if self.kind == "central_frame":
            return kernel * ops.reshape(ops.one_hot(middle, shape[0], dtype=dtype), (-1, 1, 1, 1, 1))
        if self.kind == "central_column":
            return kernel * ops.reshape(ops.one_hot(middle, shape[2], dtype=dtype), (-1, 1, 1))
        return kernel

    def get_config(self):
        """Returns the constructor's argument."""
        return {"kind": self.kind}


def sampled_frames(num_frames: int, count: int) -> np.ndarray:
    """Indices int32 of the frames that uniform frame sampling keeps (paper section 3.2, scenic's video_utils).

    `count` frames, evenly spaced and away from both ends, rounded half to even; all `num_frames` where there are no
    more than `count`. By the reference's float32 arithmetic there can be one more than `count`.
    """
    if count >= num_frames:
        return np.arange(num_frames, dtype=np.int32)
    step = num_frames / (count + 1)
    positions = np.arange(step, num_frames, step, dtype=np.float32)
    return np.minimum(np.round(positions).astype(np.int32), num_frames - 1)


@register
class TubeletEmbedding(keras.layers.Layer):
    """Embeds non-overlapping tubelets: a convolution whose stride is its kernel (paper section 3.2).

    Takes a clip [B, T, H, W, C] and returns tokens [B, T/t, H/h * W/w, D] in row-major order; the remainder of a side
    that the tubelet does not divide is dropped. As the tubelets do not overlap, the convolution is one matrix product.

    Args:
      tubelet: (t, h, w) in frames and pixels.
      width: Width D of a token.
      frames: Where not None, uniform frame sampling: keep that many frames of the clip, and embed each with a 2-D
        kernel; t is then 1.
      kernel_init: How a fresh kernel is drawn, see `TubeletInitializer`.
    """

    def __init__(
        self,
        tubelet: Sequence[int],
        width: int,
        frames: int | None = None,
        kernel_init: TubeletInit = "lecun_normal",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.tubelet, self.width, self.frames = tuple(tubelet), width, frames
        self.kernel_init = kernel_init

    def build(self, clip_shape):
        """Makes the kernel, [t, h, w, C, D] or [h, w, C, D] with frame sampling, and the bias [D]."""
        size = self.tubelet if self.frames is None else self.tubelet[1:]
        init = TubeletInitializer(self.kernel_init) if self.frames is None else "lecun_normal"
        self.kernel = self.add_weight(name="kernel", shape=(*size, clip_shape[-1], self.width), initializer=init)
        self.bias = self.add_weight(name="bias", shape=(self.width,), initializer="zeros")

    def call(self, clip):
        """Returns tokens [B, T/t, H/h * W/w, D]."""
        if self.frames is not None:
            clip = ops.take(clip, sampled_frames(clip.shape[1], self.frames), axis=1)
        channels = clip.shape[-1]
        (t, h, w), (nt, nh, nw) = self.tubelet, [n // s for n, s in zip(clip.shape[1:4], self.tubelet, strict=True)]
        clip = clip[:, : nt * t, : nh * h, : nw * w]
        # Six axes: TensorFlow Lite transposes no more.
        tubelets = ops.reshape(clip, (-1, t, nh, h, nw, w * channels))
        tubelets = ops.transpose(tubelets, (0, 2, 4, 1, 3, 5))
        tubelets = ops.reshape(tubelets, (-1, t * h * w * channels))
        tokens = ops.matmul(tubelets, ops.reshape(self.kernel, (-1, self.width))) + self.bias
        return ops.reshape(tokens, (-1, nt, nh * nw, self.width))


@register
class ClassToken(keras.layers.Layer):
    """Prepends one learned token: [..., N, D] becomes [..., N + 1, D]."""

    def build(self, tokens_shape):
        """Makes the token, [1, 1, D], zeros at first."""
        self.token = self.add_weight(name="token", shape=(1, 1, tokens_shape[-1]), initializer="zeros")

    def call(self, tokens):
        """Returns tokens [..., N + 1, D], the class token first."""
        shape = (*ops.shape(tokens)[:-2], 1, tokens.shape[-1])
        return ops.concatenate([ops.broadcast_to(ops.cast(self.token, tokens.dtype), shape), tokens], axis=-2)


def sinusoidal_1d(length: int, width: int) -> np.ndarray:
    """Interleaved sines and cosines of the position, float32 [length, width]."""
    frequencies = np.exp(np.arange(0, width, 2) * -(np.log(MAX_TIMESCALE) / width))
    angles = np.arange(length)[:, None] * frequencies
    table = np.zeros((length, width), np.float32)
    table[:, 0::2] = np.sin(angles)
    table[:, 1::2] = np.cos(angles)[:, : width // 2]
    return table


def sinusoidal_3d(grid: Sequence[int], width: int) -> np.ndarray:
    """Sines and cosines of frame, column and row, a sixth of the width each, float32 [T * H * W, width].

    Raises:
      ValueError: Where the width is not a multiple of 6.
    """
    if width % 6:
        raise ValueError(f"position_embedding: sinusoidal_3d wants a hidden size that 6 divides, given {width}")
    frequencies = MAX_TIMESCALE ** -(np.arange(width // 6) / (width // 6))
    frame, row, column = (axis.reshape(-1, 1) * frequencies for axis in np.indices(grid))
    waves = [wave(position) for position in (frame, column, row) for wave in (np.sin, np.cos)]
    return np.concatenate(waves, axis=1).astype(np.float32)


@register
class PositionEmbedding(keras.layers.Layer):
    """Adds to each token the embedding of its position; the same for all leading axes.

    Args:
      kind: "learned_1d" one learned vector a token, N(0, 0.02) at first; "sinusoidal_1d" and "sinusoidal_3d" fixed
        waves of the index, or of (frame, row, column), in which a class token has its own index, or zeros; "none".
      grid: Tokens in (frames, rows, columns), without the class token.
    """

    def __init__(self, kind: PositionKind, grid: Sequence[int], **kwargs):
        super().__init__(**kwargs)
        self.kind, self.grid = kind, tuple(grid)

    def build(self, tokens_shape):
        """Makes the embedding [1, N, D], a weight where it is learned."""
        length, width = tokens_shape[-2:]
        if self.kind == "learned_1d":
            init = initializers.RandomNormal(stddev=0.02)
            self.table = self.add_weight(name="pos_embedding", shape=(1, length, width), initializer=init)
        elif self.kind == "sinusoidal_1d":
            self.table = sinusoidal_1d(length, width)[None]
        elif self.kind == "sinusoidal_3d":
            waves = sinusoidal_3d(self.grid, width)
            self.table = np.pad(waves, ((length - len(waves), 0), (0, 0)))[None]

    def call(self, tokens):
        """Returns tokens of the shape given."""
        return tokens if self.kind == "none" else tokens + ops.cast(self.table, tokens.dtype)
