"""Which way up a player shows a picture: turned by quarters, and mirrored."""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np
from av.video.frame import VideoFrame

_MATRIX = struct.Struct("=5i")


class Orientation(NamedTuple):
    """What a player does to a picture; the defaults show it as it is stored.

    Attributes:
      transposed: Its rows become columns, first of all.
      mirrored: Left becomes right.
      flipped: Top becomes bottom.
    """

    transposed: bool = False
    mirrored: bool = False
    flipped: bool = False

    @property
    def rotation(self) -> int:
        """Degrees clockwise: 0, 90, 180 or 270; a picture that is mirrored, too, is so from left to right, after it."""
        return 90 * self.transposed + 180 * self.flipped

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """The picture as it is shown: [H, W, C] of any type, which becomes [W, H, C] where it is transposed."""
        turned = pixels.swapaxes(0, 1) if self.transposed else pixels
        return np.ascontiguousarray(turned[:: -1 if self.flipped else 1, :: -1 if self.mirrored else 1])


def orientation(frame: VideoFrame) -> Orientation | None:
    """What the display matrix of a frame says, to the nearest quarter turn; None where it has none.

    The matrix shows what is stored at (x, y) at (a x + c y, b x + d y) (ISO/IEC 14496-12, 8.3.2); one that shows a
    picture as a line or a point is ignored, as players do.
    """
    try:
        matrix = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:
        # PyAV fails where other side data that it does not know, such as Exif, is present; it still gives the angle.
        return _TURNS.get(-frame.rotation % 360)
    if matrix is None:
        return None
    a, b, _, c, d = _MATRIX.unpack_from(matrix)
    if a * d == b * c:
        return Orientation()
    if abs(b) + abs(c) > abs(a) + abs(d):
        return Orientation(True, mirrored=c < 0, flipped=b < 0)
    return Orientation(False, mirrored=a < 0, flipped=d < 0)


_TURNS = {
    90: Orientation(transposed=True, mirrored=True),
    180: Orientation(mirrored=True, flipped=True),
    270: Orientation(transposed=True, flipped=True),
}
