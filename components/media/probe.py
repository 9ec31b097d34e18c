"""What a video file reports about itself. A description for people: the decoder does not rely on it."""

from __future__ import annotations

import dataclasses

import av

from components.media.frames import open_container, shown_stream
from components.media.orientation import Orientation, orientation


@dataclasses.dataclass(frozen=True)
class Probe:
    """What the header of a video reports; None where it reports nothing.

    Attributes:
      codec: FFmpeg's name of the codec, such as h264.
      width, height: Pixels as stored, before any rotation.
      fps: Frames per second, on average.
      duration: Seconds.
      rotation: Degrees by which a player turns the picture clockwise, before it mirrors it where it does; None if no
        frame can be decoded.
    """

    codec: str | None = None
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    duration: float | None = None
    rotation: int | None = None


def probe(path: str, max_pixels: int) -> Probe:
    """Describes a local video; what cannot be read, or is larger than `max_pixels`, is None."""
    found, limits = Probe(), {"max_pixels": str(max_pixels)}
    try:
        with open_container(path, limits) as container:
            stream = shown_stream(container)
            if stream is None or stream.codec_context is None:
                return found
            found = Probe(
                codec=stream.codec.canonical_name,
                width=stream.codec_context.width or None,
                height=stream.codec_context.height or None,
                fps=float(stream.average_rate) if stream.average_rate else None,
                duration=_duration(container, stream),
            )
            stream.codec_context.options = limits
            stream.codec_context.thread_count = 1
            frame = next(container.decode(stream), None)
            if frame is None:
                return found
            return dataclasses.replace(found, rotation=(orientation(frame) or Orientation()).rotation)
    except (av.error.FFmpegError, OSError):
        return found


def _duration(container: av.container.InputContainer, stream: av.VideoStream) -> float | None:
    if stream.duration:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration else None
