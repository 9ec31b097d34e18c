"""How two versions or candidates differ: data, settings, code, metrics and classes."""

from __future__ import annotations

from collections.abc import Iterator

from components.registry.history import Entry
from components.registry.records import Candidate
from pipeline import settings
from pipeline.console import aligned
from pipeline.versions.description import counts_in_words
from pipeline.versions.listing import interval_in_words, one_line
from schemas.serving import ModelCard

# Characters of a value, and classes that are named.
_WIDEST, _CLASSES = 40, 12
_DASH = "–"


def difference(one: Entry, other: Entry) -> str:
    """A table of what differs, metrics in any case, and the classes that only one of them knows."""
    rows = [("", one.id, other.id)]
    for title, read in (("data", _data), ("settings", _settings), ("code", _code), ("metrics", _metrics)):
        values, others = (read(entry.candidate) if entry.candidate else {} for entry in (one, other))
        names = [name for name in {**values, **others} if title == "metrics" or values.get(name) != others.get(name)]
        rows += [(title, "", "")] if names else []
        rows += [(f"  {name}", values.get(name, _DASH), others.get(name, _DASH)) for name in names]
    lines = aligned([tuple(_shown(value) for value in row) for row in rows], _WIDEST)
    lines += [f"{entry.id} has no record: it was copied by hand" for entry in (one, other) if not entry.candidate]
    return "\n".join([*lines, *map(one_line, _classes(one, other)), *_caution(one.candidate, other.candidate)])


def _shown(value: str) -> str:
    indent = "  " if value.startswith("  ") else ""
    return indent + one_line(value, _WIDEST)


def _data(candidate: Candidate) -> dict[str, str]:
    data = candidate.data
    return {
        "source": data.source,
        "manifest": data.manifest_hash,
        "clips": counts_in_words(data.clips),
        "classes": counts_in_words(data.classes),
        "lost": counts_in_words(data.lost),
        "split": candidate.assessment.split,
    }


def _settings(candidate: Candidate) -> dict[str, str]:
    return {"recipe": candidate.training.recipe, **settings.flat(candidate.training.config)}


def _code(candidate: Candidate) -> dict[str, str]:
    return {**candidate.training.versions, "devices": ", ".join(candidate.training.devices)}


def _metrics(candidate: Candidate) -> dict[str, str]:
    return {
        f"{scored.name} {figure.metric}": interval_in_words(figure.candidate)
        for scored in candidate.assessment.scored
        for figure in scored.figures
    }


def _classes(one: Entry, other: Entry) -> Iterator[str]:
    cards = []
    for entry in (one, other):
        try:
            cards.append(ModelCard.read(entry.model_uri))
        except FileNotFoundError as error:
            yield f"classes of {entry.id} are unknown: {error}"
    if len(cards) < 2:
        return
    card, other_card = cards
    for head in {**card.classes, **other_card.classes}:
        names, others = card.classes.get(head, []), other_card.classes.get(head, [])
        for entry, only in ((one, set(names) - set(others)), (other, set(others) - set(names))):
            if only:
                shown = ", ".join(sorted(only)[:_CLASSES]) + (", …" if len(only) > _CLASSES else "")
                yield f"classes of {head} that only {entry.id} knows ({len(only)}): {shown}"


def _caution(one: Candidate | None, other: Candidate | None) -> Iterator[str]:
    clips = {(of.data.manifest_hash, of.assessment.split) for of in (one, other) if of}
    if len(clips) > 1:
        yield "Metrics are of other clips: their difference is no measure."
