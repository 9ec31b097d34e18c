"""The result of a check as a whole: counts, losses, a table."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Iterable, Mapping, Sequence

from components.ingest.config import IngestConfig
from components.ingest.quarantine import TooManyBadVideosError, check_losses
from components.manifest.reader import Manifest
from pipeline.check.checking import Checked
from pipeline.plan.plan import Plan

COLUMNS = ("path", "label", "start", "end", "codec", "width", "height", "fps", "duration", "rotation", "verdict")


@dataclasses.dataclass(frozen=True)
class Report:
    """The result of a check.

    Attributes:
      source: The folder, manifest or video.
      settings: Settings of ingest, as text.
      clips: What was found, in order.
      total: How many clips there are; more than `clips` where the check was stopped.
      problems: Why `vivit run` would refuse it.
      plan: What `vivit run` would do; None where it would refuse it.
      skipped: Why folders are not listed, by their path.
      losses: What ingest would do about the bad clips; empty if none is bad, or this is not a data set.
    """

    source: str
    settings: str
    clips: Sequence[Checked]
    total: int
    problems: tuple[str, ...] = ()
    plan: Plan | None = None
    skipped: Mapping[str, str] = dataclasses.field(default_factory=dict)
    losses: str = ""

    @property
    def bad(self) -> list[Checked]:
        """The clips that ingest would lose."""
        return [found for found in self.clips if found.is_bad]

    @property
    def good(self) -> list[Checked]:
        """The clips that ingest would keep."""
        return [found for found in self.clips if not found.is_bad]


def losses(manifest: Manifest, checked: Iterable[Checked], max_bad_fraction: float) -> str:
    """What ingest would do about the bad clips of a data set, as text; empty if it would lose none."""
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
        # After the reasons it lists the clips, which the report lists anyway.
        reasons = str(error).partition(":\n")[0]
        return f"ingest would stop: {reasons}"
    if not lost:
        return ""
    share, allowed = len(lost) / len(clips), f"ingest.max_bad_fraction allows {max_bad_fraction:.1%}"
    return f"ingest would go on without {len(lost)} of {len(clips)} clips ({share:.1%}; {allowed})"


def settings_in_words(recipe: str, config: IngestConfig) -> str:
    """The settings of a check: rate and size, and every setting that differs from its default."""
    usual = dataclasses.asdict(IngestConfig())
    shown = {
        name: value
        for name, value in dataclasses.asdict(config).items()
        if name in ("fps", "short_side") or value != usual[name]
    }
    return ", ".join([f"recipe {recipe}", *(f"ingest.{name}={value}" for name, value in shown.items())])


def as_csv(checked: Sequence[Checked]) -> str:
    """One row per clip: `COLUMNS`, and the stage and reason of its failure."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow([*COLUMNS, "stage", "reason"])
    for found in checked:
        clip, probe = found.clip, found.probe
        row = [clip.path, clip.label, clip.start, clip.end, probe.codec, probe.width, probe.height, probe.fps]
        verdict = "bad" if found.is_bad else "good"
        table.writerow([*row, found.duration, probe.rotation, verdict, found.stage, found.reason])
    return text.getvalue()
