"""A clip as a strip of pictures."""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image

_THUMBNAILS = 8
_THUMBNAIL_SIZE = (192, 96)
_GAP = 2


def draw_filmstrip(frames: Sequence[bytes]) -> bytes:
    """Evenly spaced frames (JPEG) side by side, as one JPEG; a repeated frame is drawn once.

    Empty where one cannot be read: ingest takes the frames of a record as they are.
    """
    middles = [(2 * number + 1) * len(frames) // (2 * _THUMBNAILS) for number in range(_THUMBNAILS)]
    try:
        thumbnails = [Image.open(io.BytesIO(jpeg)) for jpeg in dict.fromkeys(frames[index] for index in middles)]
        for thumbnail in thumbnails:
            thumbnail.thumbnail(_THUMBNAIL_SIZE)
    except OSError:
        return b""
    height, tile = thumbnails[0].height, thumbnails[0].width + _GAP
    strip = Image.new("RGB", (tile * len(thumbnails) - _GAP, _THUMBNAIL_SIZE[1]), "grey")
    for number, thumbnail in enumerate(thumbnails):
        strip.paste(thumbnail, (number * tile, (strip.height - height) // 2))
    jpeg = io.BytesIO()
    strip.save(jpeg, "JPEG", quality=75)
    return jpeg.getvalue()
