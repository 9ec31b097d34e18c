"""What became of each model of a workdir, in the order in which a reviewer reads it."""

import dataclasses
import shutil

import pytest

from components.registry.approval import approve, reject, rollback
from components.registry.candidates import write_candidate
from components.registry.history import find, history
from components.registry.records import Canary, RegistryError
from components.registry.versions import standing
from tests.components.registry.runs import compared_with, put, refused, write_candidates, write_model


def states(workdir):
    return [(entry.id, entry.state, entry.detail) for entry in history(str(workdir))]


def test_a_workdir_without_a_model_is_named(tmp_path):
    with pytest.raises(RegistryError, match=f"no model in {tmp_path}: neither candidates/ nor pushed/ has one"):
        history(str(tmp_path))


def test_versions_say_what_put_them_there_and_what_took_them_away(tmp_path):
    a, b = write_candidates(tmp_path, "a", "b")
    first = put(tmp_path, a)
    write_candidate(str(tmp_path), compared_with(b, first))
    second = approve(str(tmp_path), b.id, who="ann", why="better").version
    third = rollback(str(tmp_path), who="bob", why="slow").version
    write_model(tmp_path / "pushed" / "3000000000", b"by hand")
    by_bob = f"rollback to version {first} by bob: slow"
    # A pushed candidate is listed as its version alone.
    assert states(tmp_path) == [
        ("3000000000", "in production", "copied by hand"),
        (third, "was in production", by_bob),
        (second, "rolled back", f"by version {third}: {by_bob}"),
        (first, "was in production", "pushed by the pipeline"),
    ]
    assert [entry.candidate and entry.candidate.model_uri[-1] for entry in history(str(tmp_path))] == [
        None, "a", "b", "a",
    ]  # fmt: skip


def test_candidates_say_what_they_wait_for_and_what_keeps_them(tmp_path):
    a, b, c, d, e, f, g = write_candidates(tmp_path, *"abcdefg")
    version = put(tmp_path, a)
    for record in (
        refused(b),
        dataclasses.replace(c, canary=Canary(False, "a class is swapped")),
        compared_with(d, version),
        e,
        dataclasses.replace(compared_with(f, version), approval="required"),
        compared_with(g, version),
    ):
        write_candidate(str(tmp_path), record)
    reject(str(tmp_path), d.id, who="ann", why="misses the night")
    found = states(tmp_path)
    assert found[0][:2] == (version, "in production")
    assert found[1:] == [
        (g.id, "not pushed", "its run did not come to its end"),
        (f.id, "waiting for approval", "the recipe requires it (push.approval)"),
        (e.id, "out of date", found[3][2]),
        (d.id, "rejected", "by ann: misses the night"),
        (c.id, "refused", "it does not serve: a class is swapped"),
        (b.id, "refused", "the gate refused it: label: top-1 0.067 is not above 0.600; train longer"),
    ]
    assert found[3][2].startswith("it was evaluated when nothing was in production, and now version")


def test_a_model_that_was_rolled_back_is_a_candidate_again_once_it_is_evaluated_anew(tmp_path):
    a, b = write_candidates(tmp_path, "a", "b")
    first, second = put(tmp_path, a), put(tmp_path, b)
    third = rollback(str(tmp_path), who="bob", why="slow").version
    again = dataclasses.replace(compared_with(b, third), made="3000-01-01T00:00:00+00:00")
    write_candidate(str(tmp_path), again)
    assert [entry.id for entry in history(str(tmp_path))] == [b.id, third, second, first]
    assert history(str(tmp_path))[0].state == "waiting for approval"


def test_a_model_in_production_that_is_evaluated_again_says_so(tmp_path):
    (a,) = write_candidates(tmp_path, "a")
    version = put(tmp_path, a)
    write_candidate(str(tmp_path), dataclasses.replace(a, made="3000-01-01T00:00:00+00:00", approval="required"))
    assert states(tmp_path)[0] == (a.id, "in production", f"as version {version}, and evaluated again")


def test_an_approved_candidate_whose_version_was_removed_is_listed(tmp_path):
    (a,) = write_candidates(tmp_path, "a")
    write_candidate(str(tmp_path), dataclasses.replace(a, approval="required"))
    shutil.rmtree(approve(str(tmp_path), a.id, who="ann", why="good").path)
    assert states(tmp_path) == [(a.id, "not pushed", "approved by ann, but its version is gone")]


def test_a_copy_by_hand_has_the_record_of_the_candidate_that_it_equals(tmp_path):
    (a,) = write_candidates(tmp_path, "a")
    shutil.copytree(a.model_uri, tmp_path / "pushed" / "7")
    (entry,) = history(str(tmp_path))
    assert (entry.id, entry.candidate, entry.model) == ("7", a, standing(str(tmp_path / "pushed"))[0])


def test_one_is_found_by_the_beginning_of_its_id_and_a_pushed_candidate_by_its_own(tmp_path):
    a, b = write_candidates(tmp_path, "a", "b")
    version = put(tmp_path, a)
    entries = history(str(tmp_path))
    assert find(entries, "latest").id == version
    assert find(entries, version[:3]).id == find(entries, a.id[:5]).id == version
    assert find(entries, b.id).id == b.id
    with pytest.raises(RegistryError, match="no version or candidate 'none'; there is "):
        find(entries, "none")
