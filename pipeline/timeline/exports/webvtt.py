"""WebVTT (W3C): subtitles that a browser shows beside a video; a cue for each segment."""

from __future__ import annotations

from pipeline.timeline.exports.clock import clock
from pipeline.timeline.timeline import Timeline, labelled

# What begins a tag or a character reference in the text of a cue.
_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def webvtt(timeline: Timeline) -> str:
    """The text of a .vtt file."""
    cues = [
        f"{clock(one.start)} --> {clock(one.end)}\n{text.translate(_ESCAPES)}\n" for text, one in labelled(timeline)
    ]
    return "\n".join(["WEBVTT\n", *cues])
