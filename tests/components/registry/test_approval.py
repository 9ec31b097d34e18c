"""Who may put what into production: what gate and canary passed, compared with what is there now, decided once."""

import dataclasses
import re

import pytest

from components.registry.approval import approve, needs_approval, obstacle, reject, rollback, submit
from components.registry.candidates import read_decision, write_candidate
from components.registry.records import Canary, Decision, RegistryError
from components.registry.versions import standing
from tests.components.registry.runs import compared_with, put, refused, write_candidates

BY = {"who": "ann", "why": "watched it"}


def models_of(workdir):
    return standing(str(workdir / "pushed"))


def error_of(call, *arguments, **named):
    with pytest.raises(RegistryError) as raised:
        call(*arguments, **(named or BY))
    return str(raised.value)


@pytest.fixture
def waiting(tmp_path):
    """A workdir with a version, and a candidate that waits; its version, and the candidate."""
    a, b = write_candidates(tmp_path, "a", "b")
    version = put(tmp_path, a)
    b = dataclasses.replace(compared_with(b, version), approval="required")
    write_candidate(str(tmp_path), b)
    return tmp_path, version, b


def test_a_candidate_goes_out_when_it_is_approved_and_the_version_says_who_and_why(waiting):
    workdir, first, b = waiting
    assert submit(str(workdir), b, model_card="# b") == (None, "the recipe requires it (push.approval)", True)
    assert [model.version for model in models_of(workdir)] == [first]
    card = "{0.id}, approved by {1.who}".format
    version = approve(str(workdir), b.id[:6], **BY, model_card=card)
    assert version == models_of(workdir)[-1]
    assert (version.digest, version.record.how) == (b.digest, "approval")
    decision = version.record.decision
    assert decision == read_decision(str(workdir), b)
    assert dataclasses.replace(decision, when="") == Decision("approve", "ann", "watched it", "", b.made)
    with open(f"{version.path}/assets.extra/model_card.md") as file:
        assert file.read() == f"{b.id}, approved by ann"


def test_a_rejected_candidate_stays_out(waiting):
    workdir, first, b = waiting
    reject(str(workdir), b.id, **BY)
    when = read_decision(str(workdir), b).when
    said = f"ann rejected {b.id} on {when}: watched it; to decide again, remove {workdir}/candidates/{b.id}/decision."
    assert error_of(approve, str(workdir), b.id) == error_of(reject, str(workdir), b.id) == f"{said}json"
    b = dataclasses.replace(b, approval="none")
    assert submit(str(workdir), b, model_card="") == (None, "ann rejected it: watched it", False)
    assert [model.version for model in models_of(workdir)] == [first]


def test_a_decision_is_about_one_evaluation(waiting):
    workdir, _, b = waiting
    reject(str(workdir), b.id, **BY)
    write_candidate(str(workdir), dataclasses.replace(b, made="2026-02-01T00:00:00+00:00"))
    assert approve(str(workdir), b.id, **BY).digest == b.digest


def test_nothing_is_decided_about_what_is_in_production(waiting):
    workdir, _, b = waiting
    version = approve(str(workdir), b.id, **BY).version
    said = f"{b.id} is in production already, as version {version}"
    assert error_of(approve, str(workdir), b.id) == error_of(reject, str(workdir), b.id) == said


def test_nobody_approves_what_the_gate_or_the_canary_refused(waiting):
    workdir, first, b = waiting
    for record, reason in (
        (refused(b), "the gate refused it: label: top-1 0.067 is not above 0.600; train longer"),
        (dataclasses.replace(b, canary=Canary(False, "a class is swapped")), "it does not serve: a class is swapped"),
    ):
        write_candidate(str(workdir), record)
        assert error_of(approve, str(workdir), b.id) == f"{b.id} cannot be approved: {reason}"
        assert error_of(reject, str(workdir), b.id) == f"there is nothing to decide about {b.id}: {reason}"
        assert submit(str(workdir), record, model_card="") == (None, reason, False)
    assert [model.version for model in models_of(workdir)] == [first]


def test_a_candidate_that_was_compared_with_another_model_has_to_run_again(waiting):
    workdir, first, b = waiting
    (c,) = write_candidates(workdir, "c")
    second = put(workdir, c)
    again = "run the pipeline again, which compares it anew"
    for record, was in ((b, f"compared with version {first}"), (compared_with(b, ""), "evaluated when nothing was")):
        write_candidate(str(workdir), record)
        said = error_of(approve, str(workdir), b.id)
        assert was in said
        assert said.endswith(f"and now version {second} is in production; {again}")
    # With the model that a rollback made the newest, it was compared.
    write_candidate(str(workdir), b)
    rollback(str(workdir), **BY)
    assert approve(str(workdir), b.id, **BY).digest == b.digest


def test_a_candidate_whose_production_is_gone_has_to_run_again(tmp_path):
    (a,) = write_candidates(tmp_path, "a")
    said = "it was compared with version 7, and now that is not in production; run the pipeline again, which compares"
    assert obstacle(compared_with(a, "7"), [], None) == f"{said} it anew"


def test_the_pipeline_pushes_what_may_go_out_and_waits_for_nobody(tmp_path):
    a, _ = write_candidates(tmp_path, "a", "b")
    version, why_not, waits = submit(str(tmp_path), a, model_card="# a")
    assert (version, why_not, waits) == (models_of(tmp_path)[0], "", False)
    assert submit(str(tmp_path), a, model_card="# a").version == version


def test_what_is_in_production_waits_for_nobody(waiting):
    workdir, _, b = waiting
    version = approve(str(workdir), b.id, **BY)
    assert submit(str(workdir), b, model_card="") == (version, "", False)
    reason = "the gate refused it: label: top-1 0.067 is not above 0.600; train longer"
    assert submit(str(workdir), refused(b), model_card="") == (None, reason, False)


def test_what_was_rolled_back_does_not_go_out_again_by_itself(waiting):
    workdir, first, b = waiting
    b = dataclasses.replace(b, approval="none")
    write_candidate(str(workdir), b)
    second = submit(str(workdir), b, model_card="").version.version
    third = rollback(str(workdir), who="ann", why="it is slow").version
    # The pipeline runs again, unchanged, and compares it with what is in production now.
    again = dataclasses.replace(compared_with(b, third), made="2026-02-01T00:00:00+00:00")
    write_candidate(str(workdir), again)
    why = "it was in production before, and was rolled back by ann: it is slow"
    assert submit(str(workdir), again, model_card="") == (None, why, True)
    assert approve(str(workdir), again.id, **BY).digest == b.digest
    assert needs_approval(again, models_of(workdir)) == ""
    assert [model.version for model in models_of(workdir)][:3] == [first, second, third]


def test_a_rollback_says_who_and_why_and_keeps_the_record_of_the_model(waiting):
    workdir, first, b = waiting
    approve(str(workdir), b.id, **BY)
    version = rollback(str(workdir), who="bob", why="it is slow")
    record = version.record
    assert (record.how, record.rollback_of, record.candidate.model_uri[-1]) == ("rollback", first, "a")
    assert (record.decision.action, record.decision.who, record.decision.why) == ("rollback", "bob", "it is slow")


def test_what_cannot_be_rolled_back_is_refused_in_words(waiting, tmp_path_factory):
    workdir, first, b = waiting
    empty = tmp_path_factory.mktemp("empty")
    assert error_of(rollback, str(empty)) == f"nothing is in production in {empty}"
    assert error_of(rollback, str(workdir)) == f"there is nothing older than version {first} to roll back to"
    assert error_of(rollback, str(workdir), first) == f"version {first} is in production already"
    assert error_of(rollback, str(workdir), "7") == f"no version '7'; there is {first}"
    approve(str(workdir), b.id, **BY)
    third = rollback(str(workdir), **BY).version
    said = f"version {first} is in production already, as version {third}"
    assert error_of(rollback, str(workdir), first) == said


def test_an_id_that_names_none_or_several_is_refused_with_those_there_are(waiting):
    workdir, _, b = waiting
    ids = sorted(path.name for path in (workdir / "candidates").iterdir())
    assert re.fullmatch(
        rf"no candidate 'x'; there is ({ids[0]}, {ids[1]}|{ids[1]}, {ids[0]})", error_of(approve, str(workdir), "x")
    )
    assert error_of(approve, str(workdir), "").startswith("no candidate ''")
    # An id that begins as another one is still named in full.
    short = dataclasses.replace(b, id=b.id[:3])
    write_candidate(str(workdir), short)
    assert error_of(reject, str(workdir), b.id[:2]).startswith(f"candidate '{b.id[:2]}' may be any of ")
    assert reject(str(workdir), b.id[:3], **BY) == short


@pytest.mark.parametrize("missing", ["who", "why"])
def test_a_decision_without_a_name_or_a_reason_is_refused(waiting, missing):
    workdir, _, b = waiting
    for call in (approve, reject):
        assert error_of(call, str(workdir), b.id, **{**BY, missing: " "}).startswith("say ")
    assert error_of(rollback, str(workdir), **{**BY, missing: " "}).startswith("say ")
