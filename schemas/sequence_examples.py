"""Records of DMVR and MediaSequence: their keys, and the names of the files of a table (spec §4.1).

A record is a ``tf.train.SequenceExample``: one clip, its frames a feature list, the rest its context.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

# Feature list: one JPEG per frame.
FRAMES = "image/encoded"
# Context: class indices (int64), name of the video (bytes), start of the clip in it (int64, microseconds).
LABEL_INDICES = "clip/label/index"
FILENAME = "video/filename"
START = "clip/start/timestamp"


def expand_table(table: str | Sequence[str], base_dir: str) -> tuple[str, ...]:
    """Paths of a table of the reference's config: a list of names, one name, or ``name@N`` or ``name@N.ext``.

    ``name@N`` stands for name-00000-of-0000N and so on, all relative to `base_dir`.
    """
    if not isinstance(table, str):
        names = list(table)
    elif match := re.fullmatch(r"(.+)@(\d+)(\.\w+)?", table):
        name, count, extension = match.groups()
        names = [f"{name}-{shard:05d}-of-{int(count):05d}{extension or ''}" for shard in range(int(count))]
    else:
        names = [table]
    return tuple(os.path.join(base_dir, name) for name in names)
