"""A part of the training clips that chooses: among heads, or among the weights that training passes through."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np


class OneGroupError(ValueError):
    """All clips are of one group, of which no part can be held out."""


def held_out(groups: Sequence[str], share: float) -> np.ndarray:
    """Which clips are held out, bool [N]: those of some groups, at least `share` of all clips, but not every group.

    The groups' names decide, so that the same ones are held out whoever asks.

    Raises:
      OneGroupError: If there is one group alone.
    """
    members: dict[str, list[int]] = {}
    for number, group in enumerate(groups):
        members.setdefault(group, []).append(number)
    if len(members) < 2:
        raise OneGroupError(
            f"a part of the training groups is held out, and all training clips are of one group, {groups[0]!r}: give "
            "the clips their groups"
        )
    held = np.zeros(len(groups), bool)
    for group in sorted(members, key=lambda name: hashlib.sha256(name.encode()).digest())[:-1]:
        if held.sum() >= share * len(groups):
            break
        held[members[group]] = True
    return held
