"""The settings of decoding: which pixels are stored of a video, and what a video may cost."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, get_args

ShortClips = Literal["keep", "hold", "loop", "drop"]
Part = TypeVar("Part")


def part(config_type: type[Part], config: Any) -> Part:
    """The fields that a config inherits from `config_type`, one of its bases, as a `config_type`."""
    return config_type(**{field.name: getattr(config, field.name) for field in dataclasses.fields(config_type)})


def check_ranges(config: Any, ranges: Mapping[str, tuple[float, float]]) -> None:
    """Raises ValueError if a field of a config is not in its range; names the setting."""
    for field, (low, high) in ranges.items():
        value = getattr(config, field)
        if not low <= value <= high:
            raise ValueError(f"ingest.{field} is {value}; it must be between {low} and {high}")


@dataclasses.dataclass(frozen=True)
class PixelConfig:
    """Which frames and pixels of a clip are stored.

    Attributes:
      fps: Frames per second that are stored, whatever the rate of the video.
      short_side: Pixels of the shorter side of the stored frames; the aspect ratio is kept.
      jpeg_quality: JPEG quality of the stored frames, 1 to 100.
      min_frames: A clip of fewer stored frames is short.
      short_clips: What becomes of a short clip: "keep" stores what there is (training and evaluation repeat it as they
        sample), "hold" repeats its last frame up to `min_frames`, "loop" starts it again, "drop" refuses it.
      max_missing: Most of a segment that may lie beyond the end of its video, as a share; a second always may, as
        publishers round to whole seconds.
    """

    fps: float = 25.0
    short_side: int = 256
    jpeg_quality: int = 95
    min_frames: int = 1
    short_clips: ShortClips = "keep"
    max_missing: float = 0.1

    def __post_init__(self):
        ranges = {"fps": (0.1, 1000), "short_side": (8, 4096), "jpeg_quality": (1, 100), "max_missing": (0, 1)}
        check_ranges(self, ranges)
        if self.short_clips not in get_args(ShortClips):
            allowed = ", ".join(get_args(ShortClips))
            raise ValueError(f"ingest.short_clips is {self.short_clips!r}; it must be one of {allowed}")


@dataclasses.dataclass(frozen=True)
class LimitConfig:
    """What a video may cost, so that a hostile file costs no more than itself.

    Attributes:
      max_frames: Most frames that are stored of one clip.
      max_pixels: Most pixels of a frame, in the video and as stored; the default is 8K (8192x4320).
      max_upscale: Most times that a picture is enlarged to have the short side that is stored.
      max_clip_mb: Most megabytes of the frames that are stored of one clip; an example of TensorFlow holds 2147.
      max_bytes: Largest file.
      max_seconds: Longest wait for one clip, seconds, of a `components.media.decoder.Decoder`.
      max_memory_mb: Most memory of a process that decodes, megabytes. 8K takes up to 1200, beside the clip's own bytes.
    """

    max_frames: int = 30_000
    max_pixels: int = 8192 * 4320
    max_upscale: float = 16.0
    max_clip_mb: int = 2000
    max_bytes: int = 64 << 30
    max_seconds: float = 300.0
    max_memory_mb: int = 4096

    def __post_init__(self):
        ranges = {
            "max_frames": (1, 1_000_000),
            "max_pixels": (64, 1 << 28),
            "max_upscale": (1, 512),
            "max_clip_mb": (1, 2000),
            "max_bytes": (1, 1 << 50),
            "max_seconds": (0.1, 86400),
            "max_memory_mb": (128, 1 << 24),
        }
        check_ranges(self, ranges)


@dataclasses.dataclass(frozen=True)
class DecodeConfig(LimitConfig, PixelConfig):
    """Pixels and limits: all that a decoder needs."""

    def __post_init__(self):
        PixelConfig.__post_init__(self)
        LimitConfig.__post_init__(self)
        check_ranges(self, {"min_frames": (1, self.max_frames)})
