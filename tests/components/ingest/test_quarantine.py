"""The quarantine: rows and counts of what is lost, the sum that must be right, and when a run stops."""

import json

import pytest

from components.ingest.quarantine import (
    ClipsUnaccountedError,
    Outcome,
    TooManyBadVideosError,
    check_accounted,
    check_losses,
    quarantine_row,
    read_quarantine,
    read_summary,
    write_quarantine,
)
from components.manifest.reader import Clip
from components.media.video import VideoError


def clip(clip_id, split="train", name="run"):
    return Clip(clip_id, f"/{clip_id}", clip_id, split, {"verb": name}, {}, size=7)


def lost(clip_id, reason="cannot open it"):
    return quarantine_row(clip(clip_id), VideoError(f"/{clip_id}", "open", reason))


OUTCOMES = [
    Outcome("train", 3, 2, (lost("c", "it ends at 1.5 s of 20 s"), lost("b"))),
    Outcome("eval", 1, 0, ()),
    Outcome("train", 0, 0, (lost("a", "it ends at 2.25 s of 3 s"),)),
]


def test_the_summary_counts_by_split_and_by_reason_whatever_numbers_it_names(tmp_path):
    write_quarantine(str(tmp_path), ["train", "eval"], OUTCOMES)
    assert read_summary(str(tmp_path)) == {
        "examples": {"train": 3, "eval": 1},
        "short": {"train": 2, "eval": 0},
        "quarantined": {"train": 3, "eval": 0},
        "reasons": {"open: it ends at N s of N s": 2, "open: cannot open it": 1},
    }


def test_the_order_in_which_shards_are_done_changes_nothing(tmp_path):
    for folder, outcomes in (("one", OUTCOMES), ("other", OUTCOMES[::-1])):
        (tmp_path / folder).mkdir()
        write_quarantine(str(tmp_path / folder), ["train", "eval"], outcomes)
    for file in ("train.jsonl", "eval.jsonl", "summary.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "other" / file).read_bytes()
    assert [json.dumps(found) for found in read_quarantine(str(tmp_path / "one"))] == [
        json.dumps(wanted) for wanted in (lost("a", "it ends at 2.25 s of 3 s"), lost("b"), OUTCOMES[0].rows[0])
    ]


@pytest.mark.parametrize("examples", [0, 2])
def test_a_clip_too_few_or_too_many_stops_the_run(examples):
    summary = {"examples": {"train": examples, "eval": 1}, "quarantined": {"train": 1, "eval": 0}}
    clips = [clip("a"), clip("b"), clip("c", "eval")]
    with pytest.raises(ClipsUnaccountedError, match=rf"\(train: 2 in, {examples + 1} out\)"):
        check_accounted(clips, summary)
    check_accounted(clips, {**summary, "examples": {"train": 1, "eval": 1}})


def test_a_run_stops_when_a_class_is_lost_from_a_split_however_small():
    clips = [clip(f"{n}", "train", "run") for n in range(99)] + [clip("j", "train", "jump"), clip("k", "eval", "jump")]
    rows = [{"id": "j", "path": "/j", "reason": "cannot open it"}]
    message = r"^no clip is left of verb 'jump' in train; mend its videos, .*:\n  /j: cannot open it$"
    with pytest.raises(TooManyBadVideosError, match=message):
        check_losses(clips, rows, max_bad_fraction=0.5)
    check_losses([*clips, clip("l", "train", "jump")], rows, max_bad_fraction=0.5)


def test_no_more_than_twenty_reasons_are_listed():
    clips = [clip(f"{n}", "train", "run") for n in range(50)]
    rows = [{"id": f"{n}", "path": f"/{n}", "reason": "gone"} for n in range(30)]
    with pytest.raises(TooManyBadVideosError) as caught:
        check_losses(clips, rows, max_bad_fraction=0.1)
    assert str(caught.value).count(": gone") == 20
    assert str(caught.value).endswith("… and 10 more")
