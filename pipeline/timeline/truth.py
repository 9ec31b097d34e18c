"""The segments of a manifest as truth, and how well timelines find them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from components.evaluation.detection import DetectionScore, Span, detection_score
from components.manifest.columns import read_columns, with_our_names
from components.manifest.reader import absolute_path
from components.manifest.rows import Row, parse_row
from components.manifest.table import ManifestError, file_rows
from pipeline.timeline.timeline import Timeline


def read_truth(source: str) -> list[Row]:
    """The rows of a manifest (CSV or JSONL), each a segment; their paths are whole. Splits play no part.

    Raises:
      ManifestError: If it cannot be read, or a row is wrong.
    """
    rows = file_rows(source)
    columns = read_columns(rows)
    if columns.problems:
        raise ManifestError(source, columns.problems)
    found = [parse_row(where, row) for where, row in with_our_names(rows, columns)]
    problems = [problem for row in found for problem in row.bad_times]
    problems += [f"{row.where}: column 'path' is empty" for row in found if not row.path]
    problems += [
        f"{row.where}: end {row.segment.end:g} is not after start {row.segment.start or 0:g}"
        for row in found
        if row.segment.end is not None and row.segment.end <= (row.segment.start or 0)
    ]
    if problems or not found:
        raise ManifestError(source, problems or ["it lists no segment"])
    return found


def score_timelines(
    rows: Sequence[Row], source: str, videos: Sequence[str], timelines: Sequence[Timeline], heads: Sequence[str]
) -> Mapping[str, DetectionScore]:
    """How well each head's segments match the truth of its videos; a head without truth is left out.

    Args:
      rows: Of `read_truth`.
      source: Their manifest: paths are relative to it.
      videos: All paths that were asked for: what is true of one without a timeline is missed.
      timelines: Of those that could be read.
      heads: Of the model.
    """
    wanted = {_real(path) for path in videos}
    durations = {_real(timeline.video): timeline.duration for timeline in timelines}
    scores = {}
    for head in heads:
        truth = [
            Span(path, row.labels[head], row.segment.start or 0.0, end)
            for row in rows
            if head in row.labels
            and (path := _real(absolute_path(os.path.dirname(source), row.path))) in wanted
            and (end := row.segment.end if row.segment.end is not None else durations.get(path, float("inf")))
        ]
        detections = [
            Span(_real(timeline.video), one.name, one.start, one.end, one.score)
            for timeline in timelines
            for of_head in timeline.heads
            if of_head.name == head
            for one in of_head.segments
        ]
        if truth:
            scores[head] = detection_score(truth, detections)
    return scores


def _real(path: str) -> str:
    return path if "://" in path else os.path.realpath(path)
