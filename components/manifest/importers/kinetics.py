"""Kinetics-400, 600 and 700: CSV or JSON, one file per split.

CSV: ``label,youtube_id,time_start,time_end,split[,is_cc]``, without `label` in test lists. JSON: by YouTube id, with
``annotations.label``, ``annotations.segment`` and ``subset``. Clips are ``<youtube_id>_<start:06d>_<end:06d>``, below
any folders, or ``<youtube_id>``, the clip or the whole video.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from components.manifest.importers.annotations import (
    LABEL,
    Annotation,
    Annotations,
    read_json,
    require_columns,
    split_of_file,
)
from components.manifest.rows import seconds
from components.manifest.table import ManifestError, file_rows, split_named


def read_kinetics(paths: Sequence[str]) -> Annotations:
    """Reads annotation files; the id of a clip names its YouTube id and segment, its group is the YouTube id."""
    return Annotations(tuple(clip for path in paths for clip in _clips(path)))


def _clips(path: str) -> Iterator[Annotation]:
    rows = _json_rows(path) if path.lower().endswith(".json") else file_rows(path)
    require_columns(path, rows, ["youtube_id", "time_start", "time_end"])
    problems: list[str] = []
    for place, row in rows:
        where = f"{path}, {place}"
        youtube_id, split = row["youtube_id"], row.get("split")
        start, end = (seconds(row, column, where, problems) for column in ("time_start", "time_end"))
        if not youtube_id:
            problems.append(f"{where}: column 'youtube_id' is empty")
        elif split and not split_named(split):
            problems.append(f"{where}: split {split!r}; wanted train, validate, val or test")
        elif start is None or end is None:
            problems.append(f"{where}: a clip has a time_start and a time_end")
        else:
            clip = f"{youtube_id}_{int(start):06d}_{int(end):06d}"
            yield Annotation(
                where=where,
                labels={LABEL: row["label"]} if row.get("label") else {},
                split=split_named(split) if split else split_of_file(path),
                names=(clip,),
                source_names=(youtube_id,),
                start=start,
                end=end,
                group=youtube_id,
                id=clip,
            )
    if problems:
        raise ManifestError(path, problems)


def _json_rows(path: str) -> list[tuple[str, dict[str, str]]]:
    videos, rows = read_json(path), []
    if not isinstance(videos, dict):
        raise ManifestError(path, ["it is not an object by YouTube id"])
    for youtube_id, video in videos.items():
        try:
            label = video["annotations"].get("label") or ""
            start, end = map(str, video["annotations"]["segment"])
            subset = video.get("subset") or ""
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            problem = f"{youtube_id!r} has no annotations with a segment of two times ({error!r})"
            raise ManifestError(path, [problem]) from error
        row = {"youtube_id": youtube_id, "label": label, "time_start": start, "time_end": end, "split": subset}
        rows.append((repr(youtube_id), row))
    return rows
