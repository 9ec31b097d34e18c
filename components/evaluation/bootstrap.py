"""Intervals of what is not a plain share: the mean over classes and the calibration error, by resampling groups.

Contract: whole groups (source videos) are drawn with replacement, from a fixed seed, so that the same clips give the
same interval. A statistic is a function of sums over clips, so that 2,000 replicates of 10,000 clips take about half
a second, in memory that does not grow with their number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from scipy import sparse, stats

from components.evaluation import calibration
from components.evaluation.statistics import CONFIDENCE, Interval, accuracy_interval, difference_interval

# From sums over clips, float64 [R, M], to the statistic of each replicate, [R].
Statistic = Callable[[np.ndarray], np.ndarray]

_SEED = 0
# Counts of groups that are in memory at a time.
_CHUNK = 2_000_000
# Steps of the factors that `GroupBootstrap.distance_interval` tries.
_FACTORS = 121


class GroupBootstrap:
    """Replicates of a set of clips, each of as many groups, drawn with replacement."""

    def __init__(self, groups: Sequence, *, replicates: int = 2000, confidence: float = CONFIDENCE):
        """Prepares replicates.

        Args:
          groups: Group of each clip, [N].
          replicates: Number of replicates, R.
          confidence: Share of evaluations in which an interval has the truth within it.

        Raises:
          ValueError: If there is no clip.
        """
        if not len(groups):
            raise ValueError("a bootstrap needs one clip or more")
        _, index = np.unique(np.asarray(groups), return_inverse=True)
        self._replicates = replicates
        self._groups = int(index.max()) + 1
        self._member = sparse.csr_matrix(
            (np.ones(len(index)), (index, np.arange(len(index)))), (self._groups, len(index))
        )
        # Percentiles are too close for few groups: as much wider as Student's interval is (Hesterberg 2015, §5.3).
        freedom = max(self._groups - 1, 1)
        self._widening = math.sqrt((freedom + 1) / freedom)
        self._t = stats.t.ppf(0.5 + confidence / 2, freedom)

    def interval(
        self, statistic: Statistic, summands: np.ndarray | sparse.spmatrix, bounds: tuple[float, float]
    ) -> Interval:
        """Percentile interval of a statistic, widened for few groups.

        Args:
          statistic: Of sums over clips; NaN where a replicate has none.
          summands: What is summed, [N, M]; sparse for one column per class.
          bounds: Smallest and largest value there can be: the interval if there is one group only.
        """
        value = float(statistic(self._total(summands))[0])
        if self._groups == 1:
            return Interval(value, *bounds)
        tail = stats.norm.cdf(-self._widening * self._t)
        replicates = np.concatenate([statistic(sums) for sums in self._sums(summands)])
        low, high = np.nanquantile(replicates, [tail, 1 - tail])
        return Interval(value, float(min(low, value)), float(max(high, value)))

    def distance_interval(self, summands: np.ndarray) -> Interval:
        """Interval of a sum of distances from zero: sum over m of |sum of column m| / N, as the calibration error is.

        Noise makes every distance larger, so that percentiles of replicates lie above the truth, and never reach the
        zero of a model without error. Instead: the interval has those factors for which the distances seen, times the
        factor, plus the noise of the replicates, give a sum such as the one seen.

        Args:
          summands: Signed, [N, M], at most 1 in size.
        """
        clips = self._member.shape[1]
        with_count = np.concatenate([summands, np.ones((clips, 1))], axis=1)
        seen = self._total(summands)[0] / clips
        value = float(np.abs(seen).sum())
        if self._groups == 1:
            return Interval(value, 0.0, 1.0)
        noise = np.concatenate([sums[:, :-1] / sums[:, -1:] for sums in self._sums(with_count)]) - seen
        noise *= self._widening
        tails = stats.norm.cdf([-self._t, self._t])
        most = np.quantile(np.abs(noise).sum(axis=1), tails[1])
        if not value:
            return Interval(0.0, 0.0, float(most))
        factors = np.linspace(0, 1 + most / value, _FACTORS)
        ends = np.array([np.quantile(np.abs(factor * seen + noise).sum(axis=1), tails) for factor in factors])
        # The value seen is shown within, though noise alone may put it above all that is possible.
        possible = [value, *factors[(ends[:, 0] <= value) & (value <= ends[:, 1])] * value]
        return Interval(value, float(min(possible)), float(min(1.0, max(possible))))

    def _total(self, summands: np.ndarray | sparse.spmatrix) -> np.ndarray:
        return np.asarray(summands.sum(axis=0), np.float64).reshape(1, -1)

    def _sums(self, summands: np.ndarray | sparse.spmatrix) -> Iterator[np.ndarray]:
        """Sums over the clips of each replicate, float64 [a part of R, M]."""
        by_group = sparse.csr_matrix(self._member @ sparse.csr_matrix(summands)).T
        rng = np.random.default_rng(_SEED)
        step = max(1, _CHUNK // self._groups)
        for start in range(0, self._replicates, step):
            rows = min(step, self._replicates - start)
            drawn = rng.integers(self._groups, size=(rows, self._groups))
            drawn += np.arange(rows)[:, np.newaxis] * self._groups
            times = np.bincount(drawn.ravel(), minlength=rows * self._groups).reshape(rows, self._groups)
            yield (by_group @ times.T.astype(np.float64)).T


def macro_accuracy_interval(
    correct: np.ndarray, labels: Sequence, groups: Sequence, confidence: float = CONFIDENCE
) -> Interval:
    """Interval of the mean over the classes that have clips of the share that is right.

    Where all clips are right, or all wrong, no replicate differs: then that of the plain share.

    Args:
      correct: bool [N].
      labels: True class of each clip, [N].
      groups: Group of each clip, [N].
      confidence: Share of evaluations in which the interval has the truth within it.

    Raises:
      ValueError: If there is no clip.
    """
    correct = np.asarray(correct, bool)
    if len(correct) and (correct.all() or not correct.any()):
        return accuracy_interval(correct, groups, confidence)
    bootstrap = GroupBootstrap(groups, confidence=confidence)
    return bootstrap.interval(_mean_over_classes, _by_class(correct, labels), (0.0, 1.0))


def macro_accuracy_difference(
    candidate_correct: np.ndarray,
    production_correct: np.ndarray,
    labels: Sequence,
    groups: Sequence,
    confidence: float = CONFIDENCE,
) -> Interval:
    """Interval of the candidate's macro accuracy less production's, on the same clips; as `macro_accuracy_interval`."""
    difference = np.asarray(candidate_correct, np.int8) - np.asarray(production_correct, np.int8)
    if len(difference) and not difference.any():
        return difference_interval(candidate_correct, production_correct, groups, confidence)
    bootstrap = GroupBootstrap(groups, confidence=confidence)
    return bootstrap.interval(_mean_over_classes, _by_class(difference, labels), (-1.0, 1.0))


def calibration_error_interval(
    probabilities: np.ndarray,
    correct: np.ndarray,
    groups: Sequence,
    *,
    adaptive: bool = False,
    confidence: float = CONFIDENCE,
) -> Interval:
    """Interval of the calibration error: the mean distance of confidence and accuracy over 15 bins.

    The bins are of equal width (ECE: Guo et al. 2017, equation 3), or adaptive: of equally many clips (Nguyen and
    O'Connor 2015), which confident models do not leave empty. The error is too high by chance where bins have few
    clips; compare it between models on the same clips.

    Args:
      probabilities: Of the most likely class, [N].
      correct: bool [N].
      groups: Group of each clip, [N].
      adaptive: Whether the bins have equally many clips.
      confidence: Share of evaluations in which the interval has the truth within it.

    Raises:
      ValueError: If there is no clip.
    """
    bootstrap = GroupBootstrap(groups, confidence=confidence)
    found = bootstrap.distance_interval(_by_bin(probabilities, correct, adaptive))
    correct = np.asarray(correct, bool)
    if 0 < correct.mean() < 1:
        return found
    # No replicate has an error where there is none: as unsure as the share of right clips.
    share = accuracy_interval(correct, groups, confidence)
    width = share.high - share.low
    return Interval(found.value, max(0.0, found.value - width), min(1.0, found.value + width))


def calibration_error_difference(
    candidate: tuple[np.ndarray, np.ndarray],
    production: tuple[np.ndarray, np.ndarray],
    groups: Sequence,
    *,
    adaptive: bool = False,
    confidence: float = CONFIDENCE,
) -> Interval:
    """Interval of the candidate's calibration error less production's, on the same clips.

    Args:
      candidate: Probabilities of the most likely class, [N], and whether it is right, bool [N].
      production: The same of the other model.
      groups: Group of each clip, [N].
      adaptive: As in `calibration_error_interval`; each model has its own bins.
      confidence: Share of evaluations in which the interval has the truth within it.

    Raises:
      ValueError: If there is no clip.
    """
    bootstrap = GroupBootstrap(groups, confidence=confidence)
    gaps = [_by_bin(*model, adaptive) for model in (candidate, production)]
    summands = np.concatenate([*gaps, np.ones((len(groups), 1))], axis=1)

    def difference(sums: np.ndarray) -> np.ndarray:
        ours, others = np.split(np.abs(sums[:, :-1]), 2, axis=1)
        return (ours.sum(axis=1) - others.sum(axis=1)) / sums[:, -1]

    return bootstrap.interval(difference, summands, (-1.0, 1.0))


def _by_class(values: np.ndarray, labels: Sequence) -> sparse.csr_matrix:
    """Sums of values and numbers of clips of each of K classes, as summands [N, 2 K]."""
    names, index = np.unique(np.asarray(labels), return_inverse=True)
    clips = np.arange(len(index))
    columns, rows = np.concatenate([index, index + len(names)]), np.concatenate([clips, clips])
    entries = np.concatenate([np.asarray(values, np.float64), np.ones(len(index))])
    return sparse.csr_matrix((entries, (rows, columns)), (len(index), 2 * len(names)))


def _mean_over_classes(sums: np.ndarray) -> np.ndarray:
    values, clips = np.split(sums, 2, axis=1)
    return (values / np.maximum(clips, 1)).sum(axis=1) / (clips > 0).sum(axis=1)


def _by_bin(probabilities: np.ndarray, correct: np.ndarray, adaptive: bool) -> np.ndarray:
    """Confidence less correctness of each clip in the column of its bin, [N, bins]."""
    bins = (calibration.equal_mass_bins if adaptive else calibration.equal_width_bins)(probabilities)
    summands = np.zeros((len(bins), calibration.BINS))
    summands[np.arange(len(bins)), bins] = np.asarray(probabilities, np.float64) - np.asarray(correct, np.float64)
    return summands
