"""Amounts as people write them: cores, memory and durations.

Contract: each function returns a plain number or Kubernetes' own form, or raises ValueError with what it was given.
"""

from __future__ import annotations

import re

_BYTES = {
    "": 1,
    **{letter: 10 ** (3 * power) for power, letter in enumerate("kMGTP", start=1)},
    **{f"{letter}i": 2 ** (10 * power) for power, letter in enumerate("KMGTP", start=1)},
}
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def cores(value: float | str) -> float:
    """CPU cores of a number, or of a text such as ``500m``.

    Raises:
      ValueError: If it is neither, or not above 0.
    """
    number, unit = _parts(value, {"": 1, "m": 1e-3}, "a number of cores, e.g. 8, or 500m")
    return round(number * unit, 6)


def size(value: float | str) -> str:
    """An amount of memory or storage as Kubernetes writes it; a number is GiB.

    Raises:
      ValueError: If it is neither a number nor a quantity, or not above 0.
    """
    _bytes(value)
    return value if isinstance(value, str) else f"{value:g}Gi"


def gigabytes(value: float | str) -> float:
    """An amount of memory in units of 10^9 bytes, as a pipeline spec has it; a number is GiB.

    Raises:
      ValueError: As `size`.
    """
    return _bytes(value) / 1e9


def seconds(value: float | str) -> int:
    """Whole seconds of a number, or of a text such as ``90s``, ``30m``, ``12h`` or ``2d``.

    Raises:
      ValueError: If it is neither, or less than one second.
    """
    number, unit = _parts(value, _SECONDS, "a number of seconds, or a text such as 90s, 30m, 12h or 2d")
    if number * unit < 1:
        raise ValueError(f"is {value!r}; it must be one second or more")
    return int(number * unit)


def _bytes(value: float | str) -> float:
    wanted = "a number of GiB, or a quantity such as 64Gi or 500M"
    if not isinstance(value, str):
        value = f"{value:.9f}Gi"
    number, unit = _parts(value, _BYTES, wanted)
    return number * unit


def _parts(value: float | str, units: dict[str, float], wanted: str) -> tuple[float, float]:
    """The number and the size of its unit."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([A-Za-z]*)", str(value))
    if not match or match[2] not in units or float(match[1]) <= 0:
        raise ValueError(f"is {value!r}; it must be {wanted}, above 0")
    return float(match[1]), units[match[2]]
