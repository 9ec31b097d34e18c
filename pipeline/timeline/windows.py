"""The windows of a video: overlapping clips from its beginning to its end, each frame decoded and resized at most once.

Contract: the pixels of a window are bit for bit those of the centre view that `views` makes of its frames, and memory
does not grow with the length of the video.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from components.media.config import DecodeConfig
from models.clips import images
from models.clips.sampling import ClipConfig, view_indices
from pipeline import settings
from schemas.serving import ModelCard


class WindowError(ValueError):
    """The windows that were asked for cannot be made, or the model does not say which to make."""


class Window(NamedTuple):
    """One window: its first frame, and its clip, uint8 [T, S, S, 3]."""

    start: int
    clip: np.ndarray


@dataclasses.dataclass(frozen=True)
class WindowConfig:
    """How windows lie over the stored frames.

    Attributes:
      clip: What the model sees of a window.
      fps: Stored frames per second.
      frames: Stored frames that a window spans.
      hop: Stored frames from the start of one window to that of the next.
    """

    clip: ClipConfig
    fps: float
    frames: int
    hop: int

    def __post_init__(self):
        if not 1 <= self.hop <= self.frames:
            seconds = f"--hop {self.hop / self.fps:g} s with --window {self.frames / self.fps:g} s"
            raise WindowError(f"{seconds}: a hop is a frame or more, and no longer than a window")

    @property
    def seconds(self) -> float:
        """Length of a window, seconds."""
        return self.frames / self.fps

    @functools.cached_property
    def every(self) -> int:
        """Windows show only frames whose place in the video is a multiple of it, but for a video that has only one."""
        return math.gcd(self.hop, *_indices(self.frames, self.clip))

    @property
    def hop_seconds(self) -> float:
        """Seconds from one window to the next."""
        return self.hop / self.fps


def window_config(card: ModelCard, window: float | None = None, hop: float | None = None) -> WindowConfig:
    """The windows for a model; by default as long as its training clips, each overlapping the next by half.

    Args:
      card: The model's.
      window, hop: Seconds, rounded to whole stored frames.

    Raises:
      WindowError: If the card states no clip, a window cannot be as asked for, or the model samples whole clips, whose
        length it does not state, and `window` is None.
    """
    stated: Mapping[str, Any] = card.config.get("clip") or card.config.get("weights", {}).get("clip", {})
    if not stated:
        raise WindowError("the model's card states no clip: an older release exported it, export it again")
    clip, fps = settings.build(ClipConfig, stated, "clip."), float(card.ingest.get("fps", DecodeConfig.fps))
    if window is None and clip.sampling == "segments":
        raise WindowError("the model samples frames of whole clips: give --window, the usual length of one in seconds")
    frames = clip.num_frames * clip.stride if window is None else round(window * fps)
    return WindowConfig(clip, fps, frames, max(1, frames // 2) if hop is None else round(hop * fps))


def windows(parts: Iterable[Sequence[bytes]], config: WindowConfig) -> Iterator[Window]:
    """The windows of a video.

    A window begins every hop, as long as it ends within the video; a last one ends where the video does, or less than
    `config.every` frames before. A video that is shorter than a window is one window, which repeats it as training
    does.

    Args:
      parts: JPEG frames of the video, part after part; those that no window shows may be empty.
      config: How windows lie.
    """
    decode, frames, start = _decoder(config.clip), _Frames(), 0
    for part in parts:
        frames.jpegs.extend(part)
        starts = []
        while start + config.frames <= frames.end:
            starts.append(start)
            start += config.hop
        yield from _windows(starts, config.frames, frames, config.clip, decode)
        # The last window of all may begin right behind the last one until now.
        frames.forget(start - config.hop)
    last = max(0, frames.end - config.frames) // config.every * config.every
    if frames.end and (start == 0 or last > start - config.hop):
        yield from _windows([last], min(config.frames, frames.end), frames, config.clip, decode)


class _Frames:
    """The frames that windows may still need: JPEG, and decoded where a window had them. `end` is behind the last."""

    def __init__(self):
        self.jpegs: list[bytes] = []
        self.pixels: dict[int, np.ndarray] = {}
        self._first = 0

    @property
    def end(self) -> int:
        return self._first + len(self.jpegs)

    def decode(self, wanted: Iterable[int], decode) -> None:
        missing = sorted(set(wanted) - self.pixels.keys())
        if missing:
            decoded = decode(tf.constant([self.jpegs[index - self._first] for index in missing])).numpy()
            # Copies: a view of one frame would keep all of them.
            self.pixels.update((index, pixels.copy()) for index, pixels in zip(missing, decoded, strict=True))

    def forget(self, before: int) -> None:
        before = max(before, self._first)
        self.pixels = {index: pixels for index, pixels in self.pixels.items() if index >= before}
        del self.jpegs[: before - self._first]
        self._first = before


def _windows(starts: Sequence[int], length: int, frames: _Frames, clip: ClipConfig, decode) -> Iterator[Window]:
    indices = _indices(length, clip)
    frames.decode({start + index for start in starts for index in indices}, decode)
    for start in starts:
        yield Window(start, np.stack([frames.pixels[start + index] for index in indices]))


def _indices(length: int, clip: ClipConfig) -> list[int]:
    """Which of so many frames the centre view shows."""
    return view_indices(tf.constant(length), clip, 1)[0].numpy().tolist()


def _decoder(clip: ClipConfig) -> tf.types.experimental.GenericFunction:
    """JPEG bytes, string [n], to the centre of each frame, uint8 [n, S, S, 3], as `images.make_views` crops it."""
    size = clip.crop_size

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def decode(jpegs):
        # The GPU's resize rounds differently.
        with tf.device("CPU:0"):
            return images.resize_smallest(
                jpegs, clip.min_resize, lambda frame: images.central_crop(frame[tf.newaxis], size)[0], (size, size, 3)
            )

    return decode
