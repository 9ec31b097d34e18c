"""Which clip is stored in which shard, and how a shard is written.

Contract: the same clips and settings give the same shards, byte for byte, on any runner, in any order, however
often it runs. A shard is planned before anything is decoded, is decoded and written by one worker, and gets its final
name when it is complete; so a retry repeats the work and changes nothing.
"""

from __future__ import annotations

import collections
import hashlib
import heapq
import itertools
import logging
import math
import os
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

import apache_beam as beam
import tensorflow as tf
from apache_beam.metrics import Metrics

from components.ingest.config import ExamplesConfig
from components.ingest.memory import give_memory_back, keep_memory_flat
from components.ingest.quarantine import ClipsUnaccountedError, Outcome, quarantine_row
from components.manifest.reader import Clip
from components.media.decoder import Decoder
from components.media.video import StoredClip, VideoError
from components.storage.record_files import is_record, split_path
from schemas import features

# A small data set has several shards, too: workers share the work by shard.
_LEAST_SHARDS = 8
# Of a video whose manifest names no end, as small videos for training have it: 1 Mbit/s.
_VIDEO_BYTES_PER_SECOND = 125_000
# Of JPEG at the quality that is stored.
_BYTES_PER_PIXEL = 0.3
# JPEG is compressed: more effort saves 1 % and takes eight times as long.
_OPTIONS = tf.io.TFRecordOptions(compression_type=features.COMPRESSION, compression_level=0)
_METRICS = "vivit/ingest"
_logger = logging.getLogger("vivit.ingest")

T = TypeVar("T")


class Shard(NamedTuple):
    """A shard to write, and where its clips are in the plan: small enough for a cluster's queue."""

    split: str
    index: int
    count: int
    offset: int
    length: int

    @property
    def name(self) -> str:
        """Path below the artifact, as TFX reads it."""
        return os.path.join(f"Split-{self.split}", f"data_tfrecord-{self.index:05d}-of-{self.count:05d}.gz")


def estimated_bytes(clip: Clip, config: ExamplesConfig, sharing: int = 1) -> float:
    """Estimated bytes of a clip when it is stored; nothing is decoded for it.

    A record, stored as it is, is one of `sharing` in its file.
    """
    if is_record(clip.path):
        return clip.size / sharing
    seconds = clip.size / _VIDEO_BYTES_PER_SECOND if clip.end is None else clip.end - clip.start
    return max(1.0, seconds * config.fps) * config.short_side**2 * 4 / 3 * _BYTES_PER_PIXEL


def plan_shards(clips: Iterable[Clip], config: ExamplesConfig) -> list[list[Clip]]:
    """Spreads the clips of one split over shards of about `config.shard_mb`, at least 8 where there are enough videos.

    Neighbouring clips of one video, up to a quarter of a shard, go to one shard, so that they are decoded together.
    Within it the order is by a hash of the id: neighbouring records are of different videos and classes.
    """
    clips = list(clips)
    sharing = collections.Counter(split_path(clip.path)[0] for clip in clips)
    sized = [(clip, estimated_bytes(clip, config, sharing[split_path(clip.path)[0]])) for clip in clips]
    total = sum(size for _, size in sized)
    wanted = max(_LEAST_SHARDS, math.ceil(total / (config.shard_mb * 1e6)))
    runs = sorted(_runs(sized, most=total / wanted / 4), key=lambda run: (-run[0], _digest(run[1][0])))
    # The largest first, each into the shard that is the smallest so far.
    shards = [(0.0, index, []) for index in range(min(wanted, len(runs)))]
    for size, run in runs:
        filled, index, shard = heapq.heappop(shards)
        heapq.heappush(shards, (filled + size, index, shard + run))
    return [sorted(shard, key=_digest) for _, _, shard in sorted(shards, key=lambda shard: shard[1])]


def _runs(sized: list[tuple[Clip, float]], most: float) -> Iterator[tuple[float, list[Clip]]]:
    """Neighbouring clips of one video, up to `most` bytes or one clip, with their bytes."""
    in_time = sorted(sized, key=lambda item: (item[0].path, item[0].start, item[0].id))
    for _, of_video in itertools.groupby(in_time, key=lambda item: item[0].path):
        filled, run = 0.0, []
        for clip, size in of_video:
            if run and filled + size > most:
                yield filled, run
                filled, run = 0.0, []
            filled, run = filled + size, [*run, clip]
        yield filled, run


def _digest(clip: Clip) -> bytes:
    return hashlib.sha256(clip.id.encode()).digest()


def write_plan(path: str, clips: Iterable[Clip], config: ExamplesConfig) -> list[Shard]:
    """Plans the shards of all splits; writes their clips, one a line and shard after shard, to `path`."""
    by_split: dict[str, list[Clip]] = {}
    for clip in clips:
        by_split.setdefault(clip.split, []).append(clip)
    shards, offset = [], 0
    with tf.io.gfile.GFile(path, "wb") as file:
        for split, members in by_split.items():
            contents = plan_shards(members, config)
            for index, shard in enumerate(contents):
                lines = "".join(clip.to_json() + "\n" for clip in shard).encode()
                file.write(lines)
                shards.append(Shard(split, index, len(contents), offset, len(lines)))
                offset += len(lines)
    return shards


class WriteShards(beam.DoFn):
    """Decodes and writes the shards of a plan, each in one piece."""

    def __init__(self, plan: str, folder: str, config: ExamplesConfig):
        """Makes the step.

        Args:
          plan: File that `write_plan` wrote.
          folder: Folder (any URI) of the examples; unfinished shards are in the plan's own folder.
          config: How frames are stored.
        """
        self._plan, self._folder, self._config = plan, folder, config
        self._good, self._bad = (Metrics.counter(_METRICS, name) for name in ("good", "bad"))

    def setup(self) -> None:
        """Makes one decoder for all shards of this worker."""
        keep_memory_flat()
        self._decoder = Decoder(self._config)

    def teardown(self) -> None:
        """Ends its processes."""
        self._decoder.close()

    def process(self, shard: Shard) -> Iterator[Outcome]:
        """Writes one shard and yields what became of its clips."""
        with tf.io.gfile.GFile(self._plan, "rb") as file:
            file.seek(shard.offset)
            lines = file.read(shard.length).decode().split("\n")[:-1]
        unfinished = os.path.join(os.path.dirname(self._plan), uuid.uuid4().hex)
        outcome = write_shard(unfinished, shard.split, [Clip.from_json(line) for line in lines], self._decoder)
        give_memory_back()
        tf.io.gfile.rename(unfinished, os.path.join(self._folder, shard.name), overwrite=True)
        self._good.inc(outcome.examples)
        self._bad.inc(len(outcome.rows))
        for lost in outcome.rows:
            Metrics.counter(_METRICS, f"bad/{lost['stage']}").inc()
        lost = f", {len(outcome.rows)} in quarantine" if outcome.rows else ""
        _logger.info(
            "%s: shard %d of %d written, %d clips%s", shard.split, shard.index + 1, shard.count, outcome.examples, lost
        )
        yield outcome


def write_shard(path: str, split: str, clips: Sequence[Clip], decoder: Decoder) -> Outcome:
    """Decodes clips and writes their raw examples to one file, in the order of `clips`.

    Raises:
      ClipsUnaccountedError: If the decoder does not return each clip once.
    """
    rows: list[dict[str, Any]] = []
    short: list[str] = []
    with tf.io.TFRecordWriter(path, _OPTIONS) as writer:
        # The decoder continues while a record is made and written.
        records = (_record(clip, stored, rows, short) for clip, stored in _one_ahead(_decoded(clips, decoder)))
        for record in in_order([clip.id for clip in clips], records):
            if record:
                writer.write(record)
    return Outcome(split, len(clips) - len(rows), len(short), tuple(rows))


def _record(
    clip: Clip, stored: StoredClip | VideoError, rows: list[dict[str, Any]], short: list[str]
) -> tuple[str, bytes]:
    """Id and record of a clip; no record of one that is lost, which gets one of `rows`. A short one is noted."""
    if isinstance(stored, VideoError):
        rows.append(quarantine_row(clip, stored))
        return clip.id, b""
    if stored.short:
        short.append(clip.id)
    return clip.id, clip_to_example(clip, stored).SerializeToString(deterministic=True)


def _one_ahead(found: Iterator[T]) -> Iterator[T]:
    """Yields the same items; each is computed while the one before it is used."""
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(next, found, None)
        while (one := following.result()) is not None:
            following = pool.submit(next, found, None)
            yield one


def in_order(ids: Sequence[str], records: Iterable[tuple[str, bytes]]) -> Iterator[bytes]:
    """Yields records, which come with their ids, in the order of `ids`; those before their turn wait on the disk.

    Raises:
      ClipsUnaccountedError: If the records are not one for each id.
    """
    turn, waiting = 0, {}
    with tempfile.TemporaryFile() as spool:
        for clip_id, record in records:
            if turn < len(ids) and clip_id == ids[turn]:
                yield record
                turn += 1
            else:
                waiting[clip_id] = (spool.seek(0, os.SEEK_END), len(record))
                spool.write(record)
            while turn < len(ids) and ids[turn] in waiting:
                offset, length = waiting.pop(ids[turn])
                spool.seek(offset)
                yield spool.read(length)
                turn += 1
    if waiting or turn < len(ids):
        wrong = ", ".join([*waiting, *ids[turn : turn + 1]])
        raise ClipsUnaccountedError(f"clips were lost or doubled by the decoder ({wrong}); run the ingest again")


def _decoded(clips: Sequence[Clip], decoder: Decoder) -> Iterator[tuple[Clip, StoredClip | VideoError]]:
    """What became of each clip, the clips of one video together."""
    by_video: dict[str, list[Clip]] = {}
    for clip in clips:
        by_video.setdefault(clip.path, []).append(clip)
    for video, segments in by_video.items():
        segments.sort(key=lambda clip: (clip.start, clip.id))
        for index, stored in decoder.store_segments(video, [(clip.start, clip.end) for clip in segments]):
            yield segments[index], stored


def clip_to_example(clip: Clip, stored: StoredClip) -> tf.train.Example:
    """The raw example of a decoded clip."""
    return features.raw_example(
        clip_id=clip.id,
        group=clip.group,
        frames=stored.frames,
        size=stored.size,
        fps=stored.fps,
        start=stored.start,
        duration=stored.duration,
        labels={head: [name] for head, name in clip.labels.items()},
        slices=clip.slices,
    )
