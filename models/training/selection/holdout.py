"""A part of the training clips that chooses: among heads, or among the weights that training passes through."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np


class OneGroupError(ValueError):
    """All clips are of one group, of which no part can be held out."""


def held_out(groups: Sequence[str], share: float, labels: Iterable[np.ndarray] = ()) -> np.ndarray:
    """Which clips are held out, bool [N]: those of some groups, at least `share` of all clips, but not every group.

    The groups' names decide, so that the same ones are held out whoever asks. A group without which a class would have
    no clip is not held out, so that it may be less than `share`, or nothing.

    Args:
      groups: The group of each clip, N names.
      share: Of all clips.
      labels: Class ids of each head, int [N].

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
    held, ids = np.zeros(len(groups), bool), np.zeros((0, len(groups)), int)
    for of_head in labels:
        # No two heads have an id in common.
        ids = np.vstack([ids, of_head + ids.max(initial=-1) + 1])
    left = np.bincount(ids.ravel())
    for group in sorted(members, key=lambda name: hashlib.sha256(name.encode()).digest())[:-1]:
        if held.sum() >= share * len(groups):
            break
        taken = np.bincount(ids[:, members[group]].ravel(), minlength=len(left))
        if ((taken > 0) & (taken == left)).any():
            continue
        held[members[group]] = True
        left = left - taken
    return held
