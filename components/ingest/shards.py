"""Which clip is stored in which shard, and how a shard is written.

Contract: the same clips and settings give the same shards, byte for byte, on any runner, in any order, however
often it runs and whatever is decoded already. A shard is planned before anything is decoded, and written by one worker;
so a retry changes nothing, and repeats only what `Kept` does not have.
"""

from __future__ import annotations

import collections
import hashlib
import heapq
import itertools
import json
import logging
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

import apache_beam as beam
import tensorflow as tf
from apache_beam.metrics import Metrics

from components.ingest.config import ExamplesConfig
from components.ingest.examples import Record, clip_record
from components.ingest.kept import Kept, Source, find, read_source, removed_on_error
from components.ingest.quarantine import ClipsUnaccountedError, Outcome, quarantine_row
from components.ingest.shard_file import Place, ShardWriter
from components.manifest.reader import Clip
from components.media.decoder import Decoder
from components.media.video import StoredClip, VideoError
from components.storage.memory import give_memory_back, keep_memory_flat
from components.storage.record_files import is_record, split_path
from components.storage.room import LogStream
from schemas import features
from schemas.clip_index import ClipIndex

# A small data set has several shards, too: workers share the work by shard.
_LEAST_SHARDS = 8
# Of a video whose manifest names no end, as small videos for training have it: 1 Mbit/s.
_VIDEO_BYTES_PER_SECOND = 125_000
# Of JPEG at the quality that is stored.
_BYTES_PER_PIXEL = 0.3
# Protobuf refuses 2 GiB; this leaves room for what is not frames.
_EXAMPLE_BYTES = 2_000_000_000
_METRICS = "vivit/ingest"
_logger = logging.getLogger("vivit.ingest")

T = TypeVar("T")


class Shard(NamedTuple):
    """A shard to write, where its clips are in the plan, and its key in `Kept`: small enough for a cluster's queue."""

    split: str
    index: int
    count: int
    offset: int
    length: int
    key: str

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


def write_plan(path: str, clips: Iterable[Clip], config: ExamplesConfig, kept: Kept) -> list[Shard]:
    """Plans the shards of all splits; writes their clips, one a line and shard after shard, to `path`.

    With each clip stands where it is, if an earlier ingest has decoded it.
    """
    known = kept.sources()
    by_split: dict[str, list[Clip]] = {}
    for clip in clips:
        by_split.setdefault(clip.split, []).append(clip)
    shards, offset = [], 0
    with tf.io.gfile.GFile(path, "wb") as file:
        for split, members in by_split.items():
            contents = plan_shards(members, config)
            for index, shard in enumerate(contents):
                lines = "".join(json.dumps([clip.to_json(), known.get(kept.key(clip))]) + "\n" for clip in shard)
                file.write(lines.encode())
                shards.append(Shard(split, index, len(contents), offset, len(lines), kept.shard_key(shard)))
                offset += len(lines)
    return shards


def _read_plan(path: str, shard: Shard) -> list[tuple[Clip, Source | None]]:
    with tf.io.gfile.GFile(path, "rb") as file:
        file.seek(shard.offset)
        planned = [json.loads(line) for line in file.read(shard.length).splitlines()]
    return [(Clip.from_json(line), Source.from_json(source) if source else None) for line, source in planned]


class WriteShards(beam.DoFn):
    """Writes the shards of a plan, each in one piece; decodes the clips that no earlier ingest has decoded."""

    def __init__(self, plan: str, kept: Kept, config: ExamplesConfig):
        """Makes the step.

        Args:
          plan: File that `write_plan` wrote.
          kept: Where shards wait until all are written.
          config: How frames are stored.
        """
        self._plan, self._kept, self._config = plan, kept, config
        self._good, self._bad, self._reused = (Metrics.counter(_METRICS, name) for name in ("good", "bad", "reused"))

    def setup(self) -> None:
        """Makes one decoder for all shards of this worker."""
        keep_memory_flat()
        if sys.stderr is sys.__stderr__:
            # A process of Beam's own, whose log may be on the disk that fills.
            sys.stderr = LogStream(sys.stderr.fileno())
        self._decoder = Decoder(self._config)

    def teardown(self) -> None:
        """Ends its processes."""
        self._decoder.close()

    def process(self, shard: Shard) -> Iterator[Outcome]:
        """Writes one shard and yields what became of its clips."""
        outcome = self._kept.finished(shard.key)
        if outcome:
            reused = outcome.examples
        else:
            outcome, reused = write_shard(shard, _read_plan(self._plan, shard), self._decoder, self._kept)
            give_memory_back()
        self._good.inc(outcome.examples)
        self._bad.inc(len(outcome.rows))
        self._reused.inc(reused)
        for lost in outcome.rows:
            Metrics.counter(_METRICS, f"bad/{lost['stage']}").inc()
        before = f", {reused} of them decoded before" if reused else ""
        lost = f", {len(outcome.rows)} in quarantine" if outcome.rows else ""
        place = f"{shard.split}: shard {shard.index + 1} of {shard.count}"
        _logger.info("%s written, %d clips%s%s", place, outcome.examples, before, lost)
        yield outcome


def write_shard(
    shard: Shard, planned: Sequence[tuple[Clip, Source | None]], decoder: Decoder, kept: Kept
) -> tuple[Outcome, int]:
    """Writes the raw examples of clips to one file, in their order, and leaves it in `kept`.

    Args:
      shard: The shard.
      planned: Its clips, and where they are if they are decoded.
      decoder: Decodes the others.
      kept: Where decoded clips and shards wait.

    Returns:
      What became of the clips, and how many were decoded before.

    Raises:
      ClipsUnaccountedError: If the decoder does not return each clip once.
    """
    sources = dict(_sources(planned, kept))
    missing = [clip for clip, _ in planned if clip.id not in sources]
    rows: list[dict[str, Any]] = []
    index: dict[str, tuple[Place, bool]] = {}
    written: list[tuple[Clip, Place]] = []
    short = reused = 0
    path = kept.new_file()
    with removed_on_error(path), ShardWriter(path) as writer:
        # The decoder continues while records are read and written.
        decoding = in_order([clip.id for clip in missing], _saved(missing, decoder, kept), _lost)
        for clip, _ in planned:
            source = sources.get(clip.id)
            decoded = find(source) if source else None
            reused += decoded is not None
            if decoded:
                record = clip_record(clip, decoded)
            else:
                # A source that is damaged, or gone, was not to be decoded with the others.
                record = dict(_saved([clip], decoder, kept))[clip.id] if source else next(decoding)
                if isinstance(record, VideoError):
                    rows.append(quarantine_row(clip, record))
                    continue
                record = record or clip_record(clip, read_source(kept.waiting(clip)))
            short += record.short
            written.append((clip, writer.write(record.data)))
            index[kept.key(clip)] = (written[-1][1], record.short)
        # A clip that comes twice comes late.
        next(decoding, None)
    outcome = Outcome(shard.split, len(planned) - len(rows), short, tuple(rows))
    kept.finish(shard.key, path, outcome, index, _index_of(shard, written))
    kept.forget(clip for clip, _ in planned)
    return outcome, reused


def _index_of(shard: Shard, written: Sequence[tuple[Clip, Place]]) -> ClipIndex:
    """What training needs of the clips of a shard before it reads them; all clips of an ingest have the same heads."""
    heads = written[0][0].labels if written else ()
    return ClipIndex(
        shard.name,
        features.COMPRESSION,
        [place.offset for _, place in written],
        [place.length for _, place in written],
        [clip.group for clip, _ in written],
        {head: [clip.labels[head] for clip, _ in written] for head in heads},
    )


def _sources(planned: Iterable[tuple[Clip, Source | None]], kept: Kept) -> Iterator[tuple[str, Source]]:
    """The clips that are decoded, by their ids."""
    waiting = kept.all_waiting()
    for clip, source in planned:
        alone = kept.waiting(clip)
        # Without a version, which some servers do not report, a changed file looks like the one before.
        if clip.mtime and (source or alone in waiting):
            yield clip.id, source or alone


def _saved(clips: Sequence[Clip], decoder: Decoder, kept: Kept) -> Iterator[tuple[str, Record | VideoError]]:
    """Decodes clips and saves them; yields the id of each, and its record or why it is lost."""
    for clip, decoded in _one_ahead(_decoded(clips, decoder)):
        result = decoded if isinstance(decoded, VideoError) else too_large(clip, decoded)
        if not result:
            result = clip_record(clip, decoded)
            kept.save(clip, result)
        yield clip.id, result


def _lost(result: Record | VideoError) -> VideoError | None:
    """What is held of a clip before its turn: a record is saved, and megabytes."""
    return result if isinstance(result, VideoError) else None


def too_large(clip: Clip, decoded: StoredClip) -> VideoError | None:
    """The error of a clip that no example can hold: protobuf stores less than 2 GiB."""
    size = sum(map(len, decoded.frames))
    if size <= _EXAMPLE_BYTES:
        return None
    reason = f"its frames have {size} bytes as they are stored; an example holds {_EXAMPLE_BYTES}"
    return VideoError(clip.path, "segment", f"{reason}; give its start and end")


def _one_ahead(found: Iterator[T]) -> Iterator[T]:
    """Yields the same items; each is computed while the one before it is used."""
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(next, found, None)
        while (one := following.result()) is not None:
            following = pool.submit(next, found, None)
            yield one


def in_order(
    ids: Sequence[str], found: Iterable[tuple[str, T]], held: Callable[[T], T | None] = lambda one: one
) -> Iterator[T | None]:
    """Yields what is found with ids in the order of `ids`; `held` of what comes before its turn.

    Raises:
      ClipsUnaccountedError: If not one is found for each id.
    """
    turn, waiting = 0, {}
    for clip_id, one in found:
        waiting[clip_id] = one if clip_id in ids[turn : turn + 1] else held(one)
        while turn < len(ids) and ids[turn] in waiting:
            yield waiting.pop(ids[turn])
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
