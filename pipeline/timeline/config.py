"""The settings of segments; light to import, as the command's help shows their defaults."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class SegmentConfig:
    """How segments are made of scores.

    Attributes:
      on: Score that a class must reach somewhere in a segment.
      off: Score that it must keep throughout a segment.
      least: Seconds; shorter segments are left out.
      smooth: Standard deviation of the Gaussian over the scores in time, seconds; 0 is off, None an eighth of a window.
      background: Classes that mean that nothing happens.
    """

    on: float = 0.8
    off: float = 0.6
    least: float = 0.0
    smooth: float | None = None
    background: tuple[str, ...] = ()

    def __post_init__(self):
        if not 0 < self.off <= self.on <= 1:
            raise ValueError(f"--on {self.on:g}, --off {self.off:g}: wanted 0 < off <= on <= 1")
        if min(self.least, self.smooth or 0) < 0:
            raise ValueError(f"--least {self.least}, --smooth {self.smooth}: wanted seconds, 0 or more")
