"""Which clips a reviewer is shown, and in which order."""

import dataclasses

import numpy as np
import pytest

from components.evaluation.config import EvaluationConfig
from components.evaluation.gate import assess
from components.review.facts import MOST_CLIPS, clips_to_show
from components.review.findings import find, in_turn
from components.review.judged import judge
from schemas.predictions import CANDIDATE, PRODUCTION, Scores
from tests.components.review.reviews import NAMES, predictions


@pytest.fixture(scope="module")
def found():
    return predictions()


@pytest.fixture(scope="module")
def judged(found):
    (one,) = judge(found)
    return one


def test_lost_and_won_clips_are_those_that_the_assessment_counts(found, judged):
    comparison = assess(found, EvaluationConfig()).scored[0].comparison
    findings = find(judged, found)
    assert (len(findings.lost), len(findings.won)) == (comparison.lost, comparison.won)
    assert comparison.lost > 5


def test_the_surer_the_wrong_model_the_sooner_a_clip_is_shown(found, judged):
    findings = find(judged, found)
    for rows, answers in ((findings.lost, judged.candidate), (findings.won, judged.production)):
        sure = answers.confidence[rows]
        assert (np.diff(sure) <= 0).all()
        assert not answers.correct[rows].any()


def test_confusions_count_the_clips_of_each_pair_of_classes(found, judged):
    labels = np.array([NAMES.index(name) for name in found.clips.labels["activity"]])
    answers = found.scores[CANDIDATE]["activity"].logits.argmax(axis=1)
    table = np.zeros((8, 8), int)
    np.add.at(table, (labels, answers), 1)
    confusions = find(judged, found).confusions
    assert {(one.label, one.named): len(one.rows) for one in confusions} == {
        (i, j): table[i, j] for i in range(8) for j in range(8) if i != j and table[i, j]
    }
    assert len(confusions[0].rows) == (table - np.diag(np.diag(table))).max()


def test_a_clip_of_a_swapped_label_is_suspected(found):
    labels = list(found.clips.labels["activity"])
    sure = int(found.scores[CANDIDATE]["activity"].probabilities.max(axis=1).argmax())
    truth, labels[sure] = labels[sure], NAMES[(NAMES.index(labels[sure]) + 3) % 8]
    clips = dataclasses.replace(found.clips, labels={"activity": labels})
    scores = {
        role: {"activity": Scores.of(of["activity"].logits, of["activity"].centre_logits, NAMES, labels)}
        for role, of in found.scores.items()
    }
    swapped = dataclasses.replace(found, clips=clips, scores=scores)
    (one,) = judge(swapped)
    first = find(one, swapped).suspected[0]
    assert (first.row, one.names[first.suggestion]) == (sure, truth)


def test_every_kind_of_clip_is_shown_once_and_the_lost_ones_first(found, judged):
    shown = clips_to_show(found, assess(found, EvaluationConfig()), {"clip-100": "train-1", "no such clip": "train-2"})
    findings = find(judged, found)
    assert len(shown) == len(set(shown))
    assert shown[: len(findings.lost)] == [f"clip-{row}" for row in findings.lost]
    assert "clip-100" in shown
    assert {f"clip-{row}" for pair in findings.confusions for row in pair.rows[:1]} <= set(shown)


def test_the_number_of_clips_is_bounded_and_heads_take_turns():
    found = predictions(clips=3000, heads=("verb", "noun"), skill=1.0, production_skill=1.5)
    shown = clips_to_show(found, assess(found, EvaluationConfig()), {f"clip-{n}": "t" for n in range(3000)})
    assert 100 < len(shown) <= MOST_CLIPS
    rows = [int(clip.removeprefix("clip-")) for clip in shown[:60]]
    verb, noun, action = (one.lost for one in judge(found))
    assert all(lost[rows].sum() >= 20 for lost in (verb, noun, action))


def test_lists_take_turns_and_share_a_clip():
    assert in_turn([[1, 2, 3], [2, 4], []], 4) == [1, 2, 4, 3]
    assert in_turn([[1, 2, 3], [4]], 2) == [1, 4]


def test_all_heads_together_are_named_by_their_combination():
    found = predictions(heads=("verb", "noun"), production_skill=None)
    *_, action = judge(found)
    verbs, nouns = (np.array(found.clips.labels[head]) for head in ("verb", "noun"))
    assert action.name == "action"
    assert [action.names[label] for label in action.labels] == [f"{v}, {n}" for v, n in zip(verbs, nouns, strict=True)]
    np.testing.assert_array_equal(action.candidate.correct, action.candidate.named == action.labels)
    assert not action.lost.any() and not action.won.any()


def test_a_class_that_only_production_knows_has_a_name():
    found = predictions()
    theirs = found.models[PRODUCTION]
    renamed = dataclasses.replace(theirs, classes={"activity": ["climbing", *NAMES[1:]]})
    (one,) = judge(dataclasses.replace(found, models={**found.models, PRODUCTION: renamed}))
    assert one.names == [*NAMES, "climbing"]
    said = found.scores[PRODUCTION]["activity"].logits.argmax(axis=1)
    assert [one.names[name] == "climbing" for name in one.production.named] == (said == 0).tolist()
