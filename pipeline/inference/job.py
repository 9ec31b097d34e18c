"""Predicts many clips as a Beam job, into Parquet and JSON Lines; what was killed goes on where it was.

Below the output folder (any URI):

- ``predictions-<shard>-of-<shards>.parquet``: the clips that were predicted, see `prediction.as_table`
- ``predictions-<shard>-of-<shards>.jsonl``: all clips, those that are lost with ``stage`` and ``error``
- ``quarantine.jsonl``: the lost ones alone, which `vivit predict --data` takes as it is; ``summary.json``: counts
- ``job.json``, ``unfinished/``: what is predicted how; and while the job is not done, the groups that are

Contract: the same clips and model give the same bytes, however many workers there are and however often they are
killed. A group is predicted again only if its worker was killed before it was saved.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import hashlib
import io
import json
import os
import uuid
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow.parquet as pq
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.utils.shared import Shared

from components.manifest.listing import ListedClip
from components.manifest.table import as_text
from components.media.video import VideoError
from components.storage import files
from components.storage.code_version import code_version
from components.storage.memory import give_memory_back, keep_memory_flat
from components.storage.record_files import split_path
from pipeline.inference.model import digest_of, latest_version
from pipeline.inference.prediction import JSON_CLASSES, Prediction, as_table
from pipeline.inference.predictor import Group, Predictor
from pipeline.inference.progress import logged
from pipeline.settings import ConfigError

# Clips of a shard at most; a small job has several, too, as workers share the work by shard.
_SHARD_CLIPS, _LEAST_SHARDS = 512, 8
_STAT_THREADS = 32
JOB, _SUMMARY, _QUARANTINE, UNFINISHED = "job.json", "summary.json", "quarantine.jsonl", "unfinished"
# How the names of files end while they are written.
_PART = ".part"
# Reasons that a summary names, the most frequent first.
_REASONS = 20


@dataclasses.dataclass(frozen=True)
class JobConfig:
    """What is asked for.

    Attributes:
      model: A SavedModel, or a folder of numbered versions.
      output: Folder to write, any URI.
      one_view, embedding, decoders: See `Predictor`.
    """

    model: str
    output: str
    one_view: bool = False
    embedding: bool = False
    decoders: int | None = None


class Shard(NamedTuple):
    """Clips whose predictions are written to one pair of files."""

    index: int
    count: int
    clips: tuple[ListedClip, ...]

    @property
    def name(self) -> str:
        """Name of its files, without what they end with."""
        return f"predictions-{self.index:05d}-of-{self.count:05d}"


class Outcome(NamedTuple):
    """What became of a shard: clips predicted, those of them that an earlier run predicted, and rows of the lost."""

    predicted: int
    before: int
    lost: list[dict[str, Any]]


def run_job(clips: Sequence[ListedClip], config: JobConfig, beam_args: Sequence[str]) -> dict[str, Any]:
    """Predicts clips; returns what ``summary.json`` holds.

    Args:
      clips: The clips, in any order.
      config: The model, and where its predictions go.
      beam_args: Arguments of the Beam pipeline.

    Raises:
      FileNotFoundError: If there is no model.
      ConfigError: If the output holds predictions of another model, or of other clips.
    """
    config = dataclasses.replace(config, model=latest_version(config.model), output=config.output.rstrip("/"))
    shards = plan_shards(clips)
    _claim(shards, config)
    progress = logged(lambda: _progress(shards, config.output), len(clips))
    with progress, beam.Pipeline(options=PipelineOptions([*beam_args])) as pipeline:
        _ = (
            pipeline
            | "Shards" >> beam.Create(shards)
            | "Spread" >> beam.Reshuffle()
            | "Predict" >> beam.ParDo(PredictShards(config))
            | "Together" >> beam.GroupBy(lambda _: 0)
            | "Summary" >> beam.MapTuple(lambda _, found: _finish(config, found))
        )
    return json.loads(files.read(os.path.join(config.output, _SUMMARY)))


def plan_shards(clips: Sequence[ListedClip]) -> list[Shard]:
    """Spreads clips over shards, those of one video together and in the order of time, so that it is decoded once."""
    by_file: dict[str, list[ListedClip]] = {}
    for clip in clips:
        by_file.setdefault(clip.file, []).append(clip)
    size = min(_SHARD_CLIPS, max(1, len(clips) // _LEAST_SHARDS))
    contents: list[list[ListedClip]] = [[]]
    for of_file in by_file.values():
        for clip in sorted(of_file, key=lambda clip: (clip.start or 0.0, clip.id)):
            contents[-1].append(clip)
            if len(contents[-1]) >= _SHARD_CLIPS:
                contents.append([])
        if len(contents[-1]) >= size:
            contents.append([])
    contents = [shard for shard in contents if shard]
    return [Shard(index, len(contents), tuple(shard)) for index, shard in enumerate(contents)]


def _claim(shards: Sequence[Shard], config: JobConfig) -> None:
    """Writes what the output folder is for; raises ConfigError if it is for something else."""
    path = os.path.join(config.output, JOB)
    clips = [clip for shard in shards for clip in shard.clips]
    wanted = {
        "model": digest_of(config.model),
        "code": code_version("pipeline.inference.predictor"),
        "clips": hashlib.sha256(json.dumps([*map(dataclasses.astuple, clips), *_versions(clips)]).encode()).hexdigest(),
        "one_view": config.one_view,
        "embedding": config.embedding,
    }
    if not files.exists(path):
        _write(path, json.dumps(wanted, indent=1).encode())
        return
    there = read_job(config.output)
    if different := [name for name, value in wanted.items() if there.get(name) != value]:
        raise ConfigError(
            f"--output {config.output} holds predictions with another {' and '.join(different)}: choose another "
            "folder, or remove it"
        )


def read_job(output: str) -> dict[str, Any]:
    """What the job of an output folder states about itself; raises ConfigError if it is damaged."""
    path = os.path.join(output, JOB)
    try:
        return json.loads(files.read(path))
    except ValueError as error:
        raise ConfigError(f"{path} is damaged ({error}): choose another folder, or remove it") from error


def _versions(clips: Sequence[ListedClip]) -> list[tuple[int, int]]:
    """Size and version of the file of each clip; zeros where it cannot be read."""

    def version(path: str) -> tuple[int, int]:
        try:
            found = files.stat(path)
        except files.FileError:
            return 0, 0
        return found.size, found.version

    paths = sorted({split_path(clip.file)[0] for clip in clips})
    with ThreadPoolExecutor(_STAT_THREADS) as pool:
        found = dict(zip(paths, pool.map(version, paths), strict=True))
    return [found[split_path(clip.file)[0]] for clip in clips]


def _progress(shards: Sequence[Shard], output: str) -> int:
    """About how many clips are predicted, by the files that are there, whoever wrote them."""
    done = {name.partition(".")[0] for name in files.names_in(output) if name.endswith(".jsonl")}
    clips = sum(len(shard.clips) for shard in shards if shard.name in done)
    folder = os.path.join(output, UNFINISHED)
    saved = files.names_in(folder) if files.exists(folder) else ()
    return clips + sum(int(name.rpartition("-")[2].partition(".")[0]) for name in saved if name.endswith(".json"))


class PredictShards(beam.DoFn):
    """Predicts shards, and writes them."""

    def __init__(self, config: JobConfig):
        self._config, self._shared = config, Shared()

    def setup(self) -> None:
        """Loads the model, once in a process."""
        keep_memory_flat()
        config = self._config

        def make() -> Predictor:
            options = {"decoders": config.decoders, "one_view": config.one_view, "embedding": config.embedding}
            return Predictor.load(config.model, **options)

        self._predictor = self._shared.acquire(make)

    def teardown(self) -> None:
        """Ends its decoders."""
        self._predictor.close()

    def process(self, shard: Shard) -> Iterator[Outcome]:
        """Predicts what of a shard no earlier run has predicted; yields what became of it."""
        yield predict_shard(shard, self._predictor, self._config.output)
        give_memory_back()


def predict_shard(shard: Shard, predictor: Predictor, output: str) -> Outcome:
    """Predicts the clips of a shard and writes its files, the JSON Lines last: where they are, the shard is done."""
    done = os.path.join(output, f"{shard.name}.jsonl")
    if files.exists(done):
        # Bytes: a text would be split at U+2028, too, which a class or a file may be named with.
        rows = [json.loads(line) for line in files.read(done).splitlines()]
        lost = [
            _lost(clip, row["stage"], row["error"])
            for clip, row in zip(shard.clips, rows, strict=True)
            if "error" in row
        ]
        return Outcome(len(rows) - len(lost), len(rows) - len(lost), lost)
    saved = _Saved(shard, output)
    groups = predictor.groups(shard.clips)
    found = {number: saved.read(number, group) for number, group in enumerate(groups)}
    before = sum(not one.error for of_group in found.values() for one in of_group or ())
    missing = [number for number, of_group in found.items() if of_group is None]
    for number, of_group in zip(missing, predictor.predict(groups[number] for number in missing), strict=True):
        saved.write(number, of_group)
        found[number] = of_group
    predictions = [one for number in range(len(groups)) for one in found[number]]
    classes, buffer = predictor.classes, io.BytesIO()
    pq.write_table(as_table(predictions, classes), buffer, compression="zstd")
    _write(os.path.join(output, f"{shard.name}.parquet"), buffer.getvalue())
    _write(done, _lines(one.as_json(classes, most=JSON_CLASSES) for one in predictions))
    saved.remove(groups)
    lost = [_lost(one.clip, one.error.stage, one.error.reason) for one in predictions if one.error]
    return Outcome(len(predictions) - len(lost), before, lost)


class _Saved:
    """The groups of a shard that are predicted while the shard is not done, a file each; a damaged one is none."""

    def __init__(self, shard: Shard, output: str):
        self._prefix = os.path.join(output, UNFINISHED, shard.name)

    def read(self, number: int, group: Group) -> list[Prediction] | None:
        """The predictions of a group; None if they are not there."""
        try:
            rows = json.loads(files.read(self._path(number, group)))
            return [_from_json(clip, row) for clip, row in zip(group, rows, strict=True)]
        except (files.FileError, ValueError):
            return None

    def write(self, number: int, predictions: Sequence[Prediction]) -> None:
        """Saves the predictions of a group."""
        _write(self._path(number, predictions), json.dumps([*map(_to_json, predictions)]).encode())

    def remove(self, groups: Sequence[Group]) -> None:
        """Removes all groups of the shard."""
        for number, group in enumerate(groups):
            _remove(self._path(number, group))

    def _path(self, number: int, group: Sequence[object]) -> str:
        # The number of its clips is for `_progress`.
        return f"{self._prefix}-{number:05d}-{len(group)}.json"


def _to_json(one: Prediction) -> dict[str, Any]:
    """The values of a prediction; 32 bits of a float outlive JSON."""
    if one.error:
        return {"stage": one.error.stage, "error": one.error.reason}
    embedding = None if one.embedding is None else one.embedding.tolist()
    return {"logits": {head: values.tolist() for head, values in one.logits.items()}, "embedding": embedding}


def _from_json(clip: ListedClip, row: dict[str, Any]) -> Prediction:
    if "error" in row:
        return Prediction(clip, error=VideoError(clip.file, row["stage"], row["error"]))
    logits = {head: np.array(values, np.float32) for head, values in row["logits"].items()}
    embedding = row["embedding"]
    return Prediction(clip, logits, None if embedding is None else np.array(embedding, np.float32))


def _lost(clip: ListedClip, stage: str, reason: str) -> dict[str, Any]:
    """The row of a clip that is lost, which a manifest may have, too."""
    segment = {name: value for name in ("start", "end") if (value := getattr(clip, name)) is not None}
    # A manifest's own paths start at its folder.
    path = clip.file if "://" in clip.file else os.path.abspath(clip.file)
    return {"id": as_text(clip.id), "path": as_text(path), **segment, "stage": stage, "error": reason}


def _finish(config: JobConfig, outcomes: Iterable[Outcome]) -> None:
    """Writes what all shards come to, and removes what a killed worker has left."""
    outcomes = list(outcomes)
    lost = sorted((row for one in outcomes for row in one.lost), key=lambda row: (row["path"], row["id"]))
    summary = {
        "predicted": sum(one.predicted for one in outcomes),
        "before": sum(one.before for one in outcomes),
        "lost": len(lost),
        "reasons": dict(collections.Counter(f"{row['stage']}: {row['error']}" for row in lost).most_common(_REASONS)),
    }
    _write(os.path.join(config.output, _QUARANTINE), _lines(lost))
    _write(os.path.join(config.output, _SUMMARY), json.dumps(summary, indent=1, ensure_ascii=False).encode())
    for folder in (config.output, os.path.join(config.output, UNFINISHED)):
        for name in files.names_in(folder) if files.exists(folder) else ():
            if folder != config.output or name.endswith(_PART):
                _remove(os.path.join(folder, name))


def _lines(rows: Iterable[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def _write(path: str, data: bytes) -> None:
    """Writes a file that is whole or not there; another worker that writes it writes the same."""
    part = f"{path}.{uuid.uuid4().hex}{_PART}"
    files.write(part, data)
    files.rename(part, path)


def _remove(path: str) -> None:
    """Removes a file that another worker may have removed."""
    with contextlib.suppress(files.FileError):
        files.remove(path)
