"""A reader of the msgpack files that Flax writes: nested maps of arrays, and nothing executable.

Every length is compared with the bytes left before anything is allocated, so that a corrupt or hostile file raises
`CorruptFileError`. Arrays are views of the buffer given, not copies.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np

MAX_DEPTH = 64
CHUNKED = "__msgpack_chunked_array__"

# Flax's extension types (flax/serialization.py).
ARRAY, SCALAR = 1, 3
DTYPES = {
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    **{name: np.dtype(name) for name in ("float16", "float32", "float64", "bool")},
    **{f"{sign}int{bits}": np.dtype(f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32, 64)},
}


class CorruptFileError(ValueError):
    """A file that does not follow its format."""


def unpack(data: bytes | memoryview) -> Any:
    """Decodes one msgpack value that fills `data`: None, bool, int, float, str, bytes, list, dict or numpy array.

    Raises:
      CorruptFileError: Where the bytes end early, go on too long, nest too deep, or hold a type that Flax never writes.
    """
    reader = _Reader(memoryview(data))
    value = reader.value(depth=0)
    if reader.position != len(reader.data):
        raise CorruptFileError(f"{len(reader.data) - reader.position} bytes too many after the msgpack value")
    return value


class _Reader:
    """A position in a buffer."""

    def __init__(self, data: memoryview):
        self.data, self.position = data, 0

    def take(self, count: int) -> memoryview:
        """The next `count` bytes."""
        end = self.position + count
        if end > len(self.data):
            left = len(self.data) - self.position
            raise CorruptFileError(f"msgpack data ends early: {count} bytes wanted at {self.position}, {left} left")
        taken, self.position = self.data[self.position : end], end
        return taken

    def number(self, layout: str) -> Any:
        """The next big-endian number of a `struct` layout."""
        return struct.unpack(f">{layout}", self.take(struct.calcsize(f">{layout}")))[0]

    def value(self, depth: int) -> Any:
        """The next value."""
        if depth > MAX_DEPTH:
            raise CorruptFileError(f"msgpack data nests deeper than {MAX_DEPTH}")
        head = self.number("B")
        if head < 0x80:
            return head
        if head >= 0xE0:
            return head - 0x100
        if head < 0x90:
            return self.map(head & 0x0F, depth)
        if head < 0xA0:
            return self.array(head & 0x0F, depth)
        if head < 0xC0:
            return self.text(head & 0x1F)
        if head not in READERS:
            raise CorruptFileError(f"msgpack type 0x{head:02x} at byte {self.position - 1} is not one that Flax writes")
        return READERS[head](self, depth)

    def array(self, count: int, depth: int) -> list:
        """A list of `count` values."""
        return [self.value(depth + 1) for _ in range(self.checked(count, 1))]

    def map(self, count: int, depth: int) -> Any:
        """A dict of `count` values by text; an array where it is one that Flax cut in chunks."""
        result = {}
        for _ in range(self.checked(count, 2)):
            key = self.value(depth + 1)
            if not isinstance(key, str | int):
                raise CorruptFileError(f"msgpack map key of type {type(key).__name__}, wanted text")
            result[str(key)] = self.value(depth + 1)
        return _join_chunks(result) if CHUNKED in result else result

    def text(self, size: int) -> str:
        """UTF-8 text of `size` bytes."""
        try:
            return str(self.take(size), "utf-8")
        except UnicodeDecodeError as error:
            raise CorruptFileError(f"msgpack text is not UTF-8: {error}") from error

    def extension(self, size: int) -> Any:
        """An extension value of `size` bytes."""
        code, payload = self.number("b"), self.take(size)
        if code not in (ARRAY, SCALAR):
            raise CorruptFileError(f"msgpack extension {code} is not one of Flax's")
        fields = unpack(payload)
        if not isinstance(fields, list) or [type(field) for field in fields] != [list, str, memoryview]:
            raise CorruptFileError("msgpack array wants shape, dtype and bytes")
        array = _as_array(*fields)
        return array if code == ARRAY else array[()]

    def checked(self, count: int, smallest: int) -> int:
        """Returns `count` if that many values of at least `smallest` bytes can follow."""
        if count * smallest > len(self.data) - self.position:
            raise CorruptFileError(
                f"msgpack container of {count} values, with {len(self.data) - self.position} bytes left"
            )
        return count


def _number(layout: str) -> Callable:
    return lambda reader, depth: reader.number(layout)


def _sized(method: Callable, layout: str, *, nested: bool = False) -> Callable:
    """A reader of a value whose size comes first; `nested` where it holds further values."""
    if nested:
        return lambda reader, depth: method(reader, reader.number(layout), depth)
    return lambda reader, depth: method(reader, reader.number(layout))


READERS: dict[int, Callable[[_Reader, int], Any]] = {
    0xC0: lambda reader, depth: None,
    0xC2: lambda reader, depth: False,
    0xC3: lambda reader, depth: True,
    **{0xC4 + i: _sized(_Reader.take, layout) for i, layout in enumerate("BHI")},
    **{0xC7 + i: _sized(_Reader.extension, layout) for i, layout in enumerate("BHI")},
    **{0xCA + i: _number(layout) for i, layout in enumerate("fdBHIQbhiq")},
    **{0xD4 + i: lambda reader, depth, size=2**i: reader.extension(size) for i in range(5)},
    **{0xD9 + i: _sized(_Reader.text, layout) for i, layout in enumerate("BHI")},
    **{0xDC + i: _sized(_Reader.array, layout, nested=True) for i, layout in enumerate("HI")},
    **{0xDE + i: _sized(_Reader.map, layout, nested=True) for i, layout in enumerate("HI")},
}


def _as_array(shape: list, dtype: str, data: memoryview) -> np.ndarray:
    if dtype not in DTYPES:
        raise CorruptFileError(f"array of dtype {dtype!r}, allowed are {', '.join(DTYPES)}")
    if not all(isinstance(side, int) and side >= 0 for side in shape):
        raise CorruptFileError(f"array of shape {shape}")
    if math.prod(shape) * DTYPES[dtype].itemsize != len(data):
        raise CorruptFileError(f"array {dtype} of shape {shape} in {len(data)} bytes")
    return np.frombuffer(data, DTYPES[dtype]).reshape(shape)


def _join_chunks(chunked: dict) -> np.ndarray:
    try:
        shape = [chunked["shape"][str(i)] for i in range(len(chunked["shape"]))]
        chunks = [chunked["chunks"][str(i)] for i in range(len(chunked["chunks"]))]
        return np.concatenate(chunks).reshape(shape)
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptFileError(f"array in chunks that do not fit together: {error}") from error
