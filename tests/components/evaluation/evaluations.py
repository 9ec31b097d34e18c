"""Simulated evaluations: clips in groups, of which the truth is known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Design:
    """How clips come in groups.

    Attributes:
      groups: Number of groups.
      clips: Fewest and most clips of a group.
      correlation: Of two clips of a group (intra-class).
    """

    groups: int
    clips: tuple[int, int] = (1, 8)
    correlation: float = 0.0

    def __str__(self) -> str:
        fewest, most = self.clips
        return f"{self.groups} groups of {fewest} to {most} clips, correlation {self.correlation}"

    def accuracies(self, accuracy: float, count: int = 1000) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Evaluations of a model of this accuracy: whether each clip is right, and its group."""
        for outcome, group in self.outcomes([accuracy, 1 - accuracy], count):
            yield outcome == 0, group

    def pairs(self, discordant: float, difference: float, count: int = 1000) -> Iterator[tuple[np.ndarray, ...]]:
        """Evaluations of two models: whether each is right on each clip, and the clip's group."""
        won, lost = (discordant + difference) / 2, (discordant - difference) / 2
        for outcome, group in self.outcomes([won, lost, 0.7 - won, 0.3 - lost], count):
            yield (outcome == 0) | (outcome == 2), (outcome == 1) | (outcome == 2), group

    def outcomes(self, shares: list[float], count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Draws an outcome of each clip: its group has shares of its own, from a Dirichlet distribution."""
        rng = np.random.default_rng(
            [self.groups, *self.clips, int(100 * self.correlation), *np.int64(1e3 * np.array(shares))]
        )
        for _ in range(count):
            group = np.repeat(np.arange(self.groups), rng.integers(self.clips[0], self.clips[1] + 1, self.groups))
            own = np.tile(shares, (self.groups, 1))
            if self.correlation:
                gamma = np.maximum(rng.gamma(own * (1 / self.correlation - 1)), 1e-300)
                own = gamma / gamma.sum(axis=1, keepdims=True)
            drawn = rng.random(len(group))[:, np.newaxis]
            yield np.minimum((drawn > np.cumsum(own, axis=1)[group]).sum(axis=1), len(shares) - 1), group


def coverage(truth: float, intervals) -> float:
    """Share of intervals that have the truth within them."""
    return float(np.mean([interval.low - 1e-12 <= truth <= interval.high + 1e-12 for interval in intervals]))
