"""Which frames and views of a video a network sees; pure functions of the number of frames, before any is decoded.

Contract: offsets and indices of "dense" clips are the reference's, in training and in evaluation (spec §4.3, §4.5).
Where a video is shorter than a dense clip, it starts again; "segments" take a frame several times.
"""

from __future__ import annotations

import dataclasses
from typing import Literal, get_args

import tensorflow as tf

Sampling = Literal["dense", "segments"]


@dataclasses.dataclass(frozen=True)
class ClipConfig:
    """Which frames and pixels of a video make one clip.

    Attributes:
      num_frames: Frames of a clip, T.
      stride: Stored frames from one sampled frame to the next; "dense" only.
      min_resize: Short side after the resize, in pixels; at least `crop_size`.
      crop_size: Side S of the square crop, in pixels.
      sampling: "dense" takes neighbouring frames, `stride` apart, from a part of the video; "segments" one frame of
        each of T equal parts of the whole video (TSN, Wang et al., ECCV 2016), drawn in training, and at the same
        place of all in a view.
    """

    num_frames: int = 32
    stride: int = 2
    min_resize: int = 256
    crop_size: int = 224
    sampling: Sampling = "dense"

    def __post_init__(self):
        for field in ("num_frames", "stride", "min_resize", "crop_size"):
            if getattr(self, field) < 1:
                raise ValueError(f"ClipConfig.{field} must be 1 or more, got {getattr(self, field)}.")
        if self.sampling not in get_args(Sampling):
            raise ValueError(f"ClipConfig.sampling must be one of {get_args(Sampling)}, got {self.sampling!r}.")
        if self.min_resize < self.crop_size:
            raise ValueError(
                f"ClipConfig.min_resize must be at least crop_size ({self.crop_size}), got {self.min_resize}."
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """(T, H, W) of a clip."""
        return self.num_frames, self.crop_size, self.crop_size


@dataclasses.dataclass(frozen=True)
class ViewsConfig:
    """The views of one video: `temporal` clips x `spatial` crops (1: centre; 3: along the longer side).

    At most `per_step` of them are in the network at a time, so that memory does not grow with their number.
    """

    temporal: int = 4
    spatial: int = 3
    per_step: int = 4

    def __post_init__(self):
        if self.temporal < 1:
            raise ValueError(f"ViewsConfig.temporal must be 1 or more, got {self.temporal}.")
        if self.per_step < 1:
            raise ValueError(f"ViewsConfig.per_step must be 1 or more, got {self.per_step}.")
        if self.spatial not in (1, 3):
            raise ValueError(f"ViewsConfig.spatial must be 1 or 3, got {self.spatial}.")

    def __str__(self) -> str:
        return f"{self.temporal}x{self.spatial}"

    @property
    def count(self) -> int:
        """Number of views, V."""
        return self.temporal * self.spatial


CENTRE_VIEW = ViewsConfig(temporal=1, spatial=1)


def train_offsets(n: tf.Tensor, clip: ClipConfig) -> tf.Tensor:
    """Number of first frames that a training clip may have among n stored frames: int32 scalar, 1 or more."""
    return tf.maximum(n - (clip.num_frames - 1) * clip.stride, 1)


def looped_indices(offset: tf.Tensor, n: tf.Tensor, clip: ClipConfig) -> tf.Tensor:
    """T frame indices from `offset` on; past the last of the n frames the video starts again (DMVR: no padding).

    Args:
      offset: int32, any shape [...]; first frame.
      n: int32 scalar, number of stored frames.
      clip: Length and stride.

    Returns:
      int32 [..., T] in 0..n-1.

    Raises:
      tf.errors.InvalidArgumentError: the video has no frames.
    """
    n = _positive(n)
    return (tf.convert_to_tensor(offset)[..., tf.newaxis] + tf.range(clip.num_frames) * clip.stride) % n


def segment_indices(within: tf.Tensor, n: tf.Tensor) -> tf.Tensor:
    """The frame at a place, in [0, 1), of each of T equal parts of a video: int32 [..., T] of float32 [..., T].

    Raises:
      tf.errors.InvalidArgumentError: the video has no frames.
    """
    n, parts = _positive(n), within.shape[-1]
    places = (tf.range(parts, dtype=tf.float32) + within) * (tf.cast(n, tf.float32) / parts)
    # Rounding could reach the end of the last part.
    return tf.minimum(tf.cast(places, tf.int32), n - 1)


def _positive(n: tf.Tensor) -> tf.Tensor:
    n = tf.convert_to_tensor(n)
    with tf.control_dependencies([tf.debugging.assert_positive(n, "A clip must have at least one frame.")]):
        return tf.identity(n)


def train_indices(n: tf.Tensor, clip: ClipConfig, seed: tf.Tensor) -> tf.Tensor:
    """Indices of a training clip, int32 [T], where it is drawn. `seed` is int32 [2]."""
    if clip.sampling == "segments":
        return segment_indices(tf.random.stateless_uniform([clip.num_frames], seed), n)
    offset = tf.random.stateless_uniform([], seed, 0, train_offsets(n, clip), tf.int32)
    return looped_indices(offset, n, clip)


def view_indices(n: tf.Tensor, clip: ClipConfig, temporal: int) -> tf.Tensor:
    """Indices of the `temporal` clips that an evaluation sees, int32 [temporal, T]: evenly spread, or the middle one.

    With segments, view v of V is at (v + 0.5) / V of each. Of dense clips, short videos loop, and the offsets are
    spaced in float32, as in the reference (DMVR `sample_linspace_sequence`), so that rounding falls on the same side.
    """
    if clip.sampling == "segments":
        within = (tf.range(temporal, dtype=tf.float32) + 0.5) / temporal
        return segment_indices(tf.repeat(within[:, tf.newaxis], clip.num_frames, axis=1), n)
    room = tf.maximum(n - clip.num_frames * clip.stride, 0)
    if temporal == 1:
        return looped_indices(room[tf.newaxis] // 2, n, clip)
    # As tf.linspace computes them, in a tenth of its operations: each view that is served has them.
    first = tf.cast(room, tf.float32) / (temporal - 1) * tf.range(temporal - 1, dtype=tf.float32)
    return looped_indices(tf.concat([tf.cast(first, tf.int32), room[tf.newaxis]], axis=0), n, clip)
