"""Checks videos as ingest would: every clip is decoded whole, by the same code, and its file described.

Contract: nothing is raised for a bad video. Each clip is answered by a `Checked`, which says what is wrong with it.
"""

from __future__ import annotations

import collections
import csv
import dataclasses
import io
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from PIL import Image

from components import files
from components.decoder import Decoder, local_copy
from components.manifest import Manifest, absolute_path, clip_name, read_manifest
from components.probe import Probe
from components.quarantine import TooManyBadVideosError, check_losses
from components.table import VIDEO_SUFFIXES, ManifestError, file_rows, seconds, split_named, video_files
from components.video import IngestConfig, VideoError
from schemas import features

_THUMBNAILS = 8
# No verdict depends on it, and a sixth of the time does; as to the size, whether a picture can be stored does.
_JPEG_QUALITY = 80
# On a page, over all classes; some 15 kB each. Of more classes than the most, the first ones have some.
_FILMSTRIPS, _MOST_FILMSTRIPS = 120, 1000
# Files that are checked, by worker, while the first of them is waited for.
_AHEAD = 32
_THUMBNAIL_SIZE = (192, 96)
_GAP = 2
_TABLE_SUFFIXES = (".csv", ".jsonl")

T = TypeVar("T")


class OutputError(ValueError):
    """A file that was asked for cannot be written, or would replace what is read."""


@dataclasses.dataclass(frozen=True, slots=True)
class Checkable:
    """One clip to check.

    Attributes:
      path: Its video as it is shown.
      file: Its video as it is opened.
      label: Its classes.
      start, end: Seconds; None for all of the video.
      id: Its name in the manifest.
    """

    path: str
    file: str
    label: str = ""
    start: float | None = None
    end: float | None = None
    id: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Checked:
    """What was found.

    Attributes:
      clip: The clip.
      probe: What its file tells of itself.
      duration: Seconds: of what was decoded, or as the file tells where it is bad.
      stage: Where it went wrong (open, decode, segment); empty if it is good.
      reason: What is wrong, in words; empty if it is good.
      filmstrip: JPEG of evenly spaced frames beside each other; empty where none was wanted.
    """

    clip: Checkable
    probe: Probe
    duration: float | None
    stage: str = ""
    reason: str = ""
    filmstrip: bytes = b""

    @property
    def is_bad(self) -> bool:
        """Whether ingest would lose the clip."""
        return bool(self.reason)


@dataclasses.dataclass(frozen=True)
class Report:
    """What there is to tell.

    Attributes:
      source: The folder, manifest or video.
      settings: Those of ingest, in words.
      clips: What was found, in order.
      total: How many clips there are; more than `clips` where the check was stopped.
      problems: Why `vivit run` would refuse the manifest.
      skipped: Why folders are not listed, by their path.
      losses: What ingest would make of the bad clips as a whole; empty if nothing is bad, or it is no data set.
    """

    source: str
    settings: str
    clips: Sequence[Checked]
    total: int
    problems: tuple[str, ...] = ()
    skipped: Mapping[str, str] = dataclasses.field(default_factory=dict)
    losses: str = ""

    @property
    def bad(self) -> list[Checked]:
        """The clips that ingest would lose."""
        return [found for found in self.clips if found.is_bad]

    @property
    def good(self) -> list[Checked]:
        """The others."""
        return [found for found in self.clips if not found.is_bad]


def clips_to_check(source: str) -> tuple[list[Checkable], dict[str, str]]:
    """The clips of a folder (any layout; the class is the folder), a manifest, or a single file.

    Beside them, why folders in the folder are not listed, by their path.

    Rows of a manifest that cannot be read are passed over: `data_set` tells them.

    Raises:
      ManifestError: If there is nothing to check.
      NoFileSystemError: If nothing here reads the URI of the source or of a clip.
    """
    source = source.rstrip("/")
    if not files.is_folder(source):
        return _rows_of(source) if source.lower().endswith(_TABLE_SUFFIXES) else _single(source), {}
    paths, _, skipped = video_files(source)
    if not paths:
        raise ManifestError(source, [f"it has no video, by the suffixes {', '.join(VIDEO_SUFFIXES)}"])
    return [Checkable(path, os.path.join(source, path), _class_of(path), id=path) for path in paths], skipped


def _single(source: str) -> list[Checkable]:
    if not files.exists(source):
        raise ManifestError(source, ["no such file or folder"])
    return [Checkable(source, source)]


def _rows_of(source: str) -> list[Checkable]:
    clips, problems = [], []
    for where, row in file_rows(source):
        found = len(problems)
        start, end = (seconds(row, column, where, problems) for column in ("start", "end"))
        path = row.get("path")
        if not path:
            problems.append(f"{where}: column 'path' is empty")
        if len(problems) > found:
            continue
        file = absolute_path(os.path.dirname(source), path)
        files.check_scheme(file)
        label = ", ".join(row[column] for column in row if _is_label(column) and row[column])
        clips.append(Checkable(path, file, label, start, end, row.get("id") or clip_name(path, start, end)))
    if not clips:
        raise ManifestError(source, problems or ["it lists no clip"])
    return clips


def _is_label(column: str) -> bool:
    return column == "label" or column.startswith(features.LABEL_PREFIX)


def data_set(
    source: str, *, heads: Sequence[str], slices: Sequence[str] | None
) -> tuple[Manifest | None, tuple[str, ...]]:
    """The data set as `vivit run` reads it, with the heads and slices of its recipe, or why it would refuse a manifest.

    A folder or a video that is no data set is none, without a problem.
    """
    try:
        return read_manifest(source, heads=heads, slices=slices), ()
    except ManifestError as error:
        return None, error.problems if source.lower().endswith(_TABLE_SUFFIXES) else ()


def losses(manifest: Manifest, checked: Iterable[Checked], max_bad_fraction: float) -> str:
    """What ingest would make of the bad clips of a data set as a whole, in words; empty if it would lose none."""
    clips = manifest.clips
    ids = {clip.id for clip in clips}
    lost = [
        {"id": found.clip.id, "path": found.clip.path, "reason": found.reason}
        for found in checked
        if found.is_bad and found.clip.id in ids
    ]
    try:
        check_losses(clips, lost, max_bad_fraction)
    except TooManyBadVideosError as error:
        # Below the reasons it lists the clips, which are told anyway.
        reasons = str(error).partition(":\n")[0]
        return f"ingest would stop: {reasons}"
    if not lost:
        return ""
    share, allowed = len(lost) / len(clips), f"ingest.max_bad_fraction allows {max_bad_fraction:.1%}"
    return f"ingest would go on without {len(lost)} of {len(clips)} clips ({share:.1%}; {allowed})"


def settings_in_words(recipe: str, config: IngestConfig) -> str:
    """The settings that a check was made with: rate and size, and what is not as it is by default."""
    usual = dataclasses.asdict(IngestConfig())
    told = {
        name: value
        for name, value in dataclasses.asdict(config).items()
        if name in ("fps", "short_side") or value != usual[name]
    }
    return ", ".join([f"recipe {recipe}", *(f"ingest.{name}={value}" for name, value in told.items())])


def filmstrips_per_class(clips: Sequence[Checkable]) -> int:
    """How many clips of each class a page shows: all of a few, one of each class of many."""
    return max(1, _FILMSTRIPS // len({clip.label for clip in clips}))


def _class_of(path: str) -> str:
    """The first folder that is no split."""
    folders = [part for part in path.split("/")[:-1] if not split_named(part)]
    return folders[0] if folders else ""


def check(clips: Sequence[Checkable], config: IngestConfig, *, workers: int, filmstrips: int) -> Iterator[Checked]:
    """Checks clips, those of one file together, on `workers` threads; answers file by file, in order.

    Args:
      clips: What to check.
      config: The settings of ingest.
      workers: Files that are decoded at a time. Each has a decoder process.
      filmstrips: How many good clips of each class get a filmstrip.
    """
    config = dataclasses.replace(config, jpeg_quality=min(config.jpeg_quality, _JPEG_QUALITY))
    files = collections.defaultdict(list)
    for clip in clips:
        files[clip.file].append(clip)
    labels = sorted({clip.label for clip in clips})
    left = collections.Counter(dict.fromkeys(labels[:_MOST_FILMSTRIPS], filmstrips))

    def check_file(file: str) -> list[Checked]:
        # `left` only falls, file by file: a filmstrip that is not wanted now will not be.
        return _check_file(file, files[file], decoder, config.max_bytes, lambda label: left[label] > 0)

    with Decoder(config) as decoder:
        for checked in _in_order(check_file, files, workers):
            for found in checked:
                shown = left[found.clip.label] > 0 and not found.is_bad
                left[found.clip.label] -= shown
                yield found if shown else dataclasses.replace(found, filmstrip=b"")


def _in_order(function: Callable[[str], T], files: Iterable[str], workers: int) -> Iterator[T]:
    """As `map`, on threads; those at work are not waited for where the iterator is closed."""
    pool, answers = ThreadPoolExecutor(workers), collections.deque()
    try:
        for file in files:
            answers.append(pool.submit(function, file))
            if len(answers) >= workers * _AHEAD:
                yield answers.popleft().result()
        while answers:
            yield answers.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _check_file(
    file: str, clips: Sequence[Checkable], decoder: Decoder, max_bytes: int, wants_filmstrip: Callable[[str], bool]
) -> list[Checked]:
    try:
        with local_copy(file, max_bytes) as local:
            told, checked = decoder.probe(local), {}
            for index, stored in decoder.store_segments(local, [(clip.start or 0.0, clip.end) for clip in clips]):
                clip = clips[index]
                if isinstance(stored, VideoError):
                    checked[index] = Checked(clip, told, told.duration, stored.stage, stored.reason)
                else:
                    filmstrip = _filmstrip(stored.frames) if wants_filmstrip(clip.label) else b""
                    checked[index] = Checked(clip, told, stored.duration, filmstrip=filmstrip)
            return [checked[index] for index in range(len(clips))]
    except VideoError as error:
        return [Checked(clip, Probe(), None, error.stage, error.reason) for clip in clips]


def _filmstrip(frames: Sequence[bytes]) -> bytes:
    """Evenly spaced frames (JPEG) beside each other, as one JPEG; a frame that is shown twice stands once.

    Empty where one cannot be read: ingest takes the frames of a record as they are.
    """
    middles = [(2 * number + 1) * len(frames) // (2 * _THUMBNAILS) for number in range(_THUMBNAILS)]
    try:
        thumbnails = [Image.open(io.BytesIO(jpeg)) for jpeg in dict.fromkeys(frames[index] for index in middles)]
        for thumbnail in thumbnails:
            thumbnail.thumbnail(_THUMBNAIL_SIZE)
    except OSError:
        return b""
    height, tile = thumbnails[0].height, thumbnails[0].width + _GAP
    strip = Image.new("RGB", (tile * len(thumbnails) - _GAP, _THUMBNAIL_SIZE[1]), "grey")
    for number, thumbnail in enumerate(thumbnails):
        strip.paste(thumbnail, (number * tile, (strip.height - height) // 2))
    jpeg = io.BytesIO()
    strip.save(jpeg, "JPEG", quality=75)
    return jpeg.getvalue()


COLUMNS = ("path", "label", "start", "end", "codec", "width", "height", "fps", "duration", "rotation", "verdict")


def as_csv(checked: Sequence[Checked]) -> str:
    """One row a clip: `COLUMNS`, and stage and reason of what is wrong."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow([*COLUMNS, "stage", "reason"])
    for found in checked:
        clip, told = found.clip, found.probe
        row = [clip.path, clip.label, clip.start, clip.end, told.codec, told.width, told.height, told.fps]
        verdict = "bad" if found.is_bad else "good"
        table.writerow([*row, found.duration, told.rotation, verdict, found.stage, found.reason])
    return text.getvalue()


def prepare_outputs(paths: Iterable[str], source: str, clips: Sequence[Checkable]) -> None:
    """Makes sure that files can be written, before hours are spent: makes their folders, and leaves what they hold.

    Raises:
      OutputError: If one cannot be written, or is what is checked, or another of `paths`.
    """
    taken = {_real(source), *(_absolute(clip.file) for clip in clips)}
    for path in paths:
        if taken & {_real(path), _absolute(path)}:
            raise OutputError(f"{path} is what is checked, or is written already: name another file to write")
        taken.add(_real(path))
        try:
            files.check_writable(path)
        except files.FileError as error:
            raise OutputError(f"cannot write {path}: {error.reason}") from error


def _absolute(path: str) -> str:
    return path if "://" in path else os.path.abspath(path)


def _real(path: str) -> str:
    return path if "://" in path else os.path.realpath(path)


def write_text(path: str, text: str) -> None:
    """Writes a file at any URI; a name of a video that is not Unicode keeps its bytes as \\udcff.

    Raises:
      OutputError: If it cannot be written.
    """
    try:
        files.write(path, text.encode("utf-8", "backslashreplace"))
    except files.FileError as error:
        raise OutputError(f"cannot write {path}: {error.reason}") from error
