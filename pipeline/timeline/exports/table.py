"""CSV: a row for each segment, with the columns of a manifest, so that `vivit` reads it back as one."""

from __future__ import annotations

import csv
import io

from pipeline.timeline.timeline import Timeline

_COLUMNS = ("path", "head", "label", "start", "end", "score")


def table(timeline: Timeline) -> str:
    """The text of a .csv file."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for head in timeline.heads:
        writer.writerows(
            (timeline.video, head.name, one.name, f"{one.start:.6f}", f"{one.end:.6f}", f"{one.score:.4f}")
            for one in head.segments
        )
    return text.getvalue()
