"""What looks odd about a data set and a recipe: pure functions of both, before anything is decoded.

Contract: each yields sentences that name what it found, with an example, and the setting or the column that answers it;
nothing where nothing is odd. None of it stops a run.
"""

from __future__ import annotations

import collections
import os
import re
from collections.abc import Iterator, Mapping, Sequence

from components.manifest.reader import Clip, Manifest
from components.manifest.table import split_named
from components.storage.record_files import is_record
from pipeline.plan.names import mirrored, mistyped, nearly_equal
from pipeline.recipe import Recipe

# Figures of a class on fewer clips say little.
_FEW = 10
# More values than this, each of fewer clips than two on average, are names of clips.
_MANY_VALUES = 50
_SHOWN = 3
_ONE_NAME = "give them one name if they are one class"
# Two clips of which more than this share of the shorter one overlaps show the same.
_OVERLAP = 0.5
# What a header states and what is decoded differ a little, in seconds.
_TOLERANCE = 1.0
# Columns that say whom or what clips have in common.
_SOURCE = re.compile(
    r"(subject|person|participant|patient|actor|performer|signer|speaker|player|user|driver|volunteer|video|movie|film|"
    r"youtube|yt|source|session|recording|sequence)(id|name|no|number|idx|index)?"
)


def oddities(manifest: Manifest, recipe: Recipe, seconds: Mapping[str, float]) -> list[str]:
    """All that looks odd; `seconds` has the length of videos, by path, of those that are known."""
    found = [
        class_names,
        directions,
        class_counts,
        few_clips,
        misplaced,
        doubles,
        overlaps,
        many_values,
        shared_sources,
    ]
    return [
        *(sentence for find in found for sentence in find(manifest, recipe)),
        *beyond_the_end(manifest, seconds),
        *short_clips(manifest, recipe, seconds),
    ]


def class_names(manifest: Manifest, recipe: Recipe) -> Iterator[str]:
    """Classes whose names are nearly equal."""
    for head in manifest.heads:
        counts = collections.Counter(clip.labels[head] for clip in manifest.clips)
        for group in nearly_equal(counts):
            yield f"{head}: {_counted(group, counts)} differ in case, blanks or signs only: {_ONE_NAME}"
        for pair in mistyped(counts):
            yield f"{head}: {_counted(pair, counts)} differ in one letter: {_ONE_NAME}"


def directions(manifest: Manifest, recipe: Recipe) -> Iterator[str]:
    """Classes that differ by side or by sense of rotation, where clips are flipped."""
    for head in manifest.heads if recipe.augment.flip else ():
        if names := mirrored(manifest.classes(head)):
            yield (
                f"{head}: {_some(names)} may be mirror images of each other, and augment.flip={recipe.augment.flip:g} "
                "mirrors clips without changing their class: set augment.flip=0"
            )


def class_counts(manifest: Manifest, recipe: Recipe) -> Iterator[str]:
    """Another number of classes than the recipe states."""
    wanted, found = recipe.data.num_classes, tuple(len(manifest.classes(head)) for head in manifest.heads)
    if wanted and wanted != found:
        yield (
            f"data.num_classes is {_numbers(wanted)}, but the data have {_numbers(found)} classes of "
            f"{' and '.join(manifest.heads)}, which are trained: is one missing?"
        )


def few_clips(manifest: Manifest, recipe: Recipe) -> Iterator[str]:
    """Classes with few clips to learn from, or to be judged by."""
    splits = {"train": "they are hardly learnt", recipe.evaluation.split: "figures by class are rough"}
    for head in manifest.heads:
        names = manifest.classes(head)
        for split, consequence in splits.items():
            counts = collections.Counter(clip.labels[head] for clip in manifest.split(split))
            few = sorted((name for name in names if counts[name] < _FEW), key=lambda name: counts[name])
            if few:
                yield (
                    f"{head}: {len(few)} of {len(names)} classes have fewer than {_FEW} clips in {split} "
                    f"({few[0]!r} {counts[few[0]]}), so {consequence}: add clips, or move some in column 'split'"
                )


def misplaced(manifest: Manifest, recipe: Recipe) -> Iterator[str]:
    """Clips below folders of splits, of which those in train are in another one's, or the reverse."""
    folders = {clip.id: splits[-1] for clip in manifest.clips if (splits := _split_folders(clip.path))}
    if "train" in folders.values() and len(set(folders.values())) > 1:
        wrong = [c for c in manifest.clips if c.id in folders and (folders[c.id] == "train") != (c.split == "train")]
        if wrong:
            yield (
                f"{len(wrong):,} clip(s) are not in the split that their folder names, e.g. {wrong[0].id!r} in "
                f"{wrong[0].split}: add or mend the column 'split'"
            )


def _split_folders(path: str) -> list[str]:
    return [split for folder in os.path.dirname(path).split("/") if (split := split_named(folder))]


def doubles(manifest: Manifest, recipe: Recipe) -> Iterator[str]:
    """Clips of one segment of one video."""
    same = collections.defaultdict(list)
    for clip in manifest.clips:
        same[_video(clip), clip.start, clip.end].append(clip)
    groups = [group for group in same.values() if len(group) > 1]
    for words, is_of_kind in (("", _agree), (" under another class", lambda group: not _agree(group))):
        of_kind = [group for group in groups if is_of_kind(group)]
        if of_kind:
            again = sum(map(len, of_kind)) - len(of_kind)
            yield f"{again:,} clip(s) stand twice{words}, {_pair(of_kind[0])}: leave one row of each"


def _video(clip: Clip) -> str:
    """The path of a video, however it is written."""
    return os.path.normpath(clip.path) if "/." in clip.path else clip.path


def overlaps(manifest: Manifest, recipe: Recipe) -> Iterator[str]:
    """Clips of one video and several classes which show mostly the same."""
    of_video = collections.defaultdict(list)
    for clip in manifest.clips:
        if not is_record(clip.path):
            of_video[_video(clip)].append(clip)
    pairs = [pair for clips in of_video.values() if len(clips) > 1 for pair in _overlapping(clips)]
    if pairs:
        yield (
            f"{len(pairs):,} pair(s) of clips of several classes show mostly the same, {_pair(pairs[0])}: see their "
            "columns 'start' and 'end'"
        )


def many_values(manifest: Manifest, recipe: Recipe) -> Iterator[str]:
    """Slices with about as many values as clips."""
    for name in manifest.slices:
        values = collections.Counter(clip.slices[name] for clip in manifest.clips if name in clip.slices)
        if len(values) > _MANY_VALUES and len(values) * 2 > values.total():
            yield (
                f"column {name!r} has {len(values):,} values on {values.total():,} clips, too many to slice by: rename "
                "it to 'group' if it says which clips belong together, or name other columns in data.slices"
            )


def shared_sources(manifest: Manifest, recipe: Recipe) -> Iterator[str]:
    """People or sources in several splits, where no column says that they belong together."""
    if not all(clip.path.endswith(clip.group) for clip in manifest.clips):
        return
    for name in manifest.slices:
        if _SOURCE.fullmatch(re.sub(r"[\W_]+", "", name.lower())):
            splits = collections.defaultdict(set)
            for clip in manifest.clips:
                splits[clip.slices.get(name)].add(clip.split)
            splits.pop(None, None)
            shared = [value for value, found in splits.items() if "train" in found and len(found) > 1]
            if shared:
                yield (
                    f"column {name!r}: {len(shared):,} of {len(splits):,} values are in several splits: rename it to "
                    "'group' to keep the clips of each together"
                )


def beyond_the_end(manifest: Manifest, seconds: Mapping[str, float]) -> Iterator[str]:
    """Segments that end after their video."""
    known = [clip for clip in manifest.clips if clip.path in seconds]
    late = [clip for clip in known if (clip.end or clip.start) > seconds[clip.path] + _TOLERANCE]
    if late:
        clip = late[0]
        yield (
            f"{len(late):,} of {len(known):,} clips end after their video, {clip.id!r} at {clip.end or clip.start:g} s "
            f"of {seconds[clip.path]:.1f} s: are 'start' and 'end' in seconds?"
        )


def short_clips(manifest: Manifest, recipe: Recipe, seconds: Mapping[str, float]) -> Iterator[str]:
    """Clips that are shorter than what the network sees of a clip."""
    clip, fps = recipe.clip, recipe.ingest.fps
    dense = clip.sampling == "dense"
    wanted = ((clip.num_frames - 1) * clip.stride + 1 if dense else clip.num_frames) / fps
    lengths = [length for c in manifest.clips if (length := _length(c, seconds.get(c.path))) is not None]
    # Half a frame: rounding takes one more or less.
    short = sum(length < wanted - 0.5 / fps for length in lengths)
    if short:
        known = "" if len(lengths) == len(manifest.clips) else " whose length is known"
        remedy = (
            f"start again within it: lower clip.stride={clip.stride}"
            if dense
            else "show frames twice: raise ingest.fps"
        )
        yield (
            f"{short:,} of {len(lengths):,} clips{known} are shorter than the {wanted:.2f} s of a view, and {remedy} "
            f"(clip.num_frames={clip.num_frames}, ingest.fps={fps:g})"
        )


def _length(clip: Clip, duration: float | None) -> float | None:
    """The length of a clip, or None where nothing says it."""
    ends = [end for end in (clip.end, duration) if end is not None]
    return max(min(ends) - clip.start, 0.0) if ends else None


def _agree(clips: Sequence[Clip]) -> bool:
    return all(clip.labels == clips[0].labels for clip in clips)


def _overlapping(clips: Sequence[Clip]) -> Iterator[tuple[Clip, Clip]]:
    """Pairs of clips of one video and different classes, of which the shorter one is mostly in both; not equal ones."""
    ends = {clip.id: float("inf") if clip.end is None else clip.end for clip in clips}
    running: list[Clip] = []
    for clip in sorted(clips, key=lambda clip: clip.start):
        end = ends[clip.id]
        running = [other for other in running if ends[other.id] > clip.start]
        for other in running:
            shared = min(ends[other.id], end) - clip.start
            shorter = min(end - clip.start, ends[other.id] - other.start)
            is_equal = (other.start, other.end) == (clip.start, clip.end)
            if not is_equal and other.labels != clip.labels and (shared > _OVERLAP * shorter or shared == float("inf")):
                yield other, clip
        running.append(clip)


def _pair(clips: Sequence[Clip]) -> str:
    """Two clips as an example, with their classes where these differ."""
    one, other = next(((a, b) for a in clips for b in clips if a.labels != b.labels), clips[:2])
    if one.labels == other.labels:
        return f"e.g. {one.id!r} and {other.id!r}"
    return "e.g. " + " and ".join(f"{clip.id!r} ({', '.join(clip.labels.values())})" for clip in (one, other))


def _counted(names: Sequence[str], counts: Mapping[str, int]) -> str:
    return " and ".join(f"{name!r} ({counts[name]:,})" for name in names)


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:_SHOWN]))
    return f"{shown}, …" if len(names) > _SHOWN else shown


def _numbers(numbers: Sequence[int]) -> str:
    return " and ".join(f"{number:,}" for number in numbers)
