"""The review page: one offline HTML file with everything to decide on a candidate, in the order of deciding.

Contract: nothing is loaded, nothing runs but the page's own script (its hash is in the content security policy), and
names of classes, slices and files are shown as the text that they are.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.resources
import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jinja2
import markupsafe
import numpy as np

from components.evaluation.assessment import Figure, Scored
from components.evaluation.gate import in_words
from components.evaluation.statistics import Interval, accuracy_interval
from components.review.data import page_data, page_pictures
from components.review.facts import Review
from components.review.findings import find, near_duplicates
from components.review.judged import Answers, Judged, judge
from components.review.model_card import TITLES
from components.review.plots import calibration_plot, coverage_plot, curve_plots

_SCRIPTS = ("elements.js", "clips.js", "groups.js", "confusion.js", "coverage.js", "decision.js", "page.js")
_STYLES = ("page.css", "parts.css")
# Metrics of which less is better.
_FALLING = ("ece", "adaptive_ece", "loss")


class FigureRow(NamedTuple):
    """A row of the table of figures.

    Attributes:
      title: The metric in words.
      figure: Its intervals.
      change: "better" or "worse" where the whole interval of the difference is; else empty.
      whisker: Ends and middle of the difference between -100 and 100; None where there is none.
    """

    title: str
    figure: Figure
    change: str
    whisker: tuple[float, float, float] | None


class Head(NamedTuple):
    """What the page shows of one head, or of all together."""

    scored: Scored
    rows: list[FigureRow]
    calibration: markupsafe.Markup
    coverage: markupsafe.Markup
    points: int
    without_duplicates: Interval | None


def review_page(review: Review) -> str:
    """HTML of a review, UTF-8 text without a byte order mark.

    Raises:
      ValueError: If the heads of the predictions are not those of the assessment.
    """
    judged, scored = judge(review.predictions), review.candidate.assessment.scored
    if [one.name for one in judged] != [one.name for one in scored]:
        raise ValueError(f"predictions of {[one.name for one in judged]}, assessed {[one.name for one in scored]}")
    coverages = [coverage_plot(_models(one), f"coverage-{number}") for number, one in enumerate(judged)]
    heads = [
        Head(
            scored=found,
            rows=list(_figure_rows(found)),
            calibration=markupsafe.Markup(calibration_plot(_models(one), f"calibration-{number}")),
            coverage=markupsafe.Markup(coverage.svg),
            points=len(coverage.x),
            without_duplicates=_without_duplicates(review, one),
        )
        for number, (one, found, coverage) in enumerate(zip(judged, scored, coverages, strict=True))
    ]
    lists = [(one, find(one, review.predictions), plot) for one, plot in zip(judged, coverages, strict=True)]
    script, style = _joined(_SCRIPTS), _joined(_STYLES)
    pictures = page_pictures(review)
    return _template().render(
        review=review,
        candidate=review.candidate,
        assessment=review.candidate.assessment,
        heads=heads,
        clips=len(review.predictions.clips),
        curves=[(title, markupsafe.Markup(svg)) for title, svg in curve_plots(review.curves)],
        seeds=dict(_seeds(review.candidate.training.config)),
        duplicates=near_duplicates(review.predictions, review.duplicates),
        policy=content_security_policy(script, style),
        script=markupsafe.Markup(script),
        style=markupsafe.Markup(style),
        data=json_for_html(page_data(review, lists)),
        pictures=json_for_html(pictures),
        left_out=sum(map(bool, review.pictures.values())) - len(pictures["frames"]),
    )


def content_security_policy(script: str, style: str) -> str:
    """Allows one inline script, one inline style sheet and pictures within the page; nothing else."""
    return (
        f"default-src 'none'; img-src data:; script-src {_hash(script)}; style-src {_hash(style)}; "
        "base-uri 'none'; form-action 'none'"
    )


def json_for_html(value: Any) -> markupsafe.Markup:
    """Compact JSON that cannot end the script element it stands in, nor open a comment in it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return markupsafe.Markup(text.replace("<", "\\u003c"))


def _template() -> jinja2.Template:
    page = jinja2.Environment(
        loader=jinja2.PackageLoader("components.review", ""),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    page.filters.update(interval=_interval, pretty=lambda value: json.dumps(value, indent=1, ensure_ascii=False))
    return page.get_template("page.html")


def _models(judged: Judged) -> Mapping[str, Answers]:
    """The models that a plot compares; production where both know a class."""
    models = {"candidate": judged.candidate}
    return models | ({"production": judged.production} if judged.production and judged.both.any() else {})


def _figure_rows(scored: Scored) -> Iterator[FigureRow]:
    widest = max(
        (
            max(-change.low, change.high)
            for one in scored.figures
            if (change := one.difference) and one.metric != "loss"
        ),
        default=0,
    )
    for figure in scored.figures:
        change, whisker = figure.difference, None
        if change:
            scale = 95 / (max(-change.low, change.high) if figure.metric == "loss" else widest or 1)
            whisker = tuple(round(scale * value, 1) for value in (change.low, change.value, change.high))
        yield FigureRow(TITLES[figure.metric], figure, _change(figure), whisker)


def _change(figure: Figure) -> str:
    change = figure.difference
    if change is None or change.low <= 0 <= change.high:
        return ""
    return "better" if (change.value > 0) != (figure.metric in _FALLING) else "worse"


def _without_duplicates(review: Review, judged: Judged) -> Interval | None:
    """Top-1 of the clips that look like no training clip; None where there is none, or nothing was left out."""
    clips = review.predictions.clips
    kept = np.ones(len(clips), bool)
    kept[list(near_duplicates(review.predictions, review.duplicates))] = False
    if kept.all() or not kept.any():
        return None
    return accuracy_interval(judged.candidate.correct[kept], [clips.groups[row] for row in np.flatnonzero(kept)])


def _seeds(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting that is called seed, by its full key."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _seeds(value, f"{prefix}{key}.")
        elif key == "seed":
            yield f"{prefix}{key}", value


def _interval(interval: Interval | None, signed: bool = False) -> str:
    return in_words(interval, signed) if interval else "–"


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _joined(names: tuple[str, ...]) -> str:
    folder = importlib.resources.files("components.review")
    return "\n".join(folder.joinpath(name).read_text("utf-8") for name in names)
