"""One line of a parity report: our numbers compared with the reference's."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What was compared, and the difference.

    Attributes:
      name: The case.
      compared: Which numbers of the case.
      max_abs_error: Largest absolute difference; infinite where shapes differ or a value is not a number.
      tolerance: Largest difference that passes; 0 requires equality.
    """

    name: str
    compared: str
    max_abs_error: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the difference is within the tolerance."""
        return self.max_abs_error <= self.tolerance


def compare(name: str, compared: str, actual, expected, tolerance: float = 0.0) -> Comparison:
    """Compares two arrays of one shape and any numeric dtype."""
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    error = np.inf
    if actual.shape == expected.shape:
        error = float(np.max(np.abs(actual - expected), initial=0.0))
    return Comparison(name, compared, error if np.isfinite(error) else np.inf, tolerance)


def golden_cases(folder: Path) -> list[Path]:
    """Cases of one kind: its sub-folders, and its files by their common name, e.g. ``spatial`` of ``spatial.npz``."""
    files = (path.with_name(path.stem.removesuffix("_io")) for path in folder.iterdir() if path.is_file())
    return sorted({*files, *(path for path in folder.iterdir() if path.is_dir())})
