"""The file of a shard: TFRecords in gzip that compresses nothing, of which each record can be read alone.

Contract: it is what any reader of gzip TFRecords reads, its bytes depend on its records only, and a record begins a
block of its own (RFC 1951, section 3.2.4), so that its place is all it takes to read it.
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

import tensorflow as tf

from components.storage.record_files import RecordError, framed, unframed

# No flags, name or time, and no system: the same everywhere.
_HEAD = b"\x1f\x8b\x08" + bytes(6) + b"\xff"
_LAST_BLOCK = b"\x01\x00\x00\xff\xff"
_BLOCK, _TAIL = struct.Struct("<BHH"), struct.Struct("<II")
_BLOCK_BYTES = 65_535


class Place(NamedTuple):
    """Where a record stands in a shard, in bytes of the file."""

    offset: int
    length: int


class ShardWriter:
    """Writes a shard (any URI); whole once it is left without an error."""

    def __init__(self, path: str):
        self._file = tf.io.gfile.GFile(path, "wb")
        self._offset, self._checksum, self._size = 0, 0, 0

    def __enter__(self) -> ShardWriter:
        self._put(_HEAD)
        return self

    def __exit__(self, error_type: type[BaseException] | None, *_: object) -> None:
        if error_type is None:
            self._put(_LAST_BLOCK + _TAIL.pack(self._checksum, self._size % 2**32))
        self._file.close()

    def write(self, record: bytes) -> Place:
        """Adds a record; returns its place."""
        data, begin = framed(record), self._offset
        self._checksum, self._size = zlib.crc32(data, self._checksum), self._size + len(data)
        for start in range(0, len(data), _BLOCK_BYTES):
            block = data[start : start + _BLOCK_BYTES]
            self._put(_BLOCK.pack(0, len(block), len(block) ^ 0xFFFF) + block)
        return Place(begin, self._offset - begin)

    def _put(self, data: bytes) -> None:
        self._file.write(data)
        self._offset += len(data)


def read_place(path: str, place: Place) -> bytes:
    """The record at a place of a shard.

    Raises:
      RecordError: If there is no whole record.
      OpError: If the file cannot be read.
    """
    with tf.io.gfile.GFile(path, "rb") as file:
        file.seek(place.offset)
        blocks = file.read(place.length)
    try:
        return unframed(zlib.decompressobj(wbits=-zlib.MAX_WBITS).decompress(blocks), place.offset)
    except zlib.error as error:
        raise RecordError(place.offset, f"no record starts at byte {place.offset}: {error}") from error


def fingerprint(path: str) -> str:
    """Checksum and length of all records, with which a shard ends.

    Raises:
      OpError: If it cannot be read.
    """
    with tf.io.gfile.GFile(path, "rb") as file:
        file.seek(max(0, file.size() - _TAIL.size))
        return file.read(_TAIL.size).hex()
