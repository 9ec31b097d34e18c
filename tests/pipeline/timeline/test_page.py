"""The page of a timeline in a browser: all is there, nothing is loaded or run, nothing spills."""

import io

import numpy as np
import pytest
from PIL import Image

from pipeline.timeline.config import SegmentConfig
from pipeline.timeline.page import timeline_page
from pipeline.timeline.reading import Strip
from pipeline.timeline.segments import Segment
from pipeline.timeline.timeline import Head, Timeline
from tests.components.review.browser import chromium, problems, resize

HOSTILE = "<img src=x onerror=\"document.title='run'\">"
LONG = "n" * 200
SPILLS = "return document.documentElement.scrollWidth > innerWidth"


def picture(level):
    file = io.BytesIO()
    Image.fromarray(np.full((36, 64, 3), level, np.uint8)).save(file, "JPEG")
    return file.getvalue()


def three_hours():
    """Three hours at 10 frames a second in windows of 1.6 s: 13,499 of them, 13 classes, 400 segments."""
    rng = np.random.default_rng(0)
    starts = np.arange(0, 108_000 - 16 + 1, 8)
    names = [HOSTILE, LONG, *(f"class {number}" for number in range(11))]
    scores = rng.dirichlet(np.ones(13) / 4, len(starts)).astype(np.float32)
    segments = [Segment(27.0 * n, 27.0 * n + 9, names[n % 5], 0.8) for n in range(400)]
    heads = [Head("verb", names, scores, segments), Head("noun", ["a", "b"], scores[:, :2], [])]
    return Timeline(
        f"videos/{HOSTILE}.mp4", "m", 10.0, 108_000, 16, 8, starts, heads, SegmentConfig(), error=f"damaged: {HOSTILE}"
    )


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("browser")) as driver:
        yield driver


def test_the_page_shows_three_hours_and_nothing_spills(driver, tmp_path):
    pictures = [picture(level) for level in range(0, 250, 10)]
    html = timeline_page(three_hours(), Strip(pictures, 4400))
    assert len(html) < 1_500_000
    (tmp_path / "page.html").write_text(html, "utf-8")
    for width in (400, 1400):
        resize(driver, width)
        driver.get((tmp_path / "page.html").as_uri())
        assert not driver.execute_script(SPILLS), width
    # Whatever was refused or not found would be in the console.
    assert problems(driver) == []
    assert driver.title == f"Timeline of videos/{HOSTILE}.mp4"
    text = driver.find_element("tag name", "body").text
    assert f"damaged: {HOSTILE}" in text
    assert "3:00:00 at 10 frames a second" in text
    assert "… and 3 classes with lower scores" in text
    assert "No class is sure enough anywhere" in text
    assert len(driver.find_elements("css selector", "section:first-of-type .curve")) == 10
    assert len(driver.find_elements("css selector", ".curve rect")) == 400
    (strip, _) = driver.find_elements("css selector", ".strip img")
    assert int(strip.get_attribute("naturalWidth")) == 25 * 64
    # The last picture stands for more time than is left: what is over is cut off.
    assert strip.size["width"] / strip.find_element("xpath", "..").size["width"] == pytest.approx(110 / 108, abs=0.01)
    assert [tick.text for tick in driver.find_elements("css selector", "section:first-of-type .axis text")] == [
        *("0", "30:00", "1:00:00", "1:30:00", "2:00:00", "2:30:00")
    ]


def test_curves_and_bars_stand_where_they_belong(driver, tmp_path):
    starts = np.arange(0, 97, 4)
    scores = np.zeros((len(starts), 1), np.float32)
    scores[12] = 1
    head = Head("label", ["run"], scores, [Segment(5.0, 6.0, "run", 0.9)])
    timeline = Timeline("v.mp4", "m", 10.0, 100, 4, 4, starts, [head], SegmentConfig(smooth=0.0))
    (tmp_path / "page.html").write_text(timeline_page(timeline, Strip([], 1)), "utf-8")
    resize(driver, 1280)
    driver.get((tmp_path / "page.html").as_uri())
    assert not driver.find_elements("css selector", ".strip")
    (rect,) = driver.find_elements("css selector", ".curve rect")
    (curve,) = driver.find_elements("css selector", ".curve")
    assert (rect.rect["x"] - curve.rect["x"]) / curve.rect["width"] == pytest.approx(0.5, abs=0.01)
    assert rect.rect["width"] / curve.rect["width"] == pytest.approx(0.1, abs=0.01)
    path = driver.find_element("css selector", ".curve path").get_attribute("d")
    assert " L500.0 0.0 " in path
    assert rect.find_element("css selector", "title").get_attribute("textContent") == (
        "00:00:05.000 to 00:00:06.000: run, 0.90"
    )
