"""Clips that can be read one by one: what is known of each before it is read, and the bytes of any of them.

Contract: nothing but the indexes is read to make a `Source`, to count its clips, classes and groups, or to part it; a
clip is read when its number is asked for, alone, and its checksums are checked. The order is the caller's.
"""

from __future__ import annotations

import collections
import dataclasses
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import google_crc32c
import numpy as np
import tensorflow as tf

from schemas import features
from schemas.clip_index import FOOTER_BYTES, HEADER_BYTES, ClipIndex

# Bytes of clips that are read and not yet decoded: enough to hide the answering time of a bucket.
_READ_AHEAD_BYTES = 64 * 2**20
_FEWEST_READS, _MOST_READS = 2, 16


class DamagedClipError(ValueError):
    """Where a clip should be, there is no whole record; the message names the shard and the byte."""


class Places(NamedTuple):
    """Where clips are: [N] each, but for the files."""

    file: np.ndarray
    offset: np.ndarray
    length: np.ndarray
    shards: tuple[str, ...]
    compressed: np.ndarray


@dataclasses.dataclass(frozen=True)
class Source:
    """Clips in a fixed order, by number.

    Attributes:
      places: Where each is.
      parse: From a serialised clip (string scalar) to its stored frames, string [n] or uint8 [n, h, w, 3], and
        {"id": string scalar, "group": string scalar, the source video's name}, and "labels" where `labels_of` has none.
      group_of: The group of each clip, N names.
      labels_of: Class ids, int32 [N], by head.
    """

    places: Places
    parse: Callable[[tf.Tensor], tuple[tf.Tensor, dict]]
    group_of: Sequence[str]
    labels_of: Mapping[str, np.ndarray]

    def __post_init__(self):
        if not self.places.shards:
            raise ValueError("a Source needs at least one file, got none: is the split empty?")

    @property
    def count(self) -> int:
        """Number of clips."""
        return len(self.places.file)

    @property
    def files(self) -> tuple[str, ...]:
        """The files of clips."""
        return self.places.shards

    def only(self, groups: Sequence[str], *, inside: bool) -> Source:
        """The clips of some groups, or of all others."""
        named = set(groups)
        return self.part(np.array([(group in named) == inside for group in self.group_of], bool))

    def part(self, chosen: np.ndarray) -> Source:
        """The clips where `chosen`, bool [N], is true."""
        places = self.places._replace(
            file=self.places.file[chosen], offset=self.places.offset[chosen], length=self.places.length[chosen]
        )
        groups = [group for group, is_chosen in zip(self.group_of, chosen, strict=True) if is_chosen]
        labels = {head: ids[chosen] for head, ids in self.labels_of.items()}
        return dataclasses.replace(self, places=places, group_of=groups, labels_of=labels)

    def groups(self) -> list[str]:
        """The group of each clip."""
        return list(self.group_of)

    def count_labels(self) -> dict[str, dict[int, int]]:
        """Number of clips by class id, for each head; each head's values sum to the clips; {} where there is none."""
        counts = {head: collections.Counter(ids.tolist()) for head, ids in self.labels_of.items()}
        return {head: dict(sorted(count.items())) for head, count in counts.items() if count}

    def records(self, numbers: tf.data.Dataset | None = None) -> tf.data.Dataset:
        """Serialised clips (string scalars) with their numbers, (int64, string), of `numbers`, int64, or of all."""
        files, compressed = tf.constant(self.places.shards), tf.constant(self.places.compressed)
        file, offset, length = (tf.constant(values, tf.int64) for values in self.places[:3])

        def read(number):
            of_file = file[number]
            arguments = [files[of_file], compressed[of_file], offset[number], length[number]]
            serialised = tf.numpy_function(_read_record, arguments, tf.string, stateful=False)
            return number, tf.ensure_shape(serialised, [])

        if numbers is None:
            numbers = tf.data.Dataset.range(self.count)
        return numbers.map(read, num_parallel_calls=self._reads_at_once(), deterministic=True)

    def element(self, number: tf.Tensor, serialised: tf.Tensor) -> tuple[tf.Tensor, dict]:
        """Frames as of `parse`, and {"id", "group", "labels": {head: int32 scalar}}."""
        frames, texts = self.parse(serialised)
        labels = {head: tf.constant(ids, tf.int32)[number] for head, ids in self.labels_of.items()}
        return frames, {"labels": labels} | texts

    def _reads_at_once(self) -> int:
        mean = int(self.places.length.mean()) if self.count else 1
        return min(max(_READ_AHEAD_BYTES // max(mean, 1), _FEWEST_READS), _MOST_READS)


def indexed_source(indexes: Sequence[ClipIndex], heads: Sequence[str], parse: Callable) -> Source:
    """The clips of shards with indexes, shard after shard; labels are class ids."""
    counts = [len(index.offsets) for index in indexes]
    places = Places(
        file=np.repeat(np.arange(len(indexes)), counts),
        offset=np.concatenate([np.array(index.offsets, np.int64) for index in indexes] or [[]]),
        length=np.concatenate([np.array(index.lengths, np.int64) for index in indexes] or [[]]),
        shards=tuple(index.shard for index in indexes),
        compressed=np.array([index.compression == features.COMPRESSION for index in indexes], bool),
    )
    # An index of no clip has no heads.
    labels = {
        head: np.array([label for index in indexes if index.offsets for label in index.labels[head]], np.int32)
        for head in heads
    }
    return Source(places, parse, [group for index in indexes for group in index.groups], labels)


def _read_record(shard: bytes, compressed: bool, offset: int, length: int) -> bytes:
    path = shard.decode()
    # GFile reads half a megabyte at a time, whatever is asked for.
    with tf.io.gfile.GFile(path, "rb") if "://" in path else open(path, "rb", buffering=0) as file:
        file.seek(int(offset))
        data = file.read(int(length))
    place = f"of {path} at byte {offset}: it is cut off, or was changed after its index was written"
    try:
        data = zlib.decompressobj(wbits=-zlib.MAX_WBITS).decompress(data) if compressed else data
        return _payload(data)
    except (zlib.error, struct.error, ValueError) as error:
        raise DamagedClipError(f"no whole clip {place} ({error})") from error


def _payload(framed: bytes) -> bytes:
    """The record in a frame of TFRecord."""
    length, of_length = struct.unpack_from("<QI", framed)
    record = framed[HEADER_BYTES : HEADER_BYTES + length]
    (of_record,) = struct.unpack_from("<I", framed, HEADER_BYTES + len(record))
    if len(framed) != HEADER_BYTES + length + FOOTER_BYTES or of_length != _masked_crc(framed[:8]):
        raise ValueError("no record starts there")
    if of_record != _masked_crc(record):
        raise ValueError("its checksum differs")
    return record


def _masked_crc(data: bytes) -> int:
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
