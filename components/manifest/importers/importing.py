"""Imports a public data set: its annotations, joined with the videos that are there, become a manifest.

Contract: what comes out is accepted by `read_manifest`; what is left out is counted and listed with its reason, and
anything else that does not fit is refused with its file and row.
"""

from __future__ import annotations

import collections
import csv
import dataclasses
import io
import os
from collections.abc import Callable, Mapping, Sequence

from components.manifest.importers.annotations import LABEL, Annotation, Annotations, normal_path
from components.manifest.importers.dmvr import read_dmvr
from components.manifest.importers.epic_kitchens import read_epic_kitchens
from components.manifest.importers.kinetics import read_kinetics
from components.manifest.importers.moments_in_time import read_moments_in_time
from components.manifest.importers.something_something import read_something_something
from components.manifest.importers.split_lists import read_hmdb51, read_ucf101
from components.manifest.importers.tables import read_folders, read_tables
from components.manifest.importers.videos import VideoFolder, durations
from components.manifest.reader import Manifest, absolute_path, clip_name, read_manifest
from components.manifest.table import ManifestError, as_text
from components.storage import files
from schemas import features

READERS: Mapping[str, Callable[[Sequence[str]], Annotations]] = {
    "kinetics": read_kinetics,
    "epic-kitchens": read_epic_kitchens,
    "something-something": read_something_something,
    "moments-in-time": read_moments_in_time,
    "ucf101": read_ucf101,
    "hmdb51": read_hmdb51,
    "dmvr": read_dmvr,
    "folder": read_folders,
    "table": read_tables,
}

_NO_VIDEO = "no video"
# Cutting at keyframes and rounding leave clips a little longer than their segment, in seconds.
_TRIM_TOLERANCE = 1.0
# CVDF's Kinetics-400 has here, under the same names, clips that are damaged elsewhere.
_REPLACEMENTS = "replacement_for_corrupted"


@dataclasses.dataclass(frozen=True)
class Imported:
    """The result of an import.

    Attributes:
      manifest: The manifest, as it is read from the file that was written.
      classes: By head, the classes in the order of the publisher's ids, else in alphabetical order.
      left_out: By reason, the clips that are not in the manifest, each as its name and place.
      notes: Further remarks, for the reader.
    """

    manifest: Manifest
    classes: Mapping[str, tuple[str, ...]]
    left_out: Mapping[str, tuple[str, ...]]
    notes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class _Found:
    """An annotation with its video; `path` is relative to the folder of videos, or whole."""

    clip: Annotation
    path: str
    start: float | None
    end: float | None

    @property
    def id(self) -> str:
        return self.clip.id or clip_name(self.path, self.start, self.end)

    @property
    def group(self) -> str:
        return self.clip.group or self.path


def import_data_set(data_format: str, annotations: Sequence[str], *, videos: str | None, output: str) -> Imported:
    """Writes a manifest for the clips of a data set whose videos are there.

    Beside `output` come ``<output>.classes.txt`` and, if anything is left out, ``<output>.missing.txt``.

    Args:
      data_format: One of `components.manifest.importers.FORMATS`.
      annotations: Annotation files of all splits; for `folder` the folders themselves.
      videos: The folder below which the videos are; None for that of the first of the annotations. Tables in several
        folders have theirs beside them.
      output: The CSV file to write, at any URI.

    Raises:
      ManifestError: If a file, row or column cannot be used, or what comes out is no usable manifest.
      NoFileSystemError: If nothing here reads or writes a URI.
    """
    if not output.endswith(".csv"):
        raise ManifestError(output, ["a manifest is written as CSV; wanted a name that ends with .csv"])
    files.check_scheme(output)
    _check_sources(data_format, annotations, output)
    read = READERS[data_format](annotations)
    # Tables in several folders have files of the same names, each for itself.
    by_name = bool(videos) or data_format != "table" or len(set(map(os.path.dirname, annotations))) == 1
    folder = VideoFolder(videos or (os.path.dirname(annotations[0]) or "."), by_name=by_name)
    notes, problems = list(read.notes), []
    left_out: dict[str, list[Annotation]] = collections.defaultdict(list)
    found = _with_videos(_labelled(read, left_out, problems), folder, left_out, notes, problems)
    if problems:
        raise ManifestError(annotations[0], problems)
    found = _trained(_without_doubles(_with_trimmed(found, folder.root, left_out), left_out), left_out)
    if not found:
        among = {_NO_VIDEO: f" among the {len(folder)} in {folder.root}"} if _NO_VIDEO in left_out else {}
        reports = [f"{len(clips)} left out, {reason}{among.get(reason, '')}" for reason, clips in left_out.items()]
        raise ManifestError(annotations[0], reports or ["it lists no clip"])
    groups, straddling = _groups(found)
    missing = f"{output}.missing.txt"
    if left_out:
        lines = [f"{reason}\t{_name(clip)}\t{clip.where}" for reason, clips in left_out.items() for clip in clips]
        _write(missing, "".join(line + "\n" for line in lines))
    elif files.exists(missing):
        files.remove(missing)
    try:
        manifest = _written(output, _manifest_csv(found, groups, folder.root, output))
    except ManifestError as error:
        # The clips left out may be why the rest is no usable manifest.
        reports = [f"{len(clips)} clip(s) left out, {reason}: {missing}" for reason, clips in left_out.items()]
        raise ManifestError(output, [*error.problems, *reports]) from error
    classes = {head: read.classes.get(head) or tuple(manifest.classes(head)) for head in manifest.heads}
    _write(f"{output}.classes.txt", _classes_text(classes))
    if folder.skipped:
        reasons = ", ".join(f"{name} ({reason})" for name, reason in folder.skipped.items())
        notes.append(f"{len(folder.skipped)} folder(s) of {folder.root} are not listed: {reasons}")
    if straddling:
        notes.append(f"{straddling} source(s) have clips in several splits of the publisher: a group in each")
    listed = {reason: tuple(_name(clip) for clip in clips) for reason, clips in left_out.items()}
    return Imported(manifest, classes, listed, tuple(notes))


def _check_sources(data_format: str, annotations: Sequence[str], output: str) -> None:
    for path in annotations:
        files.check_scheme(path)
        if data_format != "folder" and files.is_folder(path):
            problem = "it is a folder; wanted annotation files, and --videos for the folder of the videos"
            raise ManifestError(path, [problem])
        if absolute_path("", normal_path(path)) == absolute_path("", normal_path(output)):
            raise ManifestError(output, ["it is one of the files to read; write the manifest to another"])


def _written(output: str, text: str) -> Manifest:
    """Writes a manifest and reads it; one that is refused does not replace the file that was there."""
    # Beside it, as paths are relative to the manifest.
    unchecked = f"{output.removesuffix('.csv')}.unchecked.csv"
    _write(unchecked, text)
    try:
        manifest = read_manifest(unchecked)
    except ManifestError:
        files.remove(unchecked)
        raise
    files.rename(unchecked, output)
    return dataclasses.replace(manifest, source=output)


def _name(clip: Annotation) -> str:
    return clip.id or (*clip.names, *clip.source_names)[-1]


def _labelled(read: Annotations, left_out, problems: list[str]) -> list[Annotation]:
    """The clips that have a class for each head."""
    known = {head: set(names) for head, names in read.classes.items()}
    heads = dict.fromkeys(head for clip in read.clips for head in clip.labels)
    answered = {clip.id for clip in read.clips if clip.labels}
    labelled = []
    for clip in read.clips:
        unlabelled = [head for head in heads if not clip.labels.get(head)]
        if clip.unusable:
            left_out[clip.unusable].append(clip)
        elif not clip.labels:
            if not clip.id or clip.id not in answered:
                left_out["no class is given"].append(clip)
        elif unlabelled:
            left_out[f"no class of {' and '.join(unlabelled)} is given"].append(clip)
        else:
            labelled.append(clip)
            for head, label in clip.labels.items():
                if head in known and label not in known[head]:
                    problems.append(f"{clip.where}: {label!r} is not among the classes of {head}")
    return labelled


def _with_videos(
    clips: Sequence[Annotation], folder: VideoFolder, left_out, notes: list[str], problems: list[str]
) -> list[_Found]:
    """The clips that have a video."""
    found, replaced = [], set()
    for clip in clips:
        if clip.path:
            found.append(_Found(clip, folder.below(clip.path), clip.start, clip.end))
            continue
        own = next(filter(None, (folder.find(name, clip.folder) for name in clip.names)), [])
        candidates = own or next(filter(None, (folder.find(name, clip.folder) for name in clip.source_names)), [])
        replacements = [path for path in candidates if _REPLACEMENTS in path]
        if replacements and len(candidates) > 1:
            candidates = replacements
            replaced.update(replacements)
        if not candidates:
            left_out[_NO_VIDEO].append(clip)
        elif len(candidates) > 1:
            problems.append(f"{clip.where}: several videos are called so: {', '.join(candidates)}; leave one of them")
        elif (path := absolute_path(folder.root, candidates[0])) != as_text(path):
            left_out["the path of its video is not UTF-8"].append(clip)
        else:
            found.append(_Found(clip, candidates[0], *((None, None) if own else (clip.start, clip.end))))
    if replaced:
        notes.append(f"{len(replaced)} clip(s) have a second video below {_REPLACEMENTS}…, which is taken")
    return found


def _with_trimmed(found: list[_Found], root: str, left_out) -> list[_Found]:
    """Uses a file named like its source as a whole if it is the clip itself: if it is no longer than the clip."""

    def is_doubtful(clip: _Found) -> bool:
        return bool(clip.clip.names) and clip.end is not None

    seconds = durations({absolute_path(root, clip.path) for clip in found if is_doubtful(clip)})
    kept = []
    for clip in found:
        if is_doubtful(clip):
            duration = seconds[absolute_path(root, clip.path)]
            if duration is None:
                left_out["its video states no duration: the clip, or its source?"].append(clip.clip)
                continue
            if duration <= clip.end - clip.start + _TRIM_TOLERANCE:
                clip = dataclasses.replace(clip, start=None, end=None)
        if clip.end is not None and clip.end <= (clip.start or 0):
            left_out["its end is not after its start"].append(clip.clip)
        else:
            kept.append(clip)
    return kept


def _without_doubles(found: list[_Found], left_out) -> list[_Found]:
    """Takes each clip once, and each file as a whole once; the first stays."""
    first: dict[str | tuple[str], _Found] = {}
    kept = []
    for clip in found:
        keys = [clip.id, *([(clip.path,)] if (clip.start, clip.end) == (None, None) else [])]
        other = next((first[key] for key in keys if key in first), None)
        if other is None:
            kept.append(clip)
            first.update(dict.fromkeys(keys, clip))
        elif clip.clip.split != other.clip.split:
            left_out["stands already, in another split"].append(clip.clip)
        elif clip.clip.labels != other.clip.labels:
            left_out["stands already, with another class"].append(clip.clip)
        else:
            left_out["stands twice"].append(clip.clip)
    return kept


def _trained(found: list[_Found], left_out) -> list[_Found]:
    """Leaves out clips of classes without a training clip: they can be neither learnt nor scored."""
    if not all(clip.clip.split for clip in found) or not any(clip.clip.split == "train" for clip in found):
        return found
    trained = {item for clip in found if clip.clip.split == "train" for item in clip.clip.labels.items()}
    kept = [clip for clip in found if trained.issuperset(clip.clip.labels.items())]
    untrained = [clip.clip for clip in found if not trained.issuperset(clip.clip.labels.items())]
    if untrained:
        left_out["its class has no training clip"] += untrained
    return kept


def _groups(found: list[_Found]) -> tuple[dict[str, str], int]:
    """The group of each clip by its id, and how many sources a publisher has put into several splits.

    The publisher's splits are kept: results are compared on them.
    """
    splits = collections.defaultdict(set)
    for clip in found:
        splits[clip.group].add(clip.clip.split)
    straddling = {group for group, names in splits.items() if len(names) > 1}
    named = {c.id: f"{c.group} ({c.clip.split})" if c.group in straddling else c.group for c in found}
    return named, len(straddling)


def _manifest_csv(found: list[_Found], groups: Mapping[str, str], root: str, output: str) -> str:
    heads = list(dict.fromkeys(head for clip in found for head in clip.clip.labels))
    columns = {head: "label" if head == LABEL else features.label_key(head) for head in heads}
    slices = list(dict.fromkeys(name for clip in found for name in clip.clip.slices))
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["path", *columns.values(), "start", "end", "split", "group", "id", *slices])
    for clip in found:
        times = ("" if time is None else f"{time:.15g}" for time in (clip.start, clip.end))
        labels = (clip.clip.labels.get(head, "") for head in heads)
        path = _from_manifest(absolute_path(root, clip.path), output)
        extra = (clip.clip.slices.get(name, "") for name in slices)
        table.writerow([path, *labels, *times, clip.clip.split, groups[clip.id], clip.id, *extra])
    return text.getvalue()


def _from_manifest(path: str, output: str) -> str:
    """A path as a manifest writes it: relative if the video is below the manifest, so that both can be moved."""
    folder = os.path.dirname(output if "://" in output else os.path.abspath(output))
    return path.removeprefix(folder.rstrip("/") + "/")


def _classes_text(classes: Mapping[str, Sequence[str]]) -> str:
    """Class names as `vivit convert --classes` reads them."""
    many = len(classes) > 1
    return "".join(f"{head}\t{name}\n" if many else f"{name}\n" for head, names in classes.items() for name in names)


def _write(path: str, text: str) -> None:
    files.write(path, text.encode())
