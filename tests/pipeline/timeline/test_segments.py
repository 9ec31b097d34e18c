"""Segments of scores: where they begin and end, what is left out, which class wins."""

import numpy as np
import pytest

from pipeline.timeline.config import SegmentConfig
from pipeline.timeline.segments import evidence, find_segments, smoothed, sure
from pipeline.timeline.timeline import Head, Timeline

MIDDLES = np.arange(5, 100, 10, dtype=float)


def segments(*curves, **settings):
    """Of ten windows, 10 frames apart, over 100 frames at 10 a second."""
    names = [chr(ord("a") + number) for number in range(len(curves))]
    config = SegmentConfig(**{"on": 0.6, "off": 0.5, "least": 0.0, "smooth": 0.0, **settings})
    found = find_segments(
        np.array(curves, np.float32).T, MIDDLES, names=names, frames=100, window=20, fps=10, config=config
    )
    return [(one.name, one.start, one.end) for one in found]


def test_a_segment_begins_and_ends_where_the_line_between_two_windows_crosses_the_lower_threshold():
    # From 0 at frame 25 to 1 at 35, and back from 55 to 65: 0.5 in the middle of each.
    assert segments([0, 0, 0, 1, 1, 1, 0, 0, 0, 0]) == [("a", 3.0, 6.0)]


@pytest.mark.parametrize("off", [0.2, 0.35, 0.5, 0.65, 0.8])
def test_where_a_segment_begins_does_not_depend_on_the_threshold(off):
    """Windows of 20 frames, of which a share shows the class from frame 30 to frame 60."""
    starts = np.arange(0, 81, 10)
    shares = [[np.clip(min(60, start + 20) - max(30, start), 0, 20) / 20] for start in starts]
    (found,) = find_segments(
        np.array(shares), starts + 10.0, names=["a"], frames=100, window=20, fps=10, config=SegmentConfig(0.9, off)
    )
    assert (found.start, found.end) == pytest.approx((3.0, 6.0), abs=0.1)


def test_a_class_that_does_not_reach_the_upper_threshold_is_not_there():
    assert segments([0, 0.59, 0.59, 0, 0, 0, 0.61, 0, 0, 0]) == [("a", 6.3, 6.7)]


def test_a_dip_that_stays_over_the_lower_threshold_ends_nothing():
    assert segments([0, 0, 1, 0.5, 1, 0, 0, 0, 0, 0]) == [("a", 2.0, 5.0)]
    assert segments([0, 0, 1, 0.3, 1, 0, 0, 0, 0, 0]) == [("a", 2.0, 3.2), ("a", 3.8, 5.0)]


def test_at_the_ends_of_the_video_a_segment_is_clipped_to_it():
    assert segments([1, 0, 0, 0, 0, 0, 0, 0, 0, 1]) == [("a", 0.0, 1.0), ("a", 9.0, 10.0)]
    assert segments([1] * 10) == [("a", 0.0, 10.0)]


def test_short_segments_are_left_out():
    curve = [0, 1, 0, 0, 1, 1, 1, 0, 0, 0]
    assert segments(curve, least=1.1) == [("a", 4.0, 7.0)]
    assert len(segments(curve, least=1.0)) == 2


def test_the_class_with_the_highest_score_wins_and_segments_do_not_overlap():
    found = segments([0.6, 0.6, 0.9, 0.9, 0.6, 0, 0, 0, 0, 0], [0, 0, 0.6, 0.95, 0.95, 0.95, 0.95, 0, 0, 0])
    assert [name for name, _, _ in found] == ["a", "b"]
    assert found[0][2] == found[1][1] == pytest.approx(3.4)


def test_a_background_class_wins_its_time_and_is_no_segment():
    found = segments([0.7] * 10, [0, 0, 0, 0, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9], background=("b",))
    assert found == [("a", 0.0, pytest.approx(4.3, abs=0.1))]


def test_the_score_is_the_mean_over_the_frames():
    config = SegmentConfig(on=0.6, off=0.5, smooth=0.0)
    scores = np.array([[0.8]] * 5 + [[0.6]] * 5)
    (found,) = find_segments(scores, MIDDLES, names=["a"], frames=100, window=20, fps=10, config=config)
    assert found.score == pytest.approx(0.7, abs=0.001)


def test_no_smoothing_changes_nothing_and_smoothing_keeps_the_sum_of_classes():
    scores = np.random.default_rng(0).dirichlet([1, 1, 1], 50).astype(np.float32)
    assert smoothed(scores, 0.5, 0.0) is scores
    soft = smoothed(scores, 0.5, 1.0)
    assert soft.std() < scores.std()
    np.testing.assert_allclose(soft.sum(axis=1), 1, atol=1e-5)


def test_evidence_is_the_divergence_of_the_uniform_probabilities_and_of_any_logits_the_same():
    assert evidence(np.full([2, 5], 0.2)) == pytest.approx([0, 0], abs=1e-9)
    assert evidence(np.array([0.5, 0.25, 0.25])) == pytest.approx(np.log(1 / 3 / np.array([0.5, 0.25, 0.25])).mean())
    assert np.isfinite(evidence(np.array([1.0, 0.0])))


def test_a_probability_counts_less_where_the_model_has_less_evidence_than_on_what_it_knows():
    known, nothing = [0.93, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01], [0.65, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05]
    scores = np.array([known, nothing, [1 / 8] * 8], np.float32)
    least = sure(scores, float(evidence(np.array(known))))
    assert least[0, 0] == pytest.approx(0.93 / (1 + np.exp(-6)), rel=1e-5)
    assert least[1, 0] < 0.25 and least[2, 0] < 0.01
    for unknown in (None, 0.0):
        np.testing.assert_array_equal(sure(scores, unknown), scores)


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"on": 0.4, "off": 0.5}, "0 < off <= on <= 1"),
        ({"on": 1.5}, "wanted"),
        ({"off": 0.0}, "wanted"),
        ({"least": -1.0}, "0 or more"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, error):
    with pytest.raises(ValueError, match=error):
        SegmentConfig(**settings)


def test_a_document_keeps_the_evidence_that_its_segments_follow_from():
    scores = np.array([[0.9, 0.05, 0.05]] * 5, np.float32)
    middles = np.arange(0, 40, 8)
    found = {}
    for known in (None, 0.5, 5.0):
        head = Head("h", ["a", "b", "c"], scores, [], known)
        made = Timeline("v", "m", 10.0, 48, 16, 8, middles, [head], SegmentConfig()).with_segments(SegmentConfig())
        read = Timeline.from_json(made.to_json())
        assert read.heads[0].evidence == known
        assert read.with_segments(SegmentConfig()).heads[0].segments == made.heads[0].segments
        found[known] = len(made.heads[0].segments)
    assert found == {None: 1, 0.5: 1, 5.0: 0}
