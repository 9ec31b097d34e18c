"""Tables of predictions with outcomes that are chosen clip by clip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from schemas.predictions import CANDIDATE, PRODUCTION, Clips, Predictions, Role, ScoredModel, Scores

CLASSES = ("jump", "run", "swim")


def clips_of(
    labels: Mapping[str, Sequence[str]],
    *,
    groups: Sequence[str] | None = None,
    slices: Mapping[str, Sequence[str]] | None = None,
) -> Clips:
    """Clips with these classes, each a source of its own by default."""
    count = len(next(iter(labels.values())))
    ids = [f"clip{number:04d}" for number in range(count)]
    return Clips(
        ids=ids,
        groups=groups or ids,
        paths=[f"videos/{clip_id}.mp4" for clip_id in ids],
        starts=np.zeros(count),
        durations=np.full(count, 2.0),
        split="eval",
        labels=labels,
        slices=slices or {},
    )


def scores_naming(named: Sequence[str], labels: Sequence[str], classes: Sequence[str], sure: float = 3.0) -> Scores:
    """Scores of a model that names these classes, on both all views and the centre view."""
    logits = np.zeros((len(named), len(classes)), np.float32)
    # A little of each other class, so that no two are equally likely.
    logits += np.linspace(0, 0.01, len(classes), dtype=np.float32)
    for row, name in enumerate(named):
        logits[row, list(classes).index(name)] = sure
    return Scores.of(logits, logits, classes, labels)


def table(
    clips: Clips,
    candidate: Mapping[str, Sequence[str]],
    production: Mapping[str, Sequence[str]] | None = None,
    *,
    classes: Mapping[str, Sequence[str]] | None = None,
    known: Mapping[str, Sequence[str]] | None = None,
) -> Predictions:
    """A table of what each model names, by head.

    Args:
      clips: The clips.
      candidate: Class that the candidate names for each clip.
      production: The same of production; None without one.
      classes: Classes of the candidate; by default those of the labels.
      known: Classes of production; by default the candidate's.
    """
    classes = classes or {head: sorted(set(clips.labels[head])) for head in candidate}
    models = {CANDIDATE: (candidate, classes)}
    if production:
        models[PRODUCTION] = (production, known or classes)
    return Predictions(
        clips,
        {role: _model(role, of) for role, (_, of) in models.items()},
        {
            role: {
                head: scores_naming(names, clips.labels.get(head, [""] * len(clips)), of[head])
                for head, names in named.items()
            }
            for role, (named, of) in models.items()
        },
    )


def _model(role: Role, classes: Mapping[str, Sequence[str]]) -> ScoredModel:
    listed = {head: list(names) for head, names in classes.items()}
    return ScoredModel(f"/models/{role}", role, "7" if role == PRODUCTION else "", listed, (4, 3))


def wrong_on(labels: Sequence[str], rows: Sequence[int], classes: Sequence[str] = CLASSES) -> list[str]:
    """The labels themselves, but the next class for some clips."""
    named = list(labels)
    for row in rows:
        named[row] = classes[(classes.index(named[row]) + 1) % len(classes)]
    return named
