"""mAP of segments: cases by hand, and a second implementation written from ActivityNet's definition alone."""

import numpy as np
import pytest

from components.evaluation.detection import TIOUS, Span, detection_score, temporal_iou


def truth(*spans, name="run", video="v"):
    return [Span(video, name, start, end) for start, end in spans]


def found(*spans, name="run", video="v"):
    return [Span(video, name, start, end, score) for start, end, score in spans]


def test_tiou_is_the_common_time_over_all_time():
    others = np.array([[0, 10], [5, 15], [10, 20], [2, 4]], float)
    assert temporal_iou((0, 10), others) == pytest.approx([1, 1 / 3, 0, 0.2])


def test_all_found_exactly_is_one_at_every_threshold():
    score = detection_score(truth((0, 10), (20, 30)), found((0, 10, 0.9), (20, 30, 0.2)))
    assert score.means.tolist() == [1.0] * 10
    assert score.average == 1.0


def test_a_threshold_that_an_overlap_does_not_reach_makes_it_a_miss():
    # tIoU 0.75.
    score = detection_score(truth((0, 8)), found((0, 6, 0.9)))
    assert score.means.tolist() == [1.0] * 6 + [0.0] * 4


def test_precision_is_the_best_at_that_recall_or_a_higher_one():
    # Right, wrong, right, of three: precision 1, 1/2, 2/3 at recall 1/3, 1/3, 2/3.
    score = detection_score(truth((0, 10), (20, 30), (40, 50)), found((0, 10, 0.9), (60, 70, 0.8), (20, 30, 0.7)))
    assert score.means[0] == pytest.approx((1 + 2 / 3) / 3)
    # Wrong, right, right: 0, 1/2, 2/3; the first right one counts with the 2/3 behind it.
    score = detection_score(truth((0, 10), (20, 30)), found((60, 70, 0.9), (0, 10, 0.8), (20, 30, 0.7)))
    assert score.means[0] == pytest.approx(2 / 3)


def test_a_truth_is_found_once_by_the_surest():
    score = detection_score(truth((0, 10)), found((0, 10, 0.5), (0, 9, 0.9)))
    # At 0.95 the surer one overlaps too little, and the other one takes it.
    assert score.means.tolist() == [1.0] * 9 + [0.5]


def test_a_second_detection_takes_the_next_truth_that_it_overlaps_enough():
    score = detection_score(truth((0, 10), (2, 12)), found((0, 11, 0.9), (1, 11, 0.8)), tious=(0.5,))
    assert score.means.tolist() == [1.0]


def test_classes_without_truth_are_left_out_and_those_without_detections_are_zero():
    score = detection_score(
        truth((0, 10)) + truth((0, 10), name="jump"), found((0, 10, 0.9)) + found((0, 10, 0.9), name="sit")
    )
    assert {name: values[0] for name, values in score.precision.items()} == {"jump": 0.0, "run": 1.0}
    assert score.means[0] == 0.5


def test_a_detection_in_another_video_is_wrong():
    assert detection_score(truth((0, 10)), found((0, 10, 0.9), video="other")).means[0] == 0.0


def test_no_truth_is_an_error():
    with pytest.raises(ValueError, match="no segment of truth"):
        detection_score([], found((0, 10, 0.9)))


def by_definition(truths, detections, tiou):
    """mAP with loops and sets alone, by the text of the challenge: no code in common."""
    by_class = []
    for name in {one.name for one in truths}:
        wanted = [one for one in truths if one.name == name]
        ranked = sorted((one for one in detections if one.name == name), key=lambda one: one.score, reverse=True)
        used, curve, right = set(), [], 0
        for rank, one in enumerate(ranked, start=1):
            best = None
            for place, other in enumerate(wanted):
                common = min(one.end, other.end) - max(one.start, other.start)
                total = max(one.end, other.end) - min(one.start, other.start)
                # Where spans do not meet, common is negative, and too small for any threshold.
                if other.video == one.video and place not in used and common / total >= tiou:
                    best = max(best or (0, 0), (common / total, -place))
            if best:
                used.add(-best[1])
                right += 1
            curve.append((right / len(wanted), right / rank))
        steps = sorted({recall for recall, _ in curve if recall})
        area, last = 0.0, 0.0
        for recall in steps:
            area += (recall - last) * max(precision for reached, precision in curve if reached >= recall)
            last = recall
        by_class.append(area)
    return sum(by_class) / len(by_class)


@pytest.mark.parametrize("seed", range(5))
def test_it_equals_a_second_implementation_on_random_segments(seed):
    rng = np.random.default_rng(seed)

    def spans(count, noise):
        for _ in range(count):
            start = rng.integers(0, 12) * 5 + rng.normal() * noise
            name, video = (rng.choice(names) for names in (["run", "jump", "sit"], ["a", "b", "c"]))
            yield Span(str(video), str(name), start, start + 8 + rng.normal() * noise, float(rng.random()))

    truths, detections = list(spans(40, 0.1)), list(spans(150, 1.0))
    score = detection_score(truths, detections)
    assert score.means == pytest.approx([by_definition(truths, detections, tiou) for tiou in TIOUS])
    assert 0 < score.average < 1
