"""Everything that is known of a version or candidate, in words or as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pydantic

from components.evaluation.assessment import Scored
from components.registry.history import Entry
from components.registry.records import Candidate
from pipeline.console import aligned
from pipeline.versions.listing import interval_in_words, one_line, time_in_words

# Characters of the column of names.
_NAME = 11


def description(entry: Entry, page: str) -> str:
    """Lines about an entry.

    Args:
      entry: A version or candidate.
      page: Path of its review page; empty if there is none.
    """
    lines = [
        _line("version" if entry.model else "candidate", entry.id),
        _line("state", f"{entry.state}: {entry.detail}" if entry.detail else entry.state),
        _line("when", f"{time_in_words(entry.when)} UTC"),
    ]
    if entry.decision:
        decided = entry.decision
        lines.append(_line(decided.action, f"{decided.who}, {time_in_words(decided.when)} UTC: {decided.why}"))
    if entry.candidate:
        lines += _candidate_lines(entry.candidate)
    else:
        lines.append(_line("record", "none: it was copied by hand"))
    lines += [_line("model", entry.model_uri), _line("page", page or "none")]
    return "\n".join(lines)


def as_json(entry: Entry, page: str) -> dict[str, Any]:
    """Plain values of the same, with the whole record; arguments as in `description`."""
    return {
        "id": entry.id,
        "when": entry.when,
        "state": entry.state,
        "why": entry.detail,
        "model": entry.model_uri,
        "page": page,
        "version": _plain(entry.model.record) if entry.model else None,
        "candidate": _plain(entry.candidate),
        "decision": _plain(entry.decision),
    }


def counts_in_words(counts: Mapping[str, int]) -> str:
    """E.g. "400 train, 100 eval"."""
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def _plain(record: Any) -> Any:
    """JSON has no NaN; it becomes null."""
    return json.loads(pydantic.TypeAdapter(type(record)).dump_json(record)) if record else None


def _candidate_lines(candidate: Candidate) -> Iterator[str]:
    data, training, found = candidate.data, candidate.training, candidate.assessment
    yield _line("record", f"{candidate.id}, evaluated {time_in_words(candidate.made)} UTC")
    if candidate.label:
        yield _line("label", candidate.label)
    yield _line("data", f"{data.source}, manifest {data.manifest_hash}")
    classes = ", ".join(f"{head}: {count} classes" for head, count in data.classes.items())
    yield _line("", f"{counts_in_words(data.clips)}; {classes}")
    for reason, count in data.lost.items():
        yield _line("lost", f"{count}: {reason}")
    yield _line("recipe", training.recipe)
    for key, (published, used) in sorted(training.changes.items()):
        yield _line("", f"{key}={used} (published: {published})")
    yield _line("training", f"{training.steps} steps in {training.seconds:.0f} s on {', '.join(training.devices)}")
    yield _line("code", ", ".join(f"{name} {version}" for name, version in training.versions.items()))
    temporal, spatial = found.views
    against = f"compared with version {found.production}" if found.production else "nothing was in production"
    yield _line("evaluated", f"on {found.split}, {temporal}x{spatial} views, {against}")
    yield _line("gate", found.sentence)
    for reason in found.reasons:
        yield _line("reason", reason)
    for note in found.notes:
        yield _line("note", note)
    yield _line("canary", f"{'serves' if candidate.canary.passed else 'DOES NOT SERVE'}: {candidate.canary.detail}")
    for scored in found.scored:
        yield ""
        yield from _scored_lines(scored)
    yield ""


def _scored_lines(scored: Scored) -> Iterator[str]:
    commonest = f"; the commonest, {scored.commonest}, has {scored.commonest_share:.3f}" if scored.commonest else ""
    yield one_line(
        f"{scored.name}: {scored.clips} clips of {scored.sources} sources, {scored.classes} classes{commonest}"
    )
    compared = scored.comparison is not None
    rows = [("metric", "candidate [95 %]", *(("production", "difference") if compared else ()))]
    for figure in scored.figures:
        row = [figure.metric, interval_in_words(figure.candidate)]
        if compared:
            row.append(interval_in_words(figure.production) if figure.production else "–")
            row.append(interval_in_words(figure.difference, signed=True) if figure.difference else "–")
        rows.append(row)
    yield from (f"  {line}" for line in aligned(rows, 40))
    if compared:
        found = scored.comparison
        needed = f"; about {found.clips_needed} clips would show such a difference" if found.clips_needed else ""
        yield (
            f"  {found.verdict} on {found.clips} clips: {found.won} won, {found.lost} lost, "
            f"p {found.p_value:.3f} (McNemar){needed}"
        )
    for group in scored.groups:
        if group.significant:
            change = interval_in_words(group.top_1.difference, signed=True)
            yield f"  {one_line(f'{group.column} {group.value}: {group.significant}, {change} on {group.clips} clips')}"


def _line(name: str, text: str) -> str:
    return f"{name:{_NAME}}{one_line(text)}".rstrip()
