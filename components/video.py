"""Decodes one segment of one video to JPEG frames.

Contract: frames are chosen by timestamp, never by count or header; what is stored is what a player shows, upright and
with square pixels; and whatever is wrong with a file becomes a `VideoError` that says so in words.
"""

from __future__ import annotations

import dataclasses
import io
import itertools
import re
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

import av
import numpy as np
import tensorflow as tf
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from PIL import Image


@dataclasses.dataclass(frozen=True)
class IngestConfig:
    """How videos are stored as frames.

    Attributes:
      fps: Frames per second that are stored, whatever the rate of the video.
      short_side: Pixels of the shorter side of the stored frames; the aspect ratio is kept.
      jpeg_quality: JPEG quality of the stored frames, 1 to 100.
      max_bad_fraction: The run stops if more than this share of the clips of a data set cannot be decoded.
      shard_mb: About as many megabytes of frames are stored in one file. An estimate, made before anything is decoded.
    """

    fps: float = 25.0
    short_side: int = 256
    jpeg_quality: int = 95
    max_bad_fraction: float = 0.01
    shard_mb: int = 150

    def __post_init__(self):
        limits = {
            "fps": (0.1, 1000),
            "short_side": (8, 4096),
            "jpeg_quality": (1, 100),
            "max_bad_fraction": (0, 1),
            "shard_mb": (1, 10_000),
        }
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


# Formats with an index of keyframes. Others seek to anywhere, so they are read from their beginning.
_INDEXED_FORMATS = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"}
# Containers round timestamps to the tick of their clock. A clock coarser than this one counts frames, and is exact.
_MOST_ROUNDING = Fraction(1, 1000)
# More than this share of a video must be missing at its end for it to count as cut off: containers round.
_CUT_OFF = Fraction(1, 10)


class _Timed(NamedTuple):
    time: Fraction  # seconds from the first frame
    rounding: Fraction  # of the container's clock, seconds
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
      VideoError: If the file cannot be opened, or decoded, or has no frame in the segment; if its frames end before
        the segment does and well before the time that its container tells; or if its picture changes its shape.
    """
    step = 1 / Fraction(config.fps).limit_denominator(1001)
    frames: list[bytes] = []
    size = (0, 0)
    encoded_for, jpeg = None, b""
    # One per clip: without, each frame sets up a scaler and its threads, which costs 50 times the scaling.
    reformatter = VideoReformatter()
    for shown in _frames_on_grid(path, _exact(start), None if end is None else _exact(end), step):
        # A slow video shows one frame at several times of the grid: it is encoded once.
        if shown is not encoded_for:
            pixels = _upright(shown, config.short_side, reformatter)
            if frames and size != pixels.shape[:2]:
                shapes = " to ".join(f"{width}x{height}" for height, width in (size, pixels.shape[:2]))
                raise VideoError(path, "decode", f"its picture changes its shape midway, from {shapes}")
            size, encoded_for, jpeg = pixels.shape[:2], shown, _encode(pixels, config.jpeg_quality)
        frames.append(jpeg)
    if not frames:
        raise VideoError(
            path, "segment", f"no frame between {start:g} s and {'its end' if end is None else f'{end:g} s'}"
        )
    return StoredClip(tuple(frames), size, float(1 / step), start)


def _exact(seconds: float) -> Fraction:
    """The time that a float stands for: 0.4 s is 2/5, though its nearest binary fraction is a little more."""
    return Fraction(seconds).limit_denominator(1_000_000)


def _frames_on_grid(path: str, start: Fraction, end: Fraction | None, step: Fraction) -> Iterator[_Timed]:
    """Yields the frame shown at start, start + step, … before `end` or the end of the video."""
    time, shown, duration = start, None, Fraction(0)
    for following in _timed_frames(path, start):
        # A frame due within the rounding is shown already.
        while time + following.rounding < following.time and (end is None or time < end):
            yield shown or following
            time += step
        if end is not None and time >= end:
            return
        since_shown = following.time - shown.time if shown else following.rounding
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
            # The cover of a song is a video stream, too.
            streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
            if not streams:
                raise VideoError(path, stage, "it has no video stream")
            stream = streams[0]
            stream.codec_context.thread_count = 1
            aspect = stream.sample_aspect_ratio or Fraction(1)
            stage, tick, ends = "decode", stream.time_base, Fraction(0)
            origin, frames = _from_keyframe(container, stream, start)
            for frame in frames:
                # Raw streams have no timestamps: each frame starts where the one before it ends.
                now = ends if frame.pts is None else (frame.pts - origin) * tick
                ends = now + (frame.duration or 0) * tick
                yield _Timed(now, min(tick, _MOST_ROUNDING), aspect, frame)
            told = _told_length(stream)
            if ends < told * (1 - _CUT_OFF):
                raise VideoError(path, stage, f"it is cut off: it ends at {float(ends):.1f} s of {float(told):.1f} s")
    except (av.error.FFmpegError, tf.errors.OpError, OSError) as error:
        reason = getattr(error, "strerror", None) or getattr(error, "message", None) or str(error)
        raise VideoError(path, stage, f"cannot {stage} it: {reason}") from error


def _from_keyframe(
    container: av.container.InputContainer, stream: av.VideoStream, start: Fraction
) -> tuple[int | None, Iterator[VideoFrame]]:
    """The first timestamp of a video, and its frames from a keyframe at or before `start` on.

    Times count from the first frame, which is not always where the container says that the stream starts.
    """
    frames = container.decode(stream)
    first = next(frames, None)
    if first is None:
        return None, frames
    if start == 0 or first.pts is None or container.format.name not in _INDEXED_FORMATS:
        return first.pts, itertools.chain([first], frames)
    # Fragmented files may land on a keyframe that is decoded before `start` but shown after it.
    for target in (first.pts + int(start / stream.time_base), first.pts):
        container.seek(target, stream=stream, backward=True)
        frames = container.decode(stream)
        landed = next(frames, None)
        if landed is not None and landed.pts <= target:
            break
    return first.pts, itertools.chain([landed] if landed else [], frames)


def _told_length(stream: av.VideoStream) -> Fraction:
    """Seconds that the container says the video lasts; 0 where it says nothing."""
    if stream.duration:
        return stream.duration * stream.time_base
    # Matroska and WebM tell the time at which a track ends in a tag.
    tag = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", stream.metadata.get("DURATION", ""))
    if not tag:
        return Fraction(0)
    hours, minutes, seconds = map(Fraction, tag.groups())
    return hours * 3600 + minutes * 60 + seconds - (stream.start_time or 0) * stream.time_base


def _upright(shown: _Timed, short_side: int, reformatter: VideoReformatter) -> np.ndarray:
    """Resizes to `short_side` with square pixels and applies the rotation; uint8 [H, W, 3]."""
    frame = shown.frame
    width, height = float(frame.width * shown.aspect), float(frame.height)
    scale = short_side / min(width, height)
    resized = reformatter.reformat(
        frame,
        format="rgb24",
        width=max(short_side, round(width * scale)),
        height=max(short_side, round(height * scale)),
        interpolation=Interpolation.AREA if scale < 1 else Interpolation.BICUBIC,
        threads=1,
    )
    return np.ascontiguousarray(np.rot90(resized.to_ndarray(), round(frame.rotation / 90)))


def _encode(pixels: np.ndarray, quality: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
