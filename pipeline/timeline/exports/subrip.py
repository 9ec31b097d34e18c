"""SubRip: subtitles that every player knows; one for each segment."""

from __future__ import annotations

from pipeline.timeline.exports.clock import clock
from pipeline.timeline.timeline import Timeline, labelled


def subrip(timeline: Timeline) -> str:
    """The text of a .srt file."""
    return "\n".join(
        f"{number}\n{clock(one.start, ',')} --> {clock(one.end, ',')}\n{text}\n"
        for number, (text, one) in enumerate(labelled(timeline), start=1)
    )
