"""Decoded clips outlive the ingest that decoded them: after a kill, a full disk or a change, only the rest is decoded.

Nothing is stored twice. A clip waits in a file of its own until its shard is written; a shard waits here until all
are, then becomes a part of the examples, and an index here says where in them each clip is. Below the folder:

- ``clips/<name>``: the clips of shards that are not complete, one a file
- ``unfinished/<key>.gz``, ``.json``: complete shards of an ingest that is not, each with its index
- ``finished/<key>.json``: indexes of shards that are examples; one whose shard is gone is removed

Contract: what is read here is what decoding would give. A clip is found by everything that its pixels depend on, and
only if the limits allow all that they allowed when it was decoded; whatever is damaged or missing is decoded again. So
is a clip that was lost, by the next ingest: what kills a decoder may pass.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import tensorflow as tf
from google.protobuf.message import DecodeError

from components.ingest.examples import DecodedClip, Record, decoded_clip
from components.ingest.quarantine import Outcome
from components.ingest.shard_file import Place, fingerprint, read_place
from components.manifest.reader import Clip
from components.media.config import DecodeConfig, LimitConfig, PixelConfig, part
from components.storage import folders
from components.storage.code_version import code_version
from components.storage.record_files import RecordError, framed, is_record, unframed
from schemas.clip_index import ClipIndex, index_path

_THREADS = 32
# How the names of files end: of those that are being written, and of the indexes of shards.
_PART, _INDEX = ".part", ".json"
# How the file of a clip that waits begins, by whether the clip is short.
_SHORT = {False: b"\x00", True: b"\x01"}


class Source(NamedTuple):
    """Where a decoded clip is: at a place in a shard, and whether it is short; without a place, in its own file."""

    path: str
    place: Place | None = None
    short: bool = False

    @classmethod
    def from_json(cls, value: Sequence[Any]) -> Source:
        """The inverse of its JSON, a list."""
        path, place, short = value
        return cls(path, Place(*place) if place else None, short)


class Kept:
    """The decoded clips and shards of a workdir."""

    def __init__(self, folder: str, config: DecodeConfig):
        """Reads and makes nothing.

        Args:
          folder: Folder (any URI) that all workers see.
          config: How clips are decoded.
        """
        names = ("clips", "unfinished", "finished")
        self._clips, self._unfinished, self._finished = (os.path.join(folder, name) for name in names)
        self._pixels = dataclasses.asdict(part(PixelConfig, config))
        self._limits = dataclasses.asdict(part(LimitConfig, config))

    def prepare(self) -> None:
        """Makes the folders, and removes what a killed worker has left half written."""
        for folder in (self._clips, self._unfinished, self._finished):
            tf.io.gfile.makedirs(folder)
        for path in _files_in(self._unfinished, _PART) + _files_in(self._finished, _PART):
            tf.io.gfile.remove(path)

    def new_file(self) -> str:
        """Path of a file while it is written."""
        return os.path.join(self._unfinished, f"{uuid.uuid4().hex}{_PART}")

    def key(self, clip: Clip) -> str:
        """Hash of all that the frames of a clip depend on, but the limits."""
        code = code_version("components.media.records" if is_record(clip.path) else "components.media.decoder_child")
        return _hash(clip.path, clip.size, clip.mtime, clip.start, clip.end, self._pixels, code)

    def shard_key(self, clips: Iterable[Clip]) -> str:
        """Hash of all that a shard of clips depends on."""
        code = code_version("components.ingest.shards")
        return _hash([clip.to_json() for clip in clips], self._pixels, self._limits, code)

    def waiting(self, clip: Clip) -> Source:
        """Where a clip waits for its shard; doubles of a clip wait apart."""
        return Source(os.path.join(self._clips, _hash(self.key(clip), self._limits, clip.id)))

    def all_waiting(self) -> set[Source]:
        """Where clips wait now."""
        return {*map(Source, _files_in(self._clips))}

    def sources(self) -> dict[str, Source]:
        """The clips of all shards, by their keys."""
        indexes = _files_in(self._finished, _INDEX) + _files_in(self._unfinished, _INDEX)
        with ThreadPoolExecutor(_THREADS) as pool:
            return {key: source for found in pool.map(self._sources_of, indexes) for key, source in found.items()}

    def _sources_of(self, index_path: str) -> dict[str, Source]:
        index = _read_index(index_path)
        if not index or not tf.io.gfile.exists(index["path"]):
            tf.io.gfile.remove(index_path)
            return {}
        shard = index["path"]
        allowed_all = all(self._limits.get(name, 0) >= limit for name, limit in index["limits"].items())
        if not allowed_all or fingerprint(shard) != index["fingerprint"]:
            return {}
        return {key: Source(shard, Place(*place), short) for key, (place, short) in index["clips"].items()}

    def save(self, clip: Clip, record: Record) -> None:
        """Stores a clip until its shard is written."""
        path = self.waiting(clip).path
        with removed_on_error(path), tf.io.gfile.GFile(path, "wb") as file:
            file.write(_SHORT[record.short])
            file.write(framed(record.data))

    def forget(self, clips: Iterable[Clip]) -> None:
        """Removes clips whose shard is written."""
        for clip in clips:
            with contextlib.suppress(tf.errors.NotFoundError):
                tf.io.gfile.remove(self.waiting(clip).path)

    def finished(self, shard_key: str) -> Outcome | None:
        """What became of the clips of a shard that is written and waits for the others; None if there is none."""
        index = _read_index(self._index(shard_key))
        if not index or not tf.io.gfile.exists(self._shard(shard_key)):
            return None
        return Outcome(**{**index["outcome"], "rows": tuple(index["outcome"]["rows"])})

    def finish(
        self,
        shard_key: str,
        written: str,
        outcome: Outcome,
        clips: Mapping[str, tuple[Place, bool]],
        examples: ClipIndex,
    ) -> None:
        """Takes over a written shard.

        Args:
          shard_key: Its key.
          written: Its file, see `new_file`.
          outcome: What became of its clips.
          clips: Place of each clip by its key, and whether the clip is short.
          examples: The index that will stand beside the examples.
        """
        path = self._shard(shard_key)
        tf.io.gfile.rename(written, path, overwrite=True)
        index = {"path": path, "fingerprint": fingerprint(path), "limits": self._limits, "clips": clips}
        index |= {"outcome": dataclasses.asdict(outcome), "examples": dataclasses.asdict(examples)}
        _write_index(self._index(shard_key), index)

    def release(self, shards: Mapping[str, str]) -> None:
        """Makes shards examples, and removes what no ingest needs any more.

        Args:
          shards: Path among the examples, by key.
        """
        # What takes room comes first: when a step fails, TFX removes its examples.
        for key, path in shards.items():
            index = _read_index(self._index(key))
            ClipIndex(**index.pop("examples")).write(index_path(path))
            _write_index(os.path.join(self._finished, key + _INDEX), {**index, "path": path})
        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(lambda key: tf.io.gfile.rename(self._shard(key), shards[key], overwrite=True), shards))
        for folder in (self._clips, self._unfinished):
            folders.remove(folder)

    def _shard(self, key: str) -> str:
        return os.path.join(self._unfinished, f"{key}.gz")

    def _index(self, key: str) -> str:
        return os.path.join(self._unfinished, key + _INDEX)


def read_source(source: Source) -> DecodedClip:
    """A decoded clip.

    Raises:
      OpError, RecordError, DecodeError: If it is not there any more, or damaged.
    """
    if source.place:
        return decoded_clip(Record(read_place(source.path, source.place), source.short))
    with tf.io.gfile.GFile(source.path, "rb") as file:
        short = file.read(1) == _SHORT[True]
        return decoded_clip(Record(unframed(file.read(), 0), short))


def find(source: Source) -> DecodedClip | None:
    """A decoded clip; None if it is not there any more, or damaged."""
    with contextlib.suppress(tf.errors.OpError, RecordError, DecodeError):
        return read_source(source)
    return None


@contextlib.contextmanager
def removed_on_error(path: str) -> Iterator[None]:
    """Leaves no part of a file behind: it would fill a full disk."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(tf.errors.OpError):
            tf.io.gfile.remove(path)
        raise


def _files_in(folder: str, suffix: str = "") -> list[str]:
    return [os.path.join(folder, name) for name in folders.names(folder) if name.endswith(suffix)]


def _read_index(path: str) -> dict[str, Any] | None:
    """An index; None if it is not there, or damaged."""
    try:
        with tf.io.gfile.GFile(path) as file:
            return json.loads(file.read())
    except (tf.errors.NotFoundError, ValueError):
        return None


def _write_index(path: str, index: Mapping[str, Any]) -> None:
    part = path + _PART
    with removed_on_error(part):
        with tf.io.gfile.GFile(part, "w") as file:
            file.write(json.dumps(index, ensure_ascii=False))
        tf.io.gfile.rename(part, path, overwrite=True)


def _hash(*values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:32]
