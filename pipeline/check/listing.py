"""The data set that a checked source is, as `vivit run` reads it."""

from __future__ import annotations

from collections.abc import Sequence

from components.manifest.listing import ListedClip, is_table
from components.manifest.reader import Manifest, read_manifest
from components.manifest.table import ManifestError


def data_set(
    source: str, clips: Sequence[ListedClip], *, heads: Sequence[str], slices: Sequence[str] | None
) -> tuple[Manifest | None, tuple[str, ...]]:
    """The data set as `vivit run` reads it, with the heads and slices of its recipe, or why the run would refuse it.

    For a video, and for a folder without folders of classes, returns None and no problem.
    """
    if not is_table(source) and not any(clip.label for clip in clips):
        return None, ()
    try:
        return read_manifest(source, heads=heads, slices=slices), ()
    except ManifestError as error:
        return None, error.problems
