"""Near duplicates among clips, by the embeddings in the outputs of `vivit predict --embedding`."""

from __future__ import annotations

import io
import os
import re
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq

from components.evaluation.duplicates.embeddings import find_similar, whiten
from components.storage import files
from pipeline.inference.job import JOB, Shard, read_job
from pipeline.settings import ConfigError

_SHARD = re.compile(r"predictions-\d+-of-(\d+)\.")
_COLUMNS, _EMBEDDING = ("id", "path", "start", "end"), "embedding"
# Missing shards that a message names.
_NAMED = 3
Row = dict[str, Any]


class Embedded(NamedTuple):
    """The clips of an output: ``id``, ``path``, ``start`` and ``end`` of each, where it has them; float32 [N, D]."""

    clips: list[Row]
    embeddings: np.ndarray


class Duplicates(NamedTuple):
    """Near duplicates.

    Attributes:
      compared: Clips that were compared, in all.
      left_out: Clips that were not: their embedding is zero or not finite.
      count: Pairs that there are; `rows` has the surest.
      rows: For each pair ``clip``, ``of``, ``similarity``; where one output was searched, ``cluster``, an index; then
        ``path``, ``start`` and ``end`` of the clip, and ``of_path`` and so on of the other one.
      clusters: Where one output was searched, the clips that pairs join, the largest cluster first.
    """

    compared: int
    left_out: int
    count: int
    rows: list[Row]
    clusters: list[list[Row]]


def find_duplicates(output: str, other: str | None, *, least: float) -> Duplicates:
    """Finds near duplicates within an output, or those of its clips in another one.

    Memory: the embeddings, twice while they are read; the names of the clips; and what `find_similar` takes.

    Args:
      output: Folder that `vivit predict --output … --embedding` wrote, any URI.
      other: Another one, by the same model; None to search `output` alone.
      least: Least similarity of a pair, see `find_similar`.

    Raises:
      ConfigError: If an output is not done or has no embeddings, if two are not by one model, or for too few clips.
      FileError: If an output cannot be read.
    """
    folders = [output, other] if other else [output]
    _check_alike({folder: _job_of(folder) for folder in folders})
    sets = [read_embeddings(folder) for folder in folders]
    try:
        whiten([one.embeddings for one in sets])
    except ValueError as error:
        raise ConfigError(f"{' and '.join(folders)}: {error}") from error
    of, clips = sets[0], sets[-1]
    similar = find_similar(clips.embeddings, of.embeddings if other else None, least=least)
    members = [] if similar.clusters is None else _members(similar.clusters)
    number = {clip: index for index, cluster in enumerate(members) for clip in cluster}
    found = zip(similar.clip.tolist(), similar.of.tolist(), similar.similarity.tolist(), strict=True)
    rows = [_row(clips.clips[clip], of.clips[original], value, number.get(clip)) for clip, original, value in found]
    left_out = sum(int((~one.embeddings.any(axis=1)).sum()) for one in sets)
    compared = sum(len(one.clips) for one in sets) - left_out
    clusters = [[of.clips[clip] for clip in cluster] for cluster in members]
    return Duplicates(compared, left_out, similar.count, rows, clusters)


def read_embeddings(output: str) -> Embedded:
    """Reads the clips of an output, one table after the other, each of a few hundred clips.

    Raises:
      ConfigError: If it has none, or is not done.
      FileError: If it cannot be read.
    """
    clips, embeddings = [], []
    for path in _tables(output):
        table = pq.read_table(io.BytesIO(files.read(path)))
        if not table.num_rows:
            continue
        rows = table.select(_COLUMNS).to_pylist()
        clips += [{name: value for name, value in row.items() if value is not None} for row in rows]
        values = table[_EMBEDDING].combine_chunks()
        embeddings.append(values.flatten().to_numpy().reshape(len(values), -1))
    if not clips:
        raise ConfigError(f"{output} has no clip that was predicted")
    return Embedded(clips, np.concatenate(embeddings))


def _job_of(output: str) -> Row:
    """What an output states about its job."""
    if not files.is_folder(output):
        raise ConfigError(f"no such folder: {output}")
    path = os.path.join(output, JOB)
    if not files.exists(path):
        raise ConfigError(f"{output} is no output of `vivit predict --output`: it has no {JOB}")
    job = read_job(output)
    if not job.get("embedding"):
        raise ConfigError(f"{output} has no embeddings: predict its clips again, into another folder, with --embedding")
    return job


def _check_alike(jobs: dict[str, Row]) -> None:
    (first, wanted), *others = jobs.items()
    for folder, job in others:
        for name, what in (("model", "models"), ("one_view", "views (--one-view)")):
            if job[name] != wanted[name]:
                raise ConfigError(f"{first} and {folder} are by different {what}: their embeddings cannot be compared")


def _tables(output: str) -> list[str]:
    """Paths of the tables of an output that is done."""
    names = set(files.names_in(output))
    counts = {int(match[1]) for match in map(_SHARD.match, names) if match}
    if not counts:
        raise ConfigError(f"{output} is not done: no shard of it is there; the same `vivit predict` goes on")
    shards = [Shard(index, max(counts), ()).name for index in range(max(counts))]
    if missing := [shard for shard in shards if f"{shard}.jsonl" not in names or f"{shard}.parquet" not in names]:
        named = ", ".join(missing[:_NAMED]) + (" …" if len(missing) > _NAMED else "")
        text = f"{len(missing)} of {len(shards)} shards are missing ({named})"
        raise ConfigError(f"{output} is not done: {text}; the same `vivit predict` goes on")
    return [os.path.join(output, f"{shard}.parquet") for shard in shards]


def _row(clip: Row, of: Row, similarity: float, cluster: int | None) -> Row:
    row = {"clip": clip["id"], "of": of["id"], "similarity": round(similarity, 6)}
    row |= {} if cluster is None else {"cluster": cluster}
    row |= {name: value for name, value in clip.items() if name != "id"}
    return row | {f"of_{name}": value for name, value in of.items() if name != "id"}


def _members(clusters: np.ndarray) -> list[list[int]]:
    """The clips of each cluster of several, the largest first, of equal ones the one whose first clip comes first."""
    order = np.argsort(clusters, kind="stable")
    starts = np.flatnonzero(np.diff(clusters[order])) + 1
    several = [part.tolist() for part in np.split(order, starts) if len(part) > 1]
    return sorted(several, key=lambda part: (-len(part), part[0]))
