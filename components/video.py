"""Decodes one segment of one video to JPEG frames.

Contract: frames are chosen by timestamp, never by count or header; what is stored is what a player shows, upright and
with square pixels; and whatever is wrong with a file becomes a `VideoError` that says so in words.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

import av
import numpy as np
import tensorflow as tf
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation
from PIL import Image


@dataclasses.dataclass(frozen=True)
class IngestConfig:
    """How videos are stored as frames.

    Attributes:
      fps: Frames per second that are stored, whatever the rate of the video.
      short_side: Pixels of the shorter side of the stored frames; the aspect ratio is kept.
      jpeg_quality: JPEG quality of the stored frames, 1 to 100.
      max_bad_fraction: The run stops if more than this share of the clips of a data set cannot be decoded.
    """

    fps: float = 25.0
    short_side: int = 256
    jpeg_quality: int = 95
    max_bad_fraction: float = 0.01

    def __post_init__(self):
        limits = {"fps": (0.1, 1000), "short_side": (8, 4096), "jpeg_quality": (1, 100), "max_bad_fraction": (0, 1)}
        for field, (low, high) in limits.items():
            value = getattr(self, field)
            if not low <= value <= high:
                raise ValueError(f"ingest.{field} is {value}; it must be between {low} and {high}")


@dataclasses.dataclass(frozen=True)
class StoredClip:
    """The frames of one clip as they are stored.

    Attributes:
      frames: JPEG bytes of the T frames, in time order.
      size: (height, width) in pixels.
      fps: Stored frames per second.
      start: Start of the clip in its video, seconds.
    """

    frames: tuple[bytes, ...]
    size: tuple[int, int]
    fps: float
    start: float

    @property
    def duration(self) -> float:
        """Length of the clip, in seconds."""
        return len(self.frames) / self.fps


class _Timed(NamedTuple):
    time: Fraction  # seconds from the first frame
    tick: Fraction  # resolution of the container's clock, seconds
    aspect: Fraction  # width over height of a pixel
    frame: VideoFrame


class VideoError(ValueError):
    """A clip cannot be decoded: `stage` (open, decode, segment) and `reason`, in words."""

    def __init__(self, path: str, stage: str, reason: str):
        super().__init__(f"{path}: {reason}")
        self.path, self.stage, self.reason = path, stage, reason


def store_clip(path: str, config: IngestConfig, *, start: float = 0.0, end: float | None = None) -> StoredClip:
    """Decodes ``[start, end)`` of a video at `config.fps` and encodes its frames as JPEG.

    The frame stored for time t is the one that a player shows at t. Variable frame rates need no special care.

    Args:
      path: Any URI that `tf.io.gfile` can read.
      config: Rate, size and quality of the stored frames.
      start: Seconds from the first frame of the video.
      end: Seconds from the first frame; None for the end of the video.

    Raises:
      VideoError: If the file cannot be opened, or decoded, or has no frame in the segment.
    """
    step = 1 / Fraction(config.fps).limit_denominator(1001)
    frames: list[bytes] = []
    size = (0, 0)
    encoded_for, jpeg = None, b""
    for shown in _frames_on_grid(path, Fraction(start), None if end is None else Fraction(end), step):
        # A slow video shows one frame at several times of the grid: it is encoded once.
        if shown is not encoded_for:
            pixels = _upright(shown, config.short_side)
            size, encoded_for, jpeg = pixels.shape[:2], shown, _encode(pixels, config.jpeg_quality)
        frames.append(jpeg)
    if not frames:
        raise VideoError(
            path, "segment", f"no frame between {start:g} s and {'its end' if end is None else f'{end:g} s'}"
        )
    return StoredClip(tuple(frames), size, float(1 / step), start)


def _frames_on_grid(path: str, start: Fraction, end: Fraction | None, step: Fraction) -> Iterator[_Timed]:
    """Yields the frame shown at start, start + step, … before `end` or the end of the video."""
    time, shown, duration = start, None, Fraction(0)
    for following in _timed_frames(path, start):
        # Containers round timestamps to their tick: a frame due within one tick is shown already.
        while time + following.tick < following.time and (end is None or time < end):
            yield shown or following
            time += step
        if end is not None and time >= end:
            return
        since_shown = following.time - shown.time if shown else following.tick
        duration = (following.frame.duration or 0) * following.frame.time_base or since_shown
        shown = following
    if shown is None:
        return
    stop = shown.time + duration if end is None else min(end, shown.time + duration)
    while time < stop:
        yield shown
        time += step


def _timed_frames(path: str, start: Fraction) -> Iterator[_Timed]:
    """Yields the frames from the keyframe before `start` on."""
    stage = "open"
    try:
        file = tf.io.gfile.GFile(path, "rb") if "://" in path else path
        with av.open(file, metadata_errors="ignore") as container:
            if not container.streams.video:
                raise VideoError(path, stage, "it has no video stream")
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            aspect = stream.sample_aspect_ratio or Fraction(1)
            stage, tick, origin, now = "decode", stream.time_base, stream.start_time, Fraction(0)
            if start > 0:
                container.seek(int(start / tick) + (origin or 0), stream=stream, backward=True)
            for frame in container.decode(stream):
                if frame.pts is None:
                    now += tick
                else:
                    origin = frame.pts if origin is None else origin
                    now = (frame.pts - origin) * tick
                yield _Timed(now, tick, aspect, frame)
    except (av.error.FFmpegError, tf.errors.OpError, OSError) as error:
        reason = getattr(error, "strerror", None) or getattr(error, "message", None) or str(error)
        raise VideoError(path, stage, f"cannot {stage} it: {reason}") from error


def _upright(shown: _Timed, short_side: int) -> np.ndarray:
    """Resizes to `short_side` with square pixels and applies the rotation; uint8 [H, W, 3]."""
    frame = shown.frame
    width, height = float(frame.width * shown.aspect), float(frame.height)
    scale = short_side / min(width, height)
    pixels = frame.to_ndarray(
        format="rgb24",
        width=max(short_side, round(width * scale)),
        height=max(short_side, round(height * scale)),
        interpolation=Interpolation.AREA if scale < 1 else Interpolation.BICUBIC,
    )
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90)))


def _encode(pixels: np.ndarray, quality: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
