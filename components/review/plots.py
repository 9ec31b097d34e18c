"""The plots of the review page: calibration, accuracy against coverage, the curves of training."""

from __future__ import annotations

import collections
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from components.evaluation.calibration import CoverageCurve, calibration_bins, coverage_curve
from components.review.facts import Curve
from components.review.judged import Answers
from components.review.svg import COLOURS, POINTS_PER_INCH, inline_svg, settings

_LOOKS = {"candidate": ("ours", "o", "-"), "production": ("theirs", "s", "--")}
_SIZE = (5.2, 3.4)
_MOST_CURVES = 9


class CoveragePlot(NamedTuple):
    """Accuracy against coverage, with a place for the marker of a slider.

    Attributes:
      svg: The plot.
      curve: The candidate's.
      x, y: Where each point of the curve is in the plot's own units, float [P].
    """

    svg: str
    curve: CoverageCurve
    x: np.ndarray
    y: np.ndarray


def calibration_plot(models: Mapping[str, Answers], name: str) -> str:
    """How often each model is right of the clips of which it is about equally sure, as inline SVG."""
    with settings():
        figure, axes = _figure("confidence", "accuracy")
        axes.plot([0, 1], [0, 1], color=COLOURS["dim"], linestyle=":", linewidth=1, label="as sure as right")
        said = []
        for model, answers in models.items():
            bins = calibration_bins(answers.confidence, answers.correct)
            colour, marker, line = _LOOKS[model]
            axes.plot(
                [found.confidence for found in bins],
                [found.accuracy for found in bins],
                color=COLOURS[colour],
                marker=marker,
                linestyle=line,
                linewidth=1.6,
                markersize=4.5,
                label=model,
            )
            points = ", ".join(
                f"{found.accuracy:.2f} at {found.confidence:.2f} ({found.clips} clips)" for found in bins
            )
            said.append(f"{model}: {points}")
        axes.set(xlim=(0, 1.02), ylim=(0, 1.04))
        _legend(axes)
        return inline_svg(figure, name, f"Accuracy by confidence. {'; '.join(said)}.")


def coverage_plot(models: Mapping[str, Answers], name: str) -> CoveragePlot:
    """How often each model is right when it leaves out the clips of which it is least sure."""
    curves = {model: coverage_curve(answers.confidence, answers.correct) for model, answers in models.items()}
    with settings():
        figure, axes = _figure("coverage: share of clips that are answered", "accuracy of the answers")
        for model, curve in curves.items():
            colour, _, line = _LOOKS[model]
            axes.plot(curve.coverage, curve.accuracy, color=COLOURS[colour], linestyle=line, linewidth=1.8, label=model)
        low = min(float(curve.accuracy.min()) for curve in curves.values())
        axes.set(xlim=(0, 1.02), ylim=(max(0.0, low - 0.05), 1.02))
        _legend(axes)
        ours = curves["candidate"]
        figure.draw_without_rendering()
        # A second layout, when it is saved, would move the curve away from the marker.
        figure.set_layout_engine("none")
        places = axes.transData.transform(np.stack([ours.coverage, ours.accuracy], axis=1))
        said = "; ".join(
            f"{model}: {curve.accuracy[0]:.3f} of all clips, {_at_half(curve):.3f} of the surer half"
            for model, curve in curves.items()
        )
        svg = inline_svg(figure, name, f"Accuracy against coverage. {said}.")
    return CoveragePlot(svg, ours, places[:, 0], POINTS_PER_INCH * _SIZE[1] - places[:, 1])


def curve_plots(curves: Sequence[Curve]) -> list[tuple[str, str]]:
    """Title and inline SVG of each value of the training; training and validation share a plot."""
    groups = collections.defaultdict(list)
    for curve in curves:
        if curve.steps:
            groups[curve.name.rpartition("/")[2].removeprefix("val_")].append(curve)
    return [
        (title, _curves(title, group, f"curve-{number}"))
        for number, (title, group) in enumerate(list(groups.items())[:_MOST_CURVES])
    ]


def _at_half(curve: CoverageCurve) -> float:
    return float(np.interp(0.5, curve.coverage[::-1], curve.accuracy[::-1]))


def _curves(title: str, curves: Sequence[Curve], name: str) -> str:
    with settings():
        figure, axes = _figure("step", "", size=(3.6, 2.2))
        said = []
        for curve, (colour, marker, line) in zip(curves, [*_LOOKS.values(), ("ink", "^", ":")], strict=False):
            axes.plot(
                curve.steps,
                curve.values,
                color=COLOURS[colour],
                linestyle=line,
                marker=marker if len(curve.steps) == 1 else "",
                linewidth=1.4,
                label=curve.name,
            )
            said.append(f"{curve.name} {curve.values[0]:.4g} to {curve.values[-1]:.4g}")
        axes.margins(x=0.02)
        if len(curves) > 1:
            _legend(axes)
        return inline_svg(figure, name, f"{title} by step. {'; '.join(said)}.")


def _figure(x: str, y: str, size: tuple[float, float] = _SIZE):
    figure = Figure(figsize=size, dpi=POINTS_PER_INCH, layout="constrained")
    axes = figure.add_subplot()
    axes.set(xlabel=x, ylabel=y)
    axes.grid(True)
    axes.set_axisbelow(True)
    return figure, axes


def _legend(axes) -> None:
    axes.legend(frameon=False, fontsize=9, handlelength=2.4)
