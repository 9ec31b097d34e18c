"""Suspected label errors: confident learning on probabilities of clips that were not trained on."""

import numpy as np
import pytest

from components.evaluation.label_errors import suspected_label_errors


def held_out(clips=600, classes=5, wrong=30, seed=0):
    """Probabilities of a good model, ids of which some are wrong, and the true ids."""
    draw = np.random.default_rng(seed)
    truth = draw.integers(classes, size=clips)
    logits = draw.normal(size=(clips, classes))
    logits[np.arange(clips), truth] += 4
    ids = truth.copy()
    ids[:wrong] = (truth[:wrong] + 1) % classes
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return probabilities, ids, truth


def test_wrong_labels_are_found_with_the_class_that_they_should_be():
    probabilities, ids, truth = held_out()
    suspects = suspected_label_errors(probabilities, ids)
    assert len({suspect.row for suspect in suspects} & set(range(30))) >= 25
    assert all(suspect.suggestion == truth[suspect.row] for suspect in suspects[:20])
    assert {suspect.row for suspect in suspects[:20]} <= set(range(30))


def test_the_surest_come_first():
    scores = [suspect.score for suspect in suspected_label_errors(*held_out()[:2])]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 0.9


def test_a_class_of_which_the_model_is_never_sure_needs_less():
    # By hand: the mean of the clips labelled 0 is 0.9, of those labelled 1 is 0.4. The last clip, labelled 0, is more
    # probably of class 0, but no less than usual of class 1.
    probabilities = np.array([[0.95, 0.05], [0.95, 0.05], [0.6, 0.4], [0.6, 0.4], [0.55, 0.45]])
    ids = np.array([0, 0, 1, 1, 0])
    (suspect,) = suspected_label_errors(probabilities, ids)
    assert (suspect.row, suspect.suggestion) == (4, 1)
    assert suspect.score == pytest.approx(-0.1)


def test_labels_that_the_model_does_not_know_are_left_out_and_rows_keep_their_numbers():
    probabilities, ids, _ = held_out()
    padded = np.concatenate([probabilities[:7], probabilities])
    suspects = suspected_label_errors(padded, np.concatenate([np.full(7, -1), ids]))
    assert [(row - 7, *rest) for row, *rest in suspects] == [
        tuple(one) for one in suspected_label_errors(*held_out()[:2])
    ]


def test_a_class_without_clips_is_never_suggested():
    probabilities = np.array([[0.1, 0.1, 0.8], [0.1, 0.1, 0.8]])
    assert suspected_label_errors(probabilities, np.array([0, 1])) == []
    assert suspected_label_errors(np.zeros((0, 3)), np.zeros(0, int)) == []


def test_probabilities_of_other_clips_are_an_error():
    with pytest.raises(ValueError, match=r"got \(2, 3\) and \(3,\)"):
        suspected_label_errors(np.ones((2, 3)), np.zeros(3, int))
