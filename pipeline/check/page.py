"""The page of `vivit check`: counts, what is bad and why, a filmstrip per class, all clips. One file, no network."""

from __future__ import annotations

import base64
import collections
from collections.abc import Sequence

import jinja2

from components.ingest.quarantine import reason_group
from components.manifest.listing import ListedClip
from components.manifest.table import ManifestError
from pipeline.check.checking import Checked
from pipeline.check.report import Report
from pipeline.console import aligned, printable

# Rows of a list: more would make the page slow in a browser.
_ROWS = 2000
_TERMINAL_ROWS, _TERMINAL_REASONS = 100, 20
# Characters of a column: one long class name must not widen it for all.
_WIDEST = 20
_HEADER = ("codec", "size", "fps", "seconds", "rotation")


def check_page(report: Report) -> str:
    """HTML of a check; names are escaped, filmstrips are inside."""
    page = jinja2.Environment(
        loader=jinja2.PackageLoader("pipeline.check", ""),
        autoescape=True,
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    page.filters.update(
        base64=lambda data: base64.b64encode(data).decode(), cells=cells, facts=facts, segment=segment_in_words
    )
    classes = collections.defaultdict(list)
    for found in report.clips:
        classes[found.clip.label].append(found)
    return page.get_template("page.html").render(
        report=report,
        bad=report.bad,
        good=report.good,
        reasons=reasons(report.bad),
        classes=dict(sorted(classes.items())),
        footage=_length_in_words(sum(found.duration for found in report.good)),
        header=_HEADER,
        rows=_ROWS,
    )


def reasons(bad: Sequence[Checked]) -> list[tuple[str, int]]:
    """Reasons without their numbers, and the number of clips of each; the most frequent first."""
    groups = (reason_group({"stage": found.stage, "reason": found.reason}) for found in bad)
    return collections.Counter(groups).most_common()


def cells(found: Checked) -> tuple[str, str, str, str, str]:
    """Codec, size, frames per second, seconds and rotation as they are shown; a dash for an unknown value."""
    probe = found.probe
    return (
        probe.codec or "–",
        f"{probe.width}×{probe.height}" if probe.width else "–",
        f"{probe.fps:.4g}" if probe.fps else "–",
        f"{found.duration:.2f}" if found.duration is not None else "–",
        f"{probe.rotation}°" if probe.rotation is not None else "–",
    )


def check_table(report: Report) -> str:
    """The table on the terminal, and the bad clips with their reasons; of many clips, only the bad ones."""
    clips, bad = report.clips, report.bad
    listed = clips if len(clips) <= _TERMINAL_ROWS else bad[:_TERMINAL_ROWS]
    # Names can have any length, so they come after the columns.
    rows = [("verdict", *_HEADER, "class", "file")]
    for found in listed:
        rows.append(("BAD" if found.is_bad else "good", *cells(found), printable(found.clip.label), _name(found.clip)))
    lines = aligned(rows, _WIDEST)
    stopped = (
        f"stopped after {len(clips)} of {report.total} clips" if len(clips) < report.total else f"{len(clips)} clips"
    )
    lines += ["", f"{stopped}: {len(clips) - len(bad)} good, {len(bad)} bad"]
    lines += [f"  {_name(found.clip)}: {printable(found.reason)}" for found in bad[:_TERMINAL_ROWS]]
    if len(bad) > _TERMINAL_ROWS:
        lines.append(f"  … and {len(bad) - _TERMINAL_ROWS} more; --csv lists all")
        lines += [f"{count:6d} {printable(reason)}" for reason, count in reasons(bad)[:_TERMINAL_REASONS]]
    lines += [f"  {printable(folder)}/ is not listed: {reason}" for folder, reason in report.skipped.items()]
    if report.problems:
        lines += map(
            printable, str(ManifestError(f"vivit run would refuse {report.source}", report.problems)).split("\n")
        )
    lines += [line for line in (printable(report.losses), f"checked as ingest would with {report.settings}") if line]
    return "\n".join(lines)


def _name(clip: ListedClip) -> str:
    return printable(clip.path) + segment_in_words(clip)


def facts(found: Checked) -> str:
    """What is known of a clip, on one line."""
    codec, size, fps, seconds, rotation = cells(found)
    turned = rotation if found.probe.rotation else "–"
    parts = (codec, size, f"{fps} fps", f"{seconds} s", f"turned by {turned}")
    return " · ".join(part.replace(" ", "\N{NO-BREAK SPACE}") for part in parts if "–" not in part)


def segment_in_words(clip: ListedClip) -> str:
    """Which part of its file a clip is; empty for the whole file."""
    if clip.start is None and clip.end is None:
        return ""
    return f" from {clip.start or 0:g} s to {'its end' if clip.end is None else f'{clip.end:g} s'}"


def _length_in_words(seconds: float) -> str:
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"
