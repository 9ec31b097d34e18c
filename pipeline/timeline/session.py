"""One `vivit timeline`, from its arguments to its exit status: video after video, each file whole or not there."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Callable, Sequence

from components.manifest.table import as_text
from components.media.decoder import Decoder
from components.media.video import VideoError
from components.storage import files
from pipeline.console import Console, printable
from pipeline.inference.model import OpenModel, open_model
from pipeline.timeline.config import SegmentConfig
from pipeline.timeline.exports.activitynet import activitynet
from pipeline.timeline.exports.elan import elan
from pipeline.timeline.exports.label_studio import label_studio
from pipeline.timeline.exports.subrip import subrip
from pipeline.timeline.exports.table import table
from pipeline.timeline.exports.webvtt import webvtt
from pipeline.timeline.page import timeline_page
from pipeline.timeline.reading import Strip, open_reading
from pipeline.timeline.timeline import Timeline
from pipeline.timeline.truth import read_truth, score_timelines
from pipeline.timeline.windows import WindowConfig, WindowError, window_config
from schemas import serving

Export = Callable[[Timeline, Strip], str]
# By the name of a format: how its files end, and what makes their text.
FORMATS: dict[str, tuple[str, Export]] = {
    "json": (".json", lambda timeline, _: timeline.to_json()),
    "html": (".html", timeline_page),
    "vtt": (".vtt", lambda timeline, _: webvtt(timeline)),
    "srt": (".srt", lambda timeline, _: subrip(timeline)),
    "csv": (".csv", lambda timeline, _: table(timeline)),
    "activitynet": (".activitynet.json", lambda timeline, _: activitynet(timeline)),
    "labelstudio": (".labelstudio.json", lambda timeline, _: label_studio(timeline)),
    "elan": (".eaf", lambda timeline, _: elan(timeline)),
}
# In the output: how well the segments match the truth.
SCORES_FILE = "scores.json"


@dataclasses.dataclass(frozen=True)
class TimelineRequest:
    """The arguments of `vivit timeline`.

    Attributes:
      videos: Paths or URIs.
      model: A SavedModel, or a folder of numbered versions.
      output: Folder to write, any URI.
      formats: Keys of `FORMATS`.
      window, hop: Seconds, or None for the model's own.
      settings: How segments are made.
      truth: A manifest of segments, or None.
    """

    videos: Sequence[str]
    model: str
    output: str
    formats: Sequence[str]
    window: float | None
    hop: float | None
    settings: SegmentConfig
    truth: str | None


def make_timelines(request: TimelineRequest, console: Console) -> int:
    """Writes the files of each video; returns 1 if a video could not be read to its end, 2 if nothing could begin."""
    try:
        rows = read_truth(request.truth) if request.truth else []
        model = open_model(request.model)
        config = window_config(model.card, request.window, request.hop)
        _check_model(model, request.settings)
        _check_writable(request.output)
    except (OSError, ValueError) as error:
        console(f"vivit: {error}")
        return 2
    timelines, status = [], 0
    with Decoder(model.decode_config) as decoder:
        for video, name in zip(request.videos, _names(request.videos), strict=True):
            try:
                timeline = _make(video, name, request, (model, decoder, config), console)
            except (VideoError, files.FileError) as error:
                console(f"{printable(as_text(video))}\n  has no timeline: {error.reason}")
                status = 1
                continue
            status = 1 if timeline.error else status
            if request.truth:
                # Of thousands of videos, the scores would not fit.
                heads = [dataclasses.replace(head, scores=head.scores[:0]) for head in timeline.heads]
                timelines.append(dataclasses.replace(timeline, heads=heads))
    if request.truth:
        _score(rows, request, timelines, list(model.card.classes), console)
    return status


def _make(
    video: str, name: str, request: TimelineRequest, parts: tuple[OpenModel, Decoder, WindowConfig], console: Console
) -> Timeline:
    model, decoder, config = parts
    with open_reading(model, decoder, video, config) as reading:
        for _ in console.show_progress(reading.scored(), reading.expected, printable(name)):
            pass
    timeline = reading.timeline(request.settings)
    for chosen in request.formats:
        ending, text = FORMATS[chosen]
        _write(os.path.join(request.output, name + ending), text(timeline, reading.strip))
    console(in_words(timeline))
    return timeline


def in_words(timeline: Timeline) -> str:
    """A few lines for a person."""
    lines = [printable(timeline.video)]
    if timeline.error:
        lines.append(f"  read up to {timeline.duration:.2f} s: {timeline.error}")
    for head in timeline.heads:
        count, seen = len(head.segments), sum(one.end - one.start for one in head.segments)
        names = len({one.name for one in head.segments})
        lines.append(f"  {head.name}: {count} segments of {names} classes, {seen:.1f} s of {timeline.duration:.1f} s")
    return "\n".join(lines)


def _names(videos: Sequence[str]) -> list[str]:
    """The name of each video's files: its own, and a number behind one that is taken."""
    names: list[str] = []
    for video in videos:
        base = as_text(os.path.basename(video.partition("?")[0] if "://" in video else video)) or "video"
        name, number = base, 1
        while name in names:
            number += 1
            name = f"{base}-{number}"
        names.append(name)
    return names


def _check_model(model: OpenModel, settings: SegmentConfig) -> None:
    if serving.NETWORK_SIGNATURE not in model.signatures:
        raise WindowError(f"{model.path} has no signature {serving.NETWORK_SIGNATURE}: an older release exported it")
    known = {name for names in model.card.classes.values() for name in names}
    for name in settings.background:
        if name not in known:
            raise WindowError(f"--background {name}: the model has no such class; it has {', '.join(sorted(known))}")


def _check_writable(folder: str) -> None:
    """Writes and removes a file, before hours are spent."""
    path = os.path.join(folder, ".part")
    files.write(path, b"")
    files.remove(path)


def _score(rows, request: TimelineRequest, timelines: Sequence[Timeline], heads: Sequence[str], console) -> None:
    scores = score_timelines(rows, request.truth, request.videos, timelines, heads)
    document = {
        head: {
            "mean_average_precision": dict(zip(map(str, score.tious), score.means.round(6).tolist(), strict=True)),
            "average": round(score.average, 6),
            "classes": {
                name: {"truth": score.truth[name], "average_precision": values.round(6).tolist()}
                for name, values in score.precision.items()
            },
        }
        for head, score in scores.items()
    }
    _write(os.path.join(request.output, SCORES_FILE), json.dumps(document, ensure_ascii=False, indent=1) + "\n")
    if not scores:
        console(f"{request.truth} has no segment of these videos")
    for head, score in scores.items():
        segments = f"{sum(score.truth.values())} segments of {len(score.truth)} classes"
        console(f"{head}: mAP@0.5 {score.means[0]:.3f}, mean of 0.5:0.05:0.95 {score.average:.3f} ({segments})")


def _write(path: str, text: str) -> None:
    """Writes a file that is there whole, or not at all."""
    part = f"{path}.part"
    try:
        files.write(part, text.encode("utf-8", "backslashreplace"))
        files.rename(part, path)
    except BaseException:
        with contextlib.suppress(files.FileError):
            files.remove(part)
        raise
