"""Intervals cover the truth as often as they say; tests and corrections are those of scipy and statsmodels."""

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from components.evaluation import bootstrap, calibration, statistics
from tests.components.evaluation.evaluations import Design, coverage

DESIGNS = [
    Design(30, (1, 8), 0.1),
    Design(60, (1, 8), 0.2),
    Design(100, (2, 6), 0.5),
    Design(200, (1, 8), 0.3),
    Design(200, (1, 1), 0.0),
]


@pytest.mark.parametrize("design", DESIGNS, ids=str)
@pytest.mark.parametrize("accuracy", [0.5, 0.8, 0.9])
def test_the_interval_of_an_accuracy_covers_the_truth(design, accuracy):
    found = coverage(accuracy, (statistics.accuracy_interval(*one) for one in design.accuracies(accuracy)))
    assert 0.93 <= found <= 0.97, found


@pytest.mark.parametrize("design", DESIGNS, ids=str)
@pytest.mark.parametrize("difference", [0.0, 0.05])
def test_the_interval_of_a_difference_covers_the_truth(design, difference):
    found = coverage(difference, (statistics.difference_interval(*one) for one in design.pairs(0.2, difference)))
    assert 0.93 <= found <= 0.97, found


def test_of_independent_clips_the_interval_is_wilsons():
    correct = np.arange(50) < 41
    found = statistics.accuracy_interval(correct, np.arange(50))
    assert (found.low, found.high) == pytest.approx(proportion_confint(41, 50, method="wilson"), abs=1e-9)


@pytest.mark.parametrize("right", [0, 20])
def test_the_interval_of_none_or_all_right_has_a_width(right):
    found = statistics.accuracy_interval(np.arange(20) < right, np.arange(20))
    assert found.high - found.low > 0.1


def test_a_single_source_says_next_to_nothing():
    found = statistics.accuracy_interval(np.ones(50, bool), ["video"] * 50)
    assert found.low < 0.25


def test_no_clip_is_refused():
    with pytest.raises(ValueError, match="one clip or more"):
        statistics.accuracy_interval(np.zeros(0, bool), [])


@pytest.mark.parametrize(("lost", "won"), [(0, 0), (0, 6), (3, 9), (10, 10), (40, 15)])
def test_mcnemar_is_the_exact_one(lost, won):
    wanted = mcnemar([[50, lost], [won, 20]], exact=True).pvalue if lost + won else 1.0
    assert statistics.mcnemar_exact(lost, won) == pytest.approx(wanted)


def test_holm_is_that_of_statsmodels():
    p_values = np.random.default_rng(0).random(40) ** 3
    np.testing.assert_allclose(statistics.holm(p_values), multipletests(p_values, method="holm")[1])
    assert len(statistics.holm([])) == 0


def test_so_many_clips_as_are_needed_show_the_difference_in_four_of_five_evaluations():
    needed = statistics.clips_needed(0.05, 0.2)
    pairs = Design(needed, (1, 1)).pairs(0.2, 0.05, count=400)
    shown = np.mean([statistics.verdict(statistics.difference_interval(*one)) == "better" for one in pairs])
    assert 0.74 <= shown <= 0.86
    assert statistics.clips_needed(0.0, 0.2) is None


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        ((0.05, 0.01, 0.09), "better"),
        ((0.02, -0.01, 0.05), "no measurable change"),
        ((0.0, -0.01, 0.01), "no measurable change"),
        ((-0.02, -0.05, 0.01), "worse within noise"),
        ((-0.05, -0.09, -0.01), "worse"),
    ],
)
def test_each_of_the_four_verdicts(interval, verdict):
    assert statistics.verdict(statistics.Interval(*interval)) == verdict


def confident(count=2000, seed=0):
    """Confidences of a model that is surer than it is right."""
    rng = np.random.default_rng(seed)
    sure = rng.beta(5, 2, count)
    return sure, rng.random(count) < sure**1.5


def error_of(sure, correct, adaptive=False):
    """The calibration error itself, without its interval."""
    return bootstrap.calibration_error_interval(sure, correct, np.arange(len(sure)), adaptive=adaptive).value


def test_the_calibration_error_is_the_mean_distance_from_the_curve_of_scikit_learn():
    sure, correct = confident()
    accuracy, confidence = calibration_curve(correct, sure, n_bins=15)
    clips = np.histogram(sure, np.linspace(0, 1, 16))[0]
    wanted = np.sum(np.abs(accuracy - confidence) * clips[clips > 0]) / len(sure)
    assert error_of(sure, correct) == pytest.approx(wanted)


def test_the_adaptive_error_has_as_many_clips_in_each_bin():
    sure, correct = confident()
    assert set(np.bincount(calibration.equal_mass_bins(sure))) <= {133, 134}
    accuracy, confidence = calibration_curve(correct, sure, n_bins=15, strategy="quantile")
    wanted = np.mean(np.abs(accuracy - confidence))
    assert error_of(sure, correct, adaptive=True) == pytest.approx(wanted, abs=2e-3)


def test_the_interval_of_the_calibration_error_contains_that_of_many_clips():
    truth = error_of(*confident(20_000, seed=99))
    found = [bootstrap.calibration_error_interval(*confident(300, seed), np.arange(300)) for seed in range(1, 41)]
    assert coverage(truth, found) >= 0.85


def test_the_interval_of_the_macro_accuracy_covers_the_truth():
    rng, labels = np.random.default_rng(0), np.repeat(np.arange(4), [60, 60, 60, 20])
    shares = np.array([0.9, 0.8, 0.7, 0.4])
    found = [
        bootstrap.macro_accuracy_interval(rng.random(200) < shares[labels], labels, np.arange(200)) for _ in range(100)
    ]
    assert coverage(shares.mean(), found) >= 0.88


def test_coverage_falls_as_the_threshold_rises():
    sure, correct = confident()
    curve = calibration.coverage_curve(sure, correct)
    assert curve.coverage[0] == 1.0
    assert curve.accuracy[0] == pytest.approx(correct.mean())
    assert (np.diff(curve.threshold) > 0).all()
    assert (np.diff(curve.coverage) < 0).all()
    middle = len(curve.threshold) // 2
    answered = sure >= curve.threshold[middle]
    assert curve.accuracy[middle] == pytest.approx(correct[answered].mean())
