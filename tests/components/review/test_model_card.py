"""The model card: its headings, its figures, and names that Markdown must not take for markup."""

import dataclasses
import re

import pytest

from components.evaluation.gate import in_words
from components.registry.records import Decision
from components.review.model_card import model_card, plain
from tests.components.review import reviews


@pytest.fixture(scope="module")
def candidate():
    return reviews.review(reviews.predictions(clips=90), pictures=False, attention=False).candidate


def test_the_headings_are_those_of_the_paper_and_the_review(candidate):
    assert re.findall(r"^## (.+)$", model_card(candidate, None), re.MULTILINE) == [
        "Model Details",
        "Intended Use",
        "Factors",
        "Metrics",
        "Evaluation Data",
        "Training Data",
        "Quantitative Analyses",
        "Ethical Considerations",
        "Caveats and Recommendations",
        "Review",
    ]


def test_every_figure_is_in_it_with_its_intervals(candidate):
    card = model_card(candidate, None)
    top_1 = candidate.assessment.scored[0].figure("top_1")
    change = in_words(top_1.difference, signed=True)
    assert f"| top-1 | {in_words(top_1.candidate)} | {in_words(top_1.production)} | {change} |" in card
    assert candidate.data.manifest_hash in card


def test_it_says_what_one_view_costs_in_accuracy(candidate):
    figure = candidate.assessment.scored[0].figure
    one, every = (in_words(figure(metric).candidate) for metric in ("centre_top_1", "top_1"))
    assert one != every
    said = f"`frames_one_view`, which computes 1 of 12 views, has top-1 {one}, not {every}."
    assert f"- Of activity, signature {said}\n" in model_card(candidate, None)
    single = dataclasses.replace(candidate, assessment=dataclasses.replace(candidate.assessment, views=(1, 1)))
    assert "frames_one_view" not in model_card(single, None)


def test_the_review_has_who_decided_what_when_and_why(candidate):
    assert "Nobody has reviewed it yet." in model_card(candidate, None)
    decision = Decision("reject", "Ada", "too few clips\n\n- of *cello*", "2026-11-21")
    assert model_card(candidate, decision).endswith(
        "- Decision: rejected\n- By: Ada\n- When: 2026-11-21\n\n> too few clips\n>\n> \\- of \\*cello\\*\n"
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("juggling balls, 2 of 3", "juggling balls, 2 of 3"),
        ("<script>x</script>", r"\<script\>x\</script\>"),
        ('=HYPERLINK("http://e.x")', r'\=HYPERLINK("http\://e.x")'),
        ("[a](b) | *c* `d` _e_", r"\[a\](b) \| \*c\* \`d\` \_e\_"),
        ("1. first\n## second", r"1\. first \#\# second"),
        ("www.e.x and a@e.x", r"www\.e.x and a\@e.x"),
        ("\u202eגבוהה\u202d x", "\u2068גבוהה x\u2069"),
    ],
)
def test_markup_in_a_name_is_text(text, shown):
    assert plain(text) == shown


def test_no_name_makes_a_line_or_an_element_in_the_card(candidate):
    hostile = dataclasses.replace(candidate, label="a\n# b\n<img src=x>", model_uri="| c |")
    card = model_card(hostile, None)
    assert r"- Label: a \# b \<img src=x\>" in card
    assert r"- SavedModel: \| c \|" in card
