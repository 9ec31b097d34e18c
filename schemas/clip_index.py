"""The index of a shard: where each of its clips stands, and what of it is needed before it is read.

An index is a file of its own, gzip of JSON. One per shard stands beside the examples of an ingest (`index_path`), with
class names; Transform's examples are nothing but indexes, with class ids, of shards of the ingest or of its own.
"""

from __future__ import annotations

import dataclasses
import gzip
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import tensorflow as tf

# Of a record of a TFRecord file: its length and a checksum come before it, a checksum after it.
HEADER_BYTES, FOOTER_BYTES = 12, 4
_ENDING = ".json.gz"


@dataclasses.dataclass(frozen=True)
class ClipIndex:
    """The clips of one shard, in its order.

    Attributes:
      shard: Path of the file of records: any URI, or relative to the examples that the index stands beside.
      compression: "GZIP" for a shard of `components.ingest.shard_file`, "" for an uncompressed TFRecord file.
      offsets, lengths: Where the record of each clip stands, its framing included, in bytes of the shard.
      groups: Source video of each clip.
      labels: Class name, or class id, of each clip, by head.
    """

    shard: str
    compression: str
    offsets: Sequence[int]
    lengths: Sequence[int]
    groups: Sequence[str]
    labels: Mapping[str, Sequence[str | int]]

    def write(self, path: str) -> None:
        """Writes it (any URI); the same index gives the same bytes."""
        data = json.dumps(dataclasses.asdict(self), ensure_ascii=False, separators=(",", ":"))
        tf.io.gfile.makedirs(os.path.dirname(path))
        with tf.io.gfile.GFile(path, "wb") as file:
            file.write(gzip.compress(data.encode(), mtime=0))

    @classmethod
    def read(cls, path: str) -> ClipIndex:
        """The index in a file (any URI).

        Raises:
          ValueError: If the file is no index.
        """
        with tf.io.gfile.GFile(path, "rb") as file:
            data = file.read()
        try:
            return cls(**json.loads(gzip.decompress(data)))
        except (OSError, TypeError, ValueError, EOFError) as error:
            raise ValueError(f"{path} is no index of clips: run the pipeline's Transform again ({error})") from error


class IndexedClip(NamedTuple):
    """A clip for `write_indexed`: its record, its source video, and its class name or id by head."""

    record: bytes
    group: str
    labels: Mapping[str, str | int]


def index_path(shard: str) -> str:
    """Path of the index of a shard of an ingest, ``<examples>/Split-<split>/<name>``; TFX reads nothing there."""
    folder, name = os.path.split(shard)
    examples, split = os.path.split(folder)
    return os.path.join(examples, "index", split, index_name(name))


def index_name(shard: str) -> str:
    """Name of the index of the shard with this name."""
    return shard.removesuffix(".gz") + _ENDING


def write_indexed(shard: str, index: str, clips: Iterable[IndexedClip]) -> None:
    """Writes clips to an uncompressed TFRecord file, and their index (any URIs)."""
    offset, offsets, lengths, groups = 0, [], [], []
    labels: dict[str, list[str | int]] = {}
    tf.io.gfile.makedirs(os.path.dirname(shard))
    with tf.io.TFRecordWriter(shard) as writer:
        for clip in clips:
            writer.write(clip.record)
            offsets.append(offset)
            lengths.append(HEADER_BYTES + len(clip.record) + FOOTER_BYTES)
            offset += lengths[-1]
            groups.append(clip.group)
            for head, label in clip.labels.items():
                labels.setdefault(head, []).append(label)
    ClipIndex(shard, "", offsets, lengths, groups, labels).write(index)
