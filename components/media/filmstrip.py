"""A clip as a strip of pictures: its frames, and its frames with what a model attended to."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

_THUMBNAILS = 8
_THUMBNAIL_SIZE = (192, 96)
_GAP = 2
# Heat, from where little was attended to up to where most was: vermilion to yellow of Okabe & Ito (2008), which grow
# brighter too, so that they are told apart without their hue.
_LITTLE, _MOST = np.array([213, 94, 0], np.float32), np.array([240, 228, 66], np.float32)
_MOST_OPAQUE = 0.75


def draw_filmstrip(frames: Sequence[bytes]) -> bytes:
    """Evenly spaced frames (JPEG) side by side, as one JPEG; a repeated frame is drawn once.

    Empty where one cannot be read: ingest takes the frames of a record as they are.
    """
    try:
        return _side_by_side([_thumbnail(jpeg) for jpeg in dict.fromkeys(frames[index] for index in _spaced(frames))])
    except OSError:
        return b""


def draw_strip(frames: Sequence[bytes]) -> bytes:
    """All of these frames (JPEG) side by side without a gap, as one JPEG: each is as wide as the others.

    Empty where one cannot be read, or there is none.
    """
    try:
        thumbnails = [_thumbnail(jpeg) for jpeg in frames]
        return _side_by_side(thumbnails, gap=0, height=thumbnails[0].height) if thumbnails else b""
    except OSError:
        return b""


def draw_attention(frames: Sequence[bytes], attention: np.ndarray) -> bytes:
    """The same frames in grey, with heat where a model attended to, as one JPEG.

    Args:
      frames: JPEG, in the order and with the field of view that the model saw.
      attention: How much it attended to each place, float [t, h, w], 0 or more, in any unit; its t steps divide the
        frames evenly. The largest value of the clip is the hottest, so frames can be compared with each other.

    Returns:
      Empty where a frame cannot be read.

    Raises:
      ValueError: If attention has no three dimensions, or a value that is negative or not finite.
    """
    if attention.ndim != 3 or not attention.size or not np.isfinite(attention).all() or attention.min() < 0:
        raise ValueError(f"attention must be 0 or more, [t, h, w]; got shape {attention.shape}")
    heat = attention.astype(np.float32) / (attention.max() or 1)
    try:
        return _side_by_side(
            [_heated(_thumbnail(frames[n]), heat[n * len(heat) // len(frames)]) for n in _spaced(frames)]
        )
    except OSError:
        return b""


def _spaced(frames: Sequence[bytes]) -> list[int]:
    """Indices of the frames that are drawn; each once."""
    middles = ((2 * number + 1) * len(frames) // (2 * _THUMBNAILS) for number in range(_THUMBNAILS))
    return list(dict.fromkeys(middles))


def _thumbnail(jpeg: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(jpeg))
    picture.thumbnail(_THUMBNAIL_SIZE)
    return picture


def _heated(picture: Image.Image, heat: np.ndarray) -> Image.Image:
    """A picture in grey under heat [h, w] of 0 to 1."""
    heat = np.asarray(Image.fromarray(heat).resize(picture.size, Image.Resampling.BILINEAR))[..., np.newaxis]
    grey = np.asarray(picture.convert("L").convert("RGB"), np.float32)
    opaque = _MOST_OPAQUE * heat
    mixed = (1 - opaque) * grey + opaque * ((1 - heat) * _LITTLE + heat * _MOST)
    return Image.fromarray(mixed.round().astype(np.uint8))


def _side_by_side(thumbnails: Sequence[Image.Image], gap: int = _GAP, height: int = _THUMBNAIL_SIZE[1]) -> bytes:
    tile = thumbnails[0].width + gap
    strip = Image.new("RGB", (tile * len(thumbnails) - gap, height), "grey")
    for number, thumbnail in enumerate(thumbnails):
        strip.paste(thumbnail, (number * tile, (height - thumbnails[0].height) // 2))
    jpeg = io.BytesIO()
    strip.save(jpeg, "JPEG", quality=75)
    return jpeg.getvalue()
