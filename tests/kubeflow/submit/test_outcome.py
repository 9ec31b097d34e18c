"""The end of `vivit submit --wait`: which models the run left in its workdir, where that can be read from here."""

import dataclasses
import datetime

import pytest

from components.registry.candidates import page_path, write_candidate
from kubeflow.submit.outcome import models
from tests.components.registry.runs import put, refused, write_candidates
from tests.kubeflow.submit.conftest import pipeline_spec
from tests.kubeflow.submit.recording import CREATED, Kfp, Server

RAN = ("SUCCEEDED", {"Prepare": "SUCCEEDED", "Trainer": "SUCCEEDED"})
AFTER = "2026-11-01T10:20:00+00:00"


@pytest.fixture
def workdir(tmp_path):
    """A workdir with a candidate that is older than the run."""
    (old,) = write_candidates(tmp_path / "work", "old")
    return tmp_path / "work", old


def test_a_candidate_of_the_run_is_listed_with_what_became_of_it_and_its_page(submit, serve, write_spec, workdir):
    workdir, old = workdir
    (new,) = write_candidates(workdir, "new")
    record = refused(dataclasses.replace(new, made=AFTER))
    write_candidate(str(workdir), record)
    page = page_path(str(workdir), record.id)
    with open(page, "w") as file:
        file.write("<html>")
    server = serve(Server(Kfp(RAN)))
    command = (write_spec(pipeline_spec()), "--host", server.address, "--wait", "--param", "data=new.csv")
    status, shown = submit(*command, "--param", f"workdir={workdir}")
    assert status == 0
    lines = shown.splitlines()
    (line,) = [line for line in lines if line.startswith(record.id)]
    assert "refused" in line
    assert lines[-1] == f"review page: {page}"
    assert old.id not in shown


def test_a_pushed_version_is_listed(workdir):
    workdir, old = workdir
    version = put(workdir, old)
    since = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(minutes=1)
    (table,) = models(str(workdir), since)
    assert table.splitlines()[1].startswith(version)
    assert "in production" in table


def test_a_run_from_cache_names_the_newest_model(workdir):
    workdir, old = workdir
    write_candidate(str(workdir), dataclasses.replace(old, approval="required"))
    (line,) = models(str(workdir), datetime.datetime.fromisoformat(CREATED.replace("Z", "+00:00")))
    assert line == f"No new candidate: the newest model of {workdir} is {old.id}, waiting for approval."


def test_a_workdir_that_cannot_be_read_from_here_is_no_failure(tmp_path):
    lines = list(models(f"unknown://{tmp_path}", None))
    assert lines[0].startswith("What came of it cannot be read from here (")
    assert "/candidates/<id>/review.html" in lines[1]
