"""Clips of one split that are nearly the same as clips of another, by perceptual hashes of their stored frames.

A frame's hash has a bit for each low frequency of its grey picture (a DCT: above the median or not), so that another
size, another encoder or a little light changes few bits. Two clips are near duplicates if most of their frames at the
same places agree: a clip that was cut or sampled otherwise still has most of its places.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image
from scipy import fft

# Places of a clip, evenly spread.
FRAMES = 5
_SIDE, _LOW = 32, 8
# Grey levels: a picture with a smaller spread, such as a black one, has no hash.
_FLAT = 4.0
NO_HASH = np.uint64(0)
_MOST_BITS, _FEWEST_FRAMES = 6, 4
_BANDS = 8
_BITS = np.array([bin(value).count("1") for value in range(256)], np.uint8)
_BLOCK = 1 << 22


def clip_hash(frames: Sequence[bytes]) -> np.ndarray:
    """Hashes of `FRAMES` evenly spread frames of a clip, uint64 [F]; `NO_HASH` of a flat picture or an unreadable one.

    Args:
      frames: JPEG bytes, in time order.
    """
    places = [(2 * number + 1) * len(frames) // (2 * FRAMES) for number in range(FRAMES)]
    return np.array([_frame_hash(frames[place]) for place in places], np.uint64)


def _frame_hash(jpeg: bytes) -> np.uint64:
    try:
        image = Image.open(io.BytesIO(jpeg))
        # Decodes an eighth of a large picture, in an eighth of the time.
        image.draft("L", (_SIDE * 2, _SIDE * 2))
        pixels = np.asarray(image.convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX), np.float64)
    except OSError:
        return NO_HASH
    if pixels.std() < _FLAT:
        return NO_HASH
    # The first row and column are left out: they are the light of the picture, not what it shows.
    low = fft.dctn(pixels)[1 : _LOW + 1, 1 : _LOW + 1].ravel()
    return np.packbits(low > np.median(low)).view(np.uint64)[0]


def near_duplicates(hashes: np.ndarray, of: np.ndarray) -> np.ndarray:
    """For each clip, the one of another set that it nearly equals in most frames; -1 where there is none.

    Only pairs of hashes that agree in one byte are compared, which no pair within the limit escapes.

    Args:
      hashes: uint64 [M, F].
      of: The clips that are searched, uint64 [N, F].

    Returns:
      int [M].
    """
    if not len(hashes) or not len(of):
        return np.full(len(hashes), -1)
    places = [_close_pairs(hashes[:, place], of[:, place]) for place in range(hashes.shape[1])]
    pairs, frames = np.unique(np.concatenate(places), return_counts=True)
    pairs = pairs[frames >= _FEWEST_FRAMES]
    found = np.full(len(hashes), -1)
    # Backwards, so that of several the first one stays.
    found[pairs[::-1] // len(of)] = pairs[::-1] % len(of)
    return found


def _close_pairs(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Pairs (row of left * N + row of right) of hashes that differ in few bits, int64, each once."""
    lefts, rights = (np.flatnonzero(side != NO_HASH) for side in (left, right))
    found = [np.zeros(0, np.int64)]
    for band in range(_BANDS):
        left_bytes, right_bytes = (
            np.ascontiguousarray(side[rows]).view(np.uint8).reshape(-1, _BANDS)[:, band]
            for side, rows in ((left, lefts), (right, rights))
        )
        for value in np.unique(left_bytes):
            ours, theirs = lefts[left_bytes == value], rights[right_bytes == value]
            step = max(1, _BLOCK // max(1, len(theirs)))
            for start in range(0, len(ours), step):
                some = ours[start : start + step]
                differing = (
                    (left[some, np.newaxis] ^ right[theirs]).view(np.uint8).reshape(len(some), len(theirs), _BANDS)
                )
                close = np.argwhere(_BITS[differing].sum(axis=2) <= _MOST_BITS)
                found.append(some[close[:, 0]] * np.int64(len(right)) + theirs[close[:, 1]])
    return np.unique(np.concatenate(found))
