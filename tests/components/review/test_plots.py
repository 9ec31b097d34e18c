"""The plots as inline SVG: in the page's colours, without styles, with their numbers as text."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure

from components.evaluation.calibration import coverage_curve
from components.review.facts import Curve
from components.review.judged import judge
from components.review.plots import calibration_plot, coverage_plot, curve_plots
from components.review.svg import inline_svg, settings
from tests.components.review import reviews


@pytest.fixture(scope="module")
def models():
    (judged,) = judge(reviews.predictions())
    return {"candidate": judged.candidate, "production": judged.production}


def test_a_plot_has_no_style_and_no_colour_of_its_own(models):
    svg = calibration_plot(models, "calibration-0")
    assert not re.search(r"style|#[0-9a-f]{6}|<metadata|\sfont-family", svg)
    assert "stroke-ours" in svg and "stroke-theirs" in svg and "fill-ink" in svg
    assert ElementTree.fromstring(svg).get("viewBox")


def test_ids_of_two_plots_differ_and_all_references_have_one(models):
    plots = [calibration_plot(models, f"calibration-{number}") for number in range(2)]
    ids = [set(re.findall(r'\bid="(.+?)"', svg)) for svg in plots]
    assert not ids[0] & ids[1]
    for own, svg in zip(ids, plots, strict=True):
        assert set(re.findall(r'href="#(.+?)"', svg)) | set(re.findall(r"url\(#(.+?)\)", svg)) <= own


def test_the_text_alternative_has_the_numbers(models):
    svg = ElementTree.fromstring(coverage_plot(models, "coverage-0").svg)
    assert svg.get("role") == "img"
    assert f"candidate: {models['candidate'].correct.mean():.3f} of all clips" in svg.get("aria-label")


def test_the_marker_stands_on_the_curve_of_the_plot(models):
    plot = coverage_plot(models, "coverage-0")
    curve = coverage_curve(models["candidate"].confidence, models["candidate"].correct)
    np.testing.assert_array_equal(plot.curve.threshold, curve.threshold)
    paths = [path for path in ElementTree.fromstring(plot.svg).iter() if "stroke-ours" in path.get("class", "")]
    first = re.match(r"M ([\d.]+) ([\d.]+)", paths[0].get("d")).groups()
    assert (plot.x[0], plot.y[0]) == pytest.approx(tuple(map(float, first)), abs=0.1)


def test_training_and_evaluation_share_a_plot_and_formulas_are_text():
    curves = [
        Curve("train/loss", (1, 2), (2.0, 1.0)),
        Curve("eval/loss", (1, 2), (2.1, 1.2)),
        Curve("$x^2$", (1,), (3.0,)),
    ]
    plots = dict(curve_plots([*curves, Curve("never", (), ())]))
    assert list(plots) == ["loss", "$x^2$"]
    assert "train/loss 2 to 1; eval/loss 2.1 to 1.2" in plots["loss"]


def test_a_colour_that_is_not_the_pages_is_an_error():
    with settings():
        figure = Figure()
        figure.add_subplot().plot([0, 1], color="red")
        with pytest.raises(ValueError, match="the stroke #ff0000, which is no colour of the page"):
            inline_svg(figure, "x", "")
