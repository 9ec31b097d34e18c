"""A smaller form of a model: what it costs against the model itself, and what refuses it."""

import dataclasses

import numpy as np
import pytest

from components.evaluation.smaller import FORMS, SmallerForm, differences_of, losses_of, problems_of
from schemas.predictions import CANDIDATE, Predictions, Scores
from tests.components.evaluation.tables import CLASSES, clips_of, table, wrong_on

LABELS = [CLASSES[number % 3] for number in range(120)]
CLIPS = clips_of({"verb": LABELS})
FULL = table(CLIPS, {"verb": wrong_on(LABELS, range(0, 120, 10))})


def with_logits(change):
    """The model's own table, its logits changed."""
    scores = FULL.scores[CANDIDATE]["verb"]
    logits = change(scores.logits.copy())
    changed = Scores.of(logits, logits, FULL.models[CANDIDATE].classes["verb"], LABELS)
    return Predictions(CLIPS, FULL.models, {CANDIDATE: {"verb": changed}})


def found(small, max_drop=0.01):
    losses = losses_of(small, FULL)
    return losses, list(problems_of(differences_of(small, FULL), losses, max_drop))


def test_a_form_that_answers_as_the_model_does_may_be_used():
    same = with_logits(lambda logits: logits)
    (loss,), problems = found(same)
    assert (loss.name, loss.change.value, loss.won, loss.lost) == ("verb", 0, 0, 0)
    assert loss.top_1.value == pytest.approx(0.9)
    assert not problems
    assert differences_of(same, FULL) == {"verb": 0}


def test_what_it_loses_is_counted_by_clip_and_refuses_it_beyond_what_is_allowed():
    def swapped(logits):
        # Six clips that were right are not any more.
        logits[11:17] = logits[11:17][:, [1, 2, 0]]
        return logits

    small = with_logits(swapped)
    (loss,) = losses_of(small, FULL)
    problems = list(problems_of({"verb": 0.01}, [loss], 0.01))
    assert (loss.won, loss.lost) == (0, 6)
    assert loss.change.value == pytest.approx(-0.05)
    (problem,) = problems
    assert problem.startswith("verb: top_1 changes by -0.050 (")
    assert problem.endswith("at least -0.010 is required (push.max_smaller_drop)")
    assert not list(problems_of({"verb": 0.01}, [loss], 0.06))


@pytest.mark.parametrize("broken", [0.3, np.nan])
def test_logits_that_rounding_does_not_explain_refuse_it_though_no_answer_changes(broken):
    spread = float(np.ptp(FULL.scores[CANDIDATE]["verb"].logits))

    def moved(logits):
        logits[7] += broken * spread
        return logits

    (problem,) = found(with_logits(moved), max_drop=1)[1]
    assert problem.startswith(f"verb: logits differ by {broken:.2g} of their spread from those of the model itself;")


def test_tables_of_other_clips_are_not_compared():
    others = dataclasses.replace(FULL, clips=dataclasses.replace(CLIPS, ids=[f"other-{n}" for n in range(120)]))
    with pytest.raises(ValueError, match="of other clips"):
        losses_of(others, FULL)


def test_a_form_is_kept_and_said_whole():
    form = SmallerForm("int8", "/out", 250, 1000, 1.5, 2, losses_of(FULL, FULL), 0.01, ("it is broken",))
    assert FORMS.validate_json(FORMS.dump_json((form,))) == (form,)
    not_made = dataclasses.replace(form, size=0, speed=0.0, losses=())
    assert not_made.sentence == "int8: REFUSED: it is broken"
    assert form.sentence.startswith("int8: 0.25 of the size, 1.50 times as fast, verb top-1 +0.000 (")
    assert form.sentence.endswith("; REFUSED: it is broken")
