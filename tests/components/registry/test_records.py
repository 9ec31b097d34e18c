"""Records as files: what is written is read again, on any file system, and what cannot be read is named."""

import dataclasses
import json
import math
import os

import pytest

from components.evaluation.assessment import Figure
from components.evaluation.statistics import Interval
from components.registry.candidates import (
    candidates,
    find_candidate,
    page_path,
    read_decision,
    write_candidate,
    write_decision,
)
from components.registry.records import Candidate, Decision, RegistryError, read_record, write_record
from tests.components.registry.runs import candidate, write_candidates, write_model

HOSTILE = "<script>\x1b[2J\n=HYPERLINK()\u202eשלום" + "x" * 300


@pytest.fixture
def record(tmp_path):
    return candidate(write_model(tmp_path / "model", b"weights"))


@pytest.mark.parametrize("root", ["", "ram:/"])
def test_a_record_is_read_as_it_was_written(tmp_path, root, record):
    workdir = f"{root}{tmp_path}/run"
    record = dataclasses.replace(record, label=HOSTILE)
    write_candidate(workdir, record)
    assert candidates(workdir) == [record]
    assert find_candidate(workdir, record.id) == record
    assert read_decision(workdir, record) is None
    decision = Decision("reject", HOSTILE, "why", "now", record.made)
    write_decision(workdir, record, decision)
    assert read_decision(workdir, record) == decision


def test_a_loss_that_is_no_number_is_read_again(tmp_path, record):
    (scored,) = record.assessment.scored
    lost = dataclasses.replace(scored, figures=(Figure("loss", Interval(math.nan, 0.0, math.inf)),))
    record = dataclasses.replace(record, assessment=dataclasses.replace(record.assessment, scored=(lost,)))
    write_record(str(tmp_path / "record.json"), record)
    found = read_record(Candidate, str(tmp_path / "record.json")).assessment.scored[0].figure("loss").candidate
    assert math.isnan(found.value)
    assert found.high == math.inf


def test_a_record_is_replaced_whole(tmp_path, record):
    path = tmp_path / "record.json"
    write_record(str(path), dataclasses.replace(record, label="x" * 10000))
    reader = os.open(path, os.O_RDONLY)
    write_record(str(path), record)
    # Who reads the old one while it is replaced reads it to its end.
    assert json.loads(os.read(reader, 1 << 20))["label"] == "x" * 10000
    os.close(reader)
    assert read_record(Candidate, str(path)) == record
    assert sorted(os.listdir(tmp_path)) == ["model", "record.json"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "Invalid JSON"),
        (b'{"id": "x"}', "made: Field required"),
        (b"\xff", "can't decode byte 0xff"),
    ],
)
def test_what_is_no_record_is_named(tmp_path, content, said):
    path = tmp_path / "record.json"
    path.write_bytes(content)
    with pytest.raises(RegistryError) as raised:
        read_record(Candidate, str(path))
    assert str(raised.value).startswith(f"{path} is no candidate: ")
    assert said in str(raised.value)


def test_a_record_that_is_missing_is_named(tmp_path):
    with pytest.raises(RegistryError, match=f"{tmp_path}/record.json: no such file"):
        read_record(Candidate, str(tmp_path / "record.json"))


def test_candidates_stand_in_the_order_of_their_evaluation_and_one_without_a_record_is_none_yet(tmp_path, caplog):
    b, a = write_candidates(tmp_path, "b", "a")
    page = page_path(str(tmp_path), "ffff")
    os.makedirs(os.path.dirname(page))
    with open(page, "w") as file:
        file.write("a page")
    broken = tmp_path / "candidates" / "eeee" / "record.json"
    broken.parent.mkdir()
    broken.write_text("{}")
    assert candidates(str(tmp_path)) == [b, a]
    assert f"a candidate is left out: {broken} is no candidate" in caplog.text
    assert candidates(str(tmp_path / "none")) == []
