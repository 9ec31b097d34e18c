"""Files of records (TFRecord): a record has a path of its own, ``<file>#<byte offset>``, and is read in place.

Contract: only what is requested is read, and anything but a whole record is a `RecordError`.
"""

from __future__ import annotations

import contextlib
import re
import struct
from collections.abc import Iterator
from typing import BinaryIO

import google_crc32c

from components.storage import files

# Offsets have up to 18 digits: more are no offset in any file.
_PATH = re.compile(r"(.+)#(\d{1,18})", re.DOTALL)
# The length of the record and a checksum of it; then the record and its checksum.
_LENGTH, _HEADER, _CHECKSUM = struct.Struct("<Q"), struct.Struct("<QI"), struct.Struct("<I")


class RecordError(ValueError):
    """There is no whole record at `offset`; the message says why."""

    def __init__(self, offset: int, reason: str):
        super().__init__(reason)
        self.offset = offset


def split_path(path: str) -> tuple[str, int | None]:
    """A path as its file, and the record's offset in it; None for the path of a file."""
    match = _PATH.fullmatch(path)
    return (match[1], int(match[2])) if match else (path, None)


def is_record(path: str) -> bool:
    """Whether a path is that of a record."""
    return split_path(path)[1] is not None


def read_record(path: str) -> bytes:
    """The record of a path; both its checksums are checked.

    Raises:
      RecordError: If its file cannot be read, or has no whole record there.
    """
    name, offset = split_path(path)
    with _opened(name, offset) as (file, size):
        data = file.read(_length(file, offset, size))
        (checksum,) = _CHECKSUM.unpack(file.read(_CHECKSUM.size))
    if checksum != _masked_crc(data):
        raise RecordError(offset, f"the record at byte {offset} is damaged: its checksum differs")
    return data


def framed(record: bytes) -> bytes:
    """A record as it stands in a file: its length, itself, and the checksums of both."""
    return b"".join((_header(record), record, _CHECKSUM.pack(_masked_crc(record))))


def unframed(data: bytes, offset: int) -> bytes:
    """The inverse of `framed`.

    Raises:
      RecordError: If it is no whole record; names `offset`.
    """
    record = data[_HEADER.size : -_CHECKSUM.size]
    if not data.startswith(_header(record)) or not data.endswith(_CHECKSUM.pack(_masked_crc(record))):
        raise RecordError(offset, f"the record at byte {offset} is damaged: its checksum differs")
    return record


def _header(record: bytes) -> bytes:
    length = _LENGTH.pack(len(record))
    return length + _CHECKSUM.pack(_masked_crc(length))


def read_heads(name: str, most: int) -> Iterator[tuple[int, bytes]]:
    """Yields the offset and up to `most` first bytes of each record of a file; the rest is skipped.

    Raises:
      RecordError: If the file cannot be read, or, after the records before it, where no whole record follows.
    """
    offset = 0
    with _opened(name, offset) as (file, size):
        while offset < size:
            length = _length(file, offset, size)
            yield offset, file.read(min(length, most))
            offset += _HEADER.size + length + _CHECKSUM.size


@contextlib.contextmanager
def _opened(name: str, offset: int) -> Iterator[tuple[BinaryIO, int]]:
    """A file and its size."""
    try:
        with files.opened(name) as file:
            yield file, files.stat(name).size
    except files.FileError as error:
        if not error.lasting:
            raise
        raise RecordError(offset, f"cannot read it: {error.reason}") from error


def _length(file: BinaryIO, offset: int, size: int) -> int:
    """Length of the record that starts at `offset` of a file of `size` bytes, which is read from there on."""
    cut_off = RecordError(offset, f"the file ends before the record at byte {offset} does")
    if offset + _HEADER.size + _CHECKSUM.size > size:
        raise cut_off
    file.seek(offset)
    length, checksum = _HEADER.unpack(file.read(_HEADER.size))
    if checksum != _masked_crc(_LENGTH.pack(length)):
        raise RecordError(offset, f"no record of an uncompressed TFRecord file starts at byte {offset}")
    if offset + _HEADER.size + length + _CHECKSUM.size > size:
        raise cut_off
    return length


def _masked_crc(data: bytes) -> int:
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
