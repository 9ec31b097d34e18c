"""The page of a timeline: a strip of pictures, curves of the strongest classes, segments. One file, offline."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import NamedTuple

import jinja2
import numpy as np

from components.media.filmstrip import draw_strip
from pipeline.timeline.exports.clock import clock
from pipeline.timeline.reading import Strip
from pipeline.timeline.segments import Segment
from pipeline.timeline.timeline import Head, Timeline

# Classes that are drawn, points of a curve, and segments that are listed of one head: more would be no clearer.
_CURVES, _POINTS, _ROWS = 10, 1200, 2000
_TICKS = 8
_ROUND_SECONDS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)
# Units of a curve's picture, which the browser stretches.
_WIDTH, _HEIGHT = 1000, 100


class Curve(NamedTuple):
    """A class over time: its score as a path, and its segments as (left, width, title), in units of the picture."""

    name: str
    path: str
    bars: list[tuple[float, float, str]]
    seconds: float


def timeline_page(timeline: Timeline, strip: Strip) -> str:
    """HTML of a timeline; names are escaped, and nothing is loaded or run."""
    page = jinja2.Environment(
        loader=jinja2.PackageLoader("pipeline.timeline", ""),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    page.filters.update(clock=_short_clock, length_of=_length)
    template = page.get_template("page.html")
    style = re.search(r"<style>(.*?)</style>", page.loader.get_source(page, "page.html")[0], re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    picture = draw_strip(strip.pictures)
    return template.render(
        timeline=timeline,
        policy=f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'",
        strip=base64.b64encode(picture).decode(),
        # The last picture may stand for time behind the video's end.
        strip_width=round(_WIDTH * len(strip.pictures) * strip.every / timeline.frames, 2) if picture else 0,
        ticks=_ticks(timeline.duration),
        heads=[(head, strongest(timeline, head)) for head in timeline.heads],
        width=_WIDTH,
        height=_HEIGHT,
        rows=_ROWS,
        on=_HEIGHT * (1 - timeline.settings.on),
    )


def strongest(timeline: Timeline, head: Head) -> list[Curve]:
    """The classes that are seen longest, then those with the highest scores."""
    scores = timeline.smoothed(head)
    seconds = {name: 0.0 for name in head.classes}
    for one in head.segments:
        seconds[one.name] += one.end - one.start
    peaks = scores.max(axis=0)
    order = sorted(range(len(head.classes)), key=lambda index: (-seconds[head.classes[index]], -peaks[index]))
    places = _WIDTH * timeline.middles / timeline.frames
    return [
        Curve(
            name=head.classes[index],
            path=_path(places, scores[:, index]),
            bars=[_bar(one, timeline.duration) for one in head.segments if one.name == head.classes[index]][:_ROWS],
            seconds=seconds[head.classes[index]],
        )
        for index in order[:_CURVES]
    ]


def _path(places: np.ndarray, scores: np.ndarray) -> str:
    """The area under a curve; of many points, the highest of neighbours."""
    step = -(-len(places) // _POINTS)
    begins = np.arange(0, len(places), step)
    tops = np.maximum.reduceat(scores, begins)
    points = zip(places[begins], _HEIGHT * (1 - tops), strict=True)
    line = " ".join(f"L{x:.1f} {y:.1f}" for x, y in points)
    first, last = _HEIGHT * (1 - tops[0]), _HEIGHT * (1 - tops[-1])
    return f"M0 {_HEIGHT} L0 {first:.1f} {line} L{_WIDTH} {last:.1f} L{_WIDTH} {_HEIGHT}Z"


def _bar(one: Segment, duration: float) -> tuple[float, float, str]:
    left, right = (_WIDTH * seconds / duration for seconds in (one.start, one.end))
    return (
        round(left, 2),
        round(right - left, 2),
        f"{clock(one.start)} to {clock(one.end)}: {one.name}, {one.score:.2f}",
    )


def _ticks(duration: float) -> list[tuple[float, str]]:
    """Round times, each with its place in per cent of the width."""
    step = next((step for step in _ROUND_SECONDS if duration / step <= _TICKS), duration)
    return [(round(100 * time / duration, 3), _short_clock(time)) for time in np.arange(0, duration, step).tolist()]


def _length(seconds: float) -> str:
    return _short_clock(seconds) + ("" if seconds >= 60 else " s")


def _short_clock(seconds: float) -> str:
    """As short as it can be: 1:02:03.45, 2:03, 0.5."""
    text = clock(seconds).lstrip("0:") if seconds >= 60 else f"{seconds:.3f}"
    text = text.rstrip("0").rstrip(".")
    return text or "0"
