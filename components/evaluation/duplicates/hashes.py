"""Clips of two splits that show nearly the same, such as copies that were re-encoded, rescaled or slightly cut.

Contract: a clip is hashed by its picture on average, and by what moves in a few of its frames; near duplicates agree in
both. So neither clips of one fixed camera, which share the first, nor those of one kind of motion are mistaken for
copies. A clip without texture (black, plain) has no near duplicates.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image
from scipy.fft import dctn

# Frames of a clip that are looked at; they are evenly spaced.
FRAMES = 6
# Bits out of 64 that may differ, in the mean picture, and in the motion on average over the frames.
MOST_BITS = 7.0
# The hash of what has no texture.
FLAT = 0

_BITS = 64
# Pictures are reduced to this many grey pixels a side.
_SIDE = 32
# Root mean square of the texture, in grey levels of 0 to 255, under which a mean picture, or a motion, is flat. Noise
# and compression move a still clip by 0.2.
_FLAT_PICTURE, _FLAT_MOTION = 2.0, 0.5
# Clips that are compared at a time.
_BLOCK, _SEARCHED_BLOCK = 512, 8192
# (row, column) of the 64 lowest frequencies that are not 0, diagonal by diagonal.
_ROWS, _COLUMNS = np.array(
    sorted(((row, column) for row in range(_SIDE) for column in range(_SIDE)), key=lambda at: (sum(at), at))[
        1 : _BITS + 1
    ]
).T


def clip_hash(frames: Sequence[bytes]) -> np.ndarray:
    """Hashes a clip: the signs of the 64 lowest frequencies (DCT-II, without the mean) of small grey pictures.

    Args:
      frames: JPEG bytes, in time order.

    Returns:
      uint64 [1 + FRAMES]: of the mean of FRAMES evenly spaced pictures, then of each less that mean. `FLAT` where
      there is hardly any texture, or motion.

    Raises:
      ValueError: If there is no frame.
    """
    if not len(frames):
        raise ValueError("a clip without frames has no hash")
    middles = ((np.arange(FRAMES) + 0.5) / FRAMES * len(frames)).astype(int).tolist()
    pictures = {index: _grey(frames[index]) for index in sorted(set(middles))}
    stack = np.stack([pictures[index] for index in middles])
    mean = stack.mean(axis=0)
    spectrum = dctn(np.concatenate([mean[np.newaxis], stack - mean]), axes=(1, 2), norm="ortho")
    lowest = spectrum[:, _ROWS, _COLUMNS]
    texture = np.sqrt((lowest**2).sum(axis=1)) / _SIDE
    hashes = np.ascontiguousarray(np.packbits(lowest > 0, axis=1)).view("<u8")[:, 0].astype(np.uint64)
    return np.where(texture < [_FLAT_PICTURE, *[_FLAT_MOTION] * FRAMES], np.uint64(FLAT), hashes)


def near_duplicates(hashes: np.ndarray, of: np.ndarray) -> np.ndarray:
    """For each clip, the one of another set that it is most like, if that is nearly the same; -1 where none is.

    Compares all pairs, as products of matrices of signs: the time does not depend on what the clips show (an index by
    parts of the hash is slow where many are alike), and memory is that of one block.

    Args:
      hashes: From `clip_hash`, uint64 [M, 1 + FRAMES].
      of: The clips that are searched, uint64 [N, 1 + FRAMES].

    Returns:
      int64 [M]: index into `of`, or -1.
    """
    best = np.full(len(hashes), -np.inf, np.float32)
    nearest = np.full(len(hashes), -1, np.int64)
    for first in range(0, len(of), _SEARCHED_BLOCK):
        their_picture, their_motion = _signs(of[first : first + _SEARCHED_BLOCK])
        for start in range(0, len(hashes), _BLOCK):
            part = slice(start, start + _BLOCK)
            picture, motion = _signs(hashes[part])
            alike = motion @ their_motion.T
            alike /= FRAMES
            np.minimum(alike, picture @ their_picture.T, out=alike)
            closest = alike.argmax(axis=1)
            value = alike[np.arange(len(alike)), closest]
            nearer = value > best[part]
            best[part] = np.where(nearer, value, best[part])
            nearest[part] = np.where(nearer, first + closest, nearest[part])
    # Signs of which d differ have the product 64 - 2 d.
    return np.where(best >= _BITS - 2 * MOST_BITS, nearest, -1)


def _grey(jpeg: bytes) -> np.ndarray:
    """A picture of 0 to 255, float32 [_SIDE, _SIDE]; a plain one where it cannot be read, as records may have them."""
    try:
        with Image.open(io.BytesIO(jpeg)) as image:
            # The decoder itself reduces it, to no less than this: an eighth of the side in a fraction of the time.
            image.draft("L", (_SIDE, _SIDE))
            return np.asarray(image.convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX), np.float32)
    except OSError:
        return np.zeros((_SIDE, _SIDE), np.float32)


def _signs(hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The bits of n clips as -1 and 1, of their pictures, float32 [n, 64], and their motions, float32 [n, FRAMES * 65].

    Where it is flat, the signs are 0. Two flat motions agree, as still clips of one scene do: the last of their 65
    values makes a product of 64. Two flat pictures do not.
    """
    bits = np.unpackbits(np.ascontiguousarray(hashes, "<u8")[..., np.newaxis].view(np.uint8), axis=-1)
    flat = (hashes == FLAT)[..., np.newaxis]
    signs = np.where(flat, 0, 2 * bits.astype(np.float32) - 1)
    motion = np.concatenate([signs, flat * np.sqrt(_BITS)], axis=-1)[:, 1:]
    return np.ascontiguousarray(signs[:, 0], np.float32), motion.reshape(len(hashes), -1).astype(np.float32)
