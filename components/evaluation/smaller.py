"""What a smaller form of a model costs in accuracy, saves, and whether it may be used. Plain data, as JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pydantic
from pydantic.dataclasses import dataclass

from components.evaluation.config import EvaluationConfig
from components.evaluation.gate import assess, in_words
from components.evaluation.statistics import Interval
from schemas import serving
from schemas.predictions import CANDIDATE, PRODUCTION, Predictions


@dataclass(frozen=True)
class Loss:
    """One head, or all heads together, over all views on the evaluated clips.

    Attributes:
      name: The head; "action" or "joint" for all together.
      top_1: Of the smaller form.
      change: Its top-1 less that of the model itself.
      won, lost: Clips that only the smaller form, and that only the model itself has right.
    """

    name: str
    top_1: Interval
    change: Interval
    won: int
    lost: int


@dataclass(frozen=True)
class SmallerForm:
    """A smaller form of a model.

    Attributes:
      form: One of `PushConfig.smaller`.
      path: Its folder.
      size, full_size: Bytes of its folder, and of the model's.
      speed: How many times as fast its network is, on the machine and the cores that measured it.
      cores: Their number.
      losses: What it costs; empty if it could not be made.
      largest: Largest difference of a logit, as a share of the spread of the head's logits.
      problems: Why it may not be used; empty if it may.
    """

    form: str
    path: str
    size: int
    full_size: int
    speed: float
    cores: int
    losses: tuple[Loss, ...]
    largest: float
    problems: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """All of it in a line."""
        losses = [f"{loss.name} top-1 {in_words(loss.change, signed=True)}" for loss in self.losses]
        facts = [f"{self.size / self.full_size:.2f} of the size", f"{self.speed:.2f} times as fast", *losses]
        refused = "; ".join(f"REFUSED: {problem}" for problem in self.problems)
        return f"{self.form}: " + "; ".join(filter(None, [", ".join(facts) if losses else "", refused]))


FORMS = pydantic.TypeAdapter(tuple[SmallerForm, ...])


def losses_of(small: Predictions, full: Predictions) -> tuple[Loss, ...]:
    """What a smaller form costs, from its table and that of the model itself, of the same clips in one order."""
    compared = _compared(small, full)
    # Nothing is refused here.
    found = assess(compared, EvaluationConfig(beat_commonest=False, max_top_1_drop=1.0))
    return tuple(
        Loss(
            name=scored.name,
            top_1=scored.figure("top_1").candidate,
            change=scored.figure("top_1").difference,
            won=scored.comparison.won,
            lost=scored.comparison.lost,
        )
        for scored in found.scored
    )


def differences_of(small: Predictions, full: Predictions) -> dict[str, float]:
    """By head, the largest difference of a logit, over all views or of the centre view, as a share of their spread."""
    ours, theirs = small.scores[CANDIDATE], full.scores[CANDIDATE]
    return {
        head: max(
            float(np.abs(getattr(ours[head], name) - getattr(scores, name)).max() / np.ptp(getattr(scores, name)))
            for name in ("logits", "centre_logits")
        )
        for head, scores in theirs.items()
    }


def problems_of(differences: Mapping[str, float], losses: Sequence[Loss], max_drop: float) -> Iterator[str]:
    """Why a smaller form may not be used: the canary's rule for logits that were rounded, and what it may cost.

    Args:
      differences: Of `differences_of`.
      losses: What it costs.
      max_drop: How much of its top-1 a head, or all together, may lose.
    """
    allowed = f"at most {serving.ROUNDED_TOLERANCE:g} is explained by rounding"
    for head, difference in differences.items():
        if not difference <= serving.ROUNDED_TOLERANCE:  # NaN fails too.
            yield f"{head}: logits differ by {difference:.2g} of their spread from those of the model itself; {allowed}"
    for loss in losses:
        if loss.change.value < -max_drop:
            required = f"at least {0 - max_drop:+.3f} is required (push.max_smaller_drop)"
            yield f"{loss.name}: top_1 changes by {in_words(loss.change, signed=True)}; {required}"


def _compared(small: Predictions, full: Predictions) -> Predictions:
    if list(small.clips.ids) != list(full.clips.ids):
        raise ValueError("the two tables are of other clips")
    model = dataclasses.replace(full.models[CANDIDATE], version="itself")
    return Predictions(
        full.clips,
        {CANDIDATE: small.models[CANDIDATE], PRODUCTION: model},
        {CANDIDATE: small.scores[CANDIDATE], PRODUCTION: full.scores[CANDIDATE]},
    )
