"""The review page as a reviewer uses it, in Chromium; every number is computed again from the predictions."""

import re

import numpy as np
import pytest

from components.evaluation.gate import in_words
from components.registry.records import Decision
from components.review.model_card import model_card
from components.review.page import review_page
from schemas.predictions import CANDIDATE
from tests.components.review import reviews
from tests.components.review.browser import ENTER, ESCAPE, PAGE_UP, chromium, downloaded, load, problems, resize

NAMES = reviews.NAMES


@pytest.fixture(scope="module")
def found():
    return reviews.predictions()


@pytest.fixture(scope="module")
def review(found):
    return reviews.review(found)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("review")


@pytest.fixture(scope="module")
def driver(folder):
    with chromium(folder) as driver:
        yield driver


@pytest.fixture
def page(folder, review, driver):
    """The page just opened; nothing may have gone wrong when the test is over."""
    if not (path := folder / "review.html").exists():
        path.write_text(review_page(review), "utf-8")
    load(driver, path.as_uri())
    yield driver
    assert problems(driver) == []


def all_of(driver, selector):
    return driver.find_elements("css selector", selector)


def one_of(driver, selector):
    (element,) = all_of(driver, selector)
    return element


def click(element):
    """As a keyboard does: whatever stands where, it is reached."""
    element.send_keys(ENTER)


def write(element, text):
    element.clear()
    element.send_keys(text)


def sheet_clips(driver):
    """Ids of all clips of the sheet that is open."""
    while more := [button for button in all_of(driver, "#sheet .more") if button.is_displayed()]:
        click(more[0])
    return [figure.get_attribute("data-clip") for figure in all_of(driver, "#sheet .clip")]


def group_names(driver):
    return [cell.text for cell in all_of(driver, "#group-table tbody td:nth-child(2)")]


def answers(found):
    return found.scores[CANDIDATE]["activity"].logits.argmax(axis=1)


def labels(found):
    return np.array([NAMES.index(name) for name in found.clips.labels["activity"]])


def test_the_page_begins_with_the_verdict_and_its_figures(page, review):
    assert one_of(page, "h1").text.endswith(review.candidate.assessment.sentence)
    row = all_of(page, ".figures tbody tr")[0].text
    top_1 = review.candidate.assessment.scored[0].figure("top_1")
    for text in (in_words(top_1.candidate), in_words(top_1.production), in_words(top_1.difference, signed=True)):
        assert text in row


def test_a_cell_of_the_confusion_matrix_opens_its_clips(page, found):
    table = np.zeros((8, 8), int)
    np.add.at(table, (labels(found), answers(found)), 1)
    label, named = np.unravel_index((table - np.diag(np.diag(table))).argmax(), table.shape)
    cell = one_of(page, f'.confusion button[data-label="{label}"][data-named="{named}"]')
    assert cell.text == str(table[label, named])
    click(cell)
    assert one_of(page, "#sheet-title").text == f"{table[label, named]} clips of {NAMES[label]} named {NAMES[named]}"
    rows = np.flatnonzero((labels(found) == label) & (answers(found) == named))
    assert sorted(sheet_clips(page)) == sorted(f"clip-{row}" for row in rows)
    page.switch_to.active_element.send_keys(ESCAPE)
    assert not one_of(page, "#sheet").is_displayed()


def test_the_matrix_has_every_clip(page, found):
    assert sum(int(cell.text) for cell in all_of(page, ".confusion button")) == len(found.clips)
    right = sum(int(cell.text) for cell in all_of(page, ".confusion button.right"))
    assert right == (labels(found) == answers(found)).sum()


def test_a_table_is_sorted_by_a_click_on_its_head_and_says_so(page, review):
    groups = review.candidate.assessment.scored[0].groups
    heads = all_of(page, "#group-table thead th")
    title = [head.text for head in heads].index("candidate")
    for direction, sign in (("descending", -1), ("ascending", 1)):
        click(all_of(page, "#group-table thead button")[title])
        assert all_of(page, "#group-table thead th")[title].get_attribute("aria-sort") == direction
        expected = sorted(groups, key=lambda group: sign * group.top_1.candidate.value)
        assert group_names(page) == [group.value for group in expected]
    click(all_of(page, "#group-table thead button")[1])
    assert group_names(page) == sorted(group.value for group in groups)
    assert [head.get_attribute("aria-sort") for head in all_of(page, "#group-table thead th")].count("none") == 7


def test_classes_are_filtered_by_name_and_by_column(page, found):
    write(one_of(page, "#group-name"), "JUGGL")
    assert group_names(page) == ["juggling balls", "juggling fire"]
    assert one_of(page, "#group-count").text == "2 of 10 rows"
    (row, _) = all_of(page, "#group-table tbody tr")
    clips = labels(found) == NAMES.index("juggling balls")
    share = (answers(found)[clips] == NAMES.index("juggling balls")).mean()
    assert row.find_elements("css selector", "td")[4].text.startswith(f"{share:.3f} (")
    click(row.find_element("css selector", "button"))
    assert sorted(sheet_clips(page)) == sorted(f"clip-{row}" for row in np.flatnonzero(clips))
    click(one_of(page, "#sheet-close"))
    write(one_of(page, "#group-name"), "o")
    one_of(page, "#group-column").send_keys("place")
    assert group_names(page) == ["indoors", "outdoors"]


def test_the_slider_says_how_many_clips_are_answered_and_how_many_of_them_rightly(page, found):
    slider, said = one_of(page, ".plots input"), one_of(page, ".plots output")
    confidence = found.scores[CANDIDATE]["activity"].probabilities.max(axis=1).astype(np.float64)
    right = labels(found) == answers(found)
    places = []
    for _ in range(3):
        threshold, coverage, clips, accuracy = re.match(
            r"threshold ([\d.]+): answers ([\d.]+) % \((\d+) of 240 clips\), ([\d.]+) % of these right", said.text
        ).groups()
        answered = confidence >= np.sort(confidence)[240 - int(clips)]
        assert answered.sum() == int(clips)
        assert float(threshold) == pytest.approx(confidence[answered].min(), abs=6e-4)
        assert float(coverage) == pytest.approx(100 * answered.mean(), abs=0.06)
        assert float(accuracy) == pytest.approx(100 * right[answered].mean(), abs=0.06)
        marker = one_of(page, ".plots .marker")
        places.append((float(marker.get_attribute("cx")), int(clips)))
        assert slider.get_attribute("aria-valuetext") == said.text
        slider.send_keys(PAGE_UP)
    assert places[0][1] == 240
    assert places[0] > places[1] > places[2]


def test_lost_clips_come_with_their_filmstrips_and_more_on_demand(page, review):
    comparison = review.candidate.assessment.scored[0].comparison
    shown = len(all_of(page, "#lost .clip"))
    assert shown == min(8, comparison.lost)
    assert all(image.get_attribute("alt").startswith("Frames of videos/") for image in all_of(page, "#lost img"))
    natural = page.execute_script("return [...document.images].map((image) => image.naturalWidth)")
    assert natural and all(natural)
    click(one_of(page, "#lost .more"))
    assert len(all_of(page, "#lost .clip")) == min(16, comparison.lost)


def test_the_form_gives_the_command_and_the_model_card(page, review, folder):
    note = "it's 5 % better; see $(reboot)\n- and *that*"
    write(one_of(page, "#who"), "Ada O'Hara")
    write(one_of(page, "#why"), note)
    command = one_of(page, "#command").get_attribute("textContent")
    assert command == (
        "vivit models approve 3f9c2a71d0b4 --workdir /runs/demo '--by=Ada O'\"'\"'Hara' "
        "'--why=it'\"'\"'s 5 % better; see $(reboot)\n- and *that*'"
    )
    click(one_of(page, "#card"))
    card = downloaded(page, folder / "model-card-3f9c2a71d0b4.md")
    when = re.search(r"When: (.+)", card).group(1).replace("\\", "")
    assert card == model_card(review.candidate, Decision("approve", "Ada O'Hara", note, when))


def test_nothing_is_downloaded_before_the_form_is_filled_in(page):
    click(one_of(page, "#card"))
    assert one_of(page, "#done").text == ""


@pytest.fixture(scope="module")
def hostile(folder):
    path = folder / "hostile.html"
    path.write_text(review_page(reviews.hostile_review()), "utf-8")
    return path.as_uri()


@pytest.mark.parametrize("width", [1280, 390])
def test_hostile_names_are_text_and_leave_the_layout_alone(driver, hostile, width):
    resize(driver, width)
    load(driver, hostile)
    assert driver.title == "Review of 3f9c2a71d0b4: refused"
    assert len(all_of(driver, "script")) == 3
    assert not all_of(driver, "[href^='http']")
    texts = driver.execute_script("return [...document.querySelectorAll('bdi')].map((bdi) => bdi.textContent)")
    assert set(reviews.HOSTILE) <= set(texts)
    widths = driver.execute_script("const page = document.documentElement; return [page.scrollWidth, page.clientWidth]")
    assert widths[0] == widths[1]
    all_of(driver, "#heads input")[2].send_keys(" ")
    assert one_of(driver, "#changes .of-head").text == "of joint"
    click(all_of(driver, "#confusion button")[0])
    assert sheet_clips(driver)
    assert problems(driver) == []


def test_two_heads_and_all_together_are_chosen_by_name(driver, folder):
    found = reviews.predictions(heads=("verb", "noun"), production_skill=None, clips=80)
    path = folder / "two.html"
    path.write_text(review_page(reviews.review(found, pictures=False, attention=False)), "utf-8")
    resize(driver, 1280)
    load(driver, path.as_uri())
    assert [label.text for label in all_of(driver, "#heads label")] == ["verb", "noun", "action"]
    all_of(driver, "#heads input")[2].send_keys(" ")
    assert one_of(driver, "#confusions .of-head").text == "of action"
    assert group_names(driver) == ["indoors", "outdoors"]
    assert [plots.is_displayed() for plots in all_of(driver, ".plots")] == [False, False, True]
    # 64 combinations are too many for a matrix: the most confused pairs come first.
    buttons = all_of(driver, "#confusion tbody button")
    counts = [int(button.text) for button in buttons]
    assert counts == sorted(counts, reverse=True)
    click(buttons[0])
    assert len(sheet_clips(driver)) == counts[0]
    assert "no model in production" in one_of(driver, "#change-lists").text
    assert problems(driver) == []


def test_the_page_of_a_large_evaluation_is_small_and_opens_at_once(driver, folder):
    names = [f"class number {number}" for number in range(400)]
    found = reviews.predictions(clips=10_000, classes=names, skill=5.0, production_skill=4.5)
    # Intervals of so many clips take minutes, and change nothing about the page.
    fewer = reviews.predictions(clips=1600, classes=names)
    review = reviews.review(found, assessed=fewer, pictures=reviews.noise_strip())
    text = review_page(review)
    assert 10e6 < len(text.encode()) < 20e6
    path = folder / "large.html"
    path.write_text(text, "utf-8")
    load(driver, path.as_uri())
    opened = driver.execute_script("return performance.getEntriesByType('navigation')[0].loadEventEnd")
    assert opened < 5000
    assert len(all_of(driver, "#group-table tbody tr")) > 390
    assert problems(driver) == []
