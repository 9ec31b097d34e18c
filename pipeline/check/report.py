"""What a check has found, as a whole: counts, losses, a table."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Iterable, Mapping, Sequence

from components.ingest.config import IngestConfig
from components.ingest.quarantine import TooManyBadVideosError, check_losses
from components.manifest.reader import Manifest
from pipeline.check.checking import Checked

COLUMNS = ("path", "label", "start", "end", "codec", "width", "height", "fps", "duration", "rotation", "verdict")


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
