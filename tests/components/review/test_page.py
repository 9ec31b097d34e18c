"""The text of the review page: what is in it, and what cannot be."""

import base64
import dataclasses
import hashlib
import json
import re

import numpy as np
import pytest

from components.evaluation.gate import in_words
from components.registry.records import Canary, Decision
from components.review import data
from components.review.page import json_for_html, review_page
from schemas.predictions import CANDIDATE, Scores
from tests.components.review import reviews


@pytest.fixture(scope="module")
def review():
    return reviews.review(reviews.predictions())


@pytest.fixture(scope="module")
def page(review):
    return review_page(review)


def between(page, start, end):
    return page.split(start)[1].split(end)[0]


def test_the_policy_allows_this_script_and_this_style_alone(page):
    policy = re.search(r'Content-Security-Policy" content="(.+?)"', page).group(1).replace("&#39;", "'")
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["img-src"] == "data:"
    for kind, text in (
        ("style", between(page, "<style>", "</style>")),
        ("script", between(page, "<script>", "</script>")),
    ):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[f"{kind}-src"] == f"'sha256-{digest}'"


def test_nothing_in_the_page_needs_what_the_policy_forbids(page):
    markup = page.replace(between(page, "<script>", "</script>"), "").replace(between(page, "<style>", "</style>"), "")
    assert not re.search(r"<[a-z][^>]*\s(style|on\w+)=", markup)
    assert not re.search(r'<[a-z][^>]*\s(src|href)="(?!#|data:)', markup)


def test_the_sections_come_in_the_order_of_deciding(page):
    order = ["verdict", "changes", "groups", "confusions", "confidence", "doubts", "attention", "lineage", "decision"]
    assert re.findall(r'<section id="(\w+)"', page) == order


def test_every_clip_is_in_it_once(page, review):
    values = json.loads(between(page, 'id="data">', "</script>"))
    assert values["clips"]["id"] == list(review.predictions.clips.ids)
    assert page.count('"clip-17"') == 1


def test_what_refused_a_model_is_shown():
    review = reviews.review(reviews.predictions(skill=0.0), pictures=False)
    refused = dataclasses.replace(review.candidate, canary=Canary(False, "answers differ by 0.31"))
    page = review_page(dataclasses.replace(review, candidate=refused))
    assert "NOT BLESSED" in page
    assert "The canary refused it" in page and "answers differ by 0.31" in page
    assert page.count('class="refusal"') >= 2 + len(review.candidate.assessment.reasons)


def test_a_decision_is_shown(review):
    decided = dataclasses.replace(review, decision=Decision("reject", "Ada", "too few <cello> clips", "2026-11-21"))
    page = review_page(decided)
    assert "Rejected by <bdi>Ada</bdi>, 2026-11-21" in page
    assert "too few &lt;cello&gt; clips" in page


def test_near_duplicates_leave_a_score_without_them(review):
    correct = review.predictions.scores[CANDIDATE]["activity"].rank == 1
    kept = [f"clip-{row}" not in review.duplicates for row in range(240)]
    page = review_page(review)
    assert f"{len(review.duplicates)} of 240 clips look like a training clip" in page
    assert f"is <b>{correct[kept].mean():.3f} (" in page
    assert in_words(review.candidate.assessment.scored[0].figure("top_1").candidate) in page
    assert "Not looked for." in review_page(dataclasses.replace(review, duplicates=None))
    assert "None found." in review_page(dataclasses.replace(review, duplicates={}))


def test_pictures_stop_where_the_page_would_become_large(review, monkeypatch):
    monkeypatch.setattr(data, "MOST_PICTURE_BYTES", 100_000)
    pictures = data.page_pictures(review)
    assert 0 < sum(len(text) for kind in pictures.values() for text in kind.values()) <= 100_000
    first = f"{review.predictions.clips.ids.index(next(iter(review.pictures)))}"
    assert first in pictures["frames"]
    left_out = len(review.pictures) - len(pictures["frames"])
    assert f"{left_out} filmstrips were left out" in review_page(review)


def test_json_cannot_end_its_element():
    text = "</script><!-- <script>"
    assert "<" not in json_for_html({text: text})
    assert json.loads(json_for_html({text: text})) == {text: text}


def test_predictions_of_other_heads_than_the_assessed_ones_are_an_error(review):
    others = reviews.predictions(heads=("verb",))
    with pytest.raises(ValueError, match=r"predictions of \['verb'\], assessed \['activity'\]"):
        review_page(dataclasses.replace(review, predictions=others))


def test_a_model_that_gives_nan_has_a_page_too():
    found = reviews.predictions()
    scores = found.scores[CANDIDATE]
    broken = {
        head: Scores.of(of.logits * np.nan, of.centre_logits * np.nan, names, found.clips.labels[head])
        for (head, of), names in zip(scores.items(), found.models[CANDIDATE].classes.values(), strict=True)
    }
    page = review_page(reviews.review(dataclasses.replace(found, scores={**found.scores, CANDIDATE: broken})))
    assert "NaN or infinite" in page
    assert json.loads(between(page, 'id="data">', "</script>"))["scored"][0]["candidate"]["confidence"][0] == 0
