"""Each format, read back by a reader that is not ours: the same segments, to within a frame."""

import csv
import io
import json
import re

import numpy as np
import pytest
import webvtt as webvtt_reader
from pympi.Elan import Eaf

from components.manifest.reader import read_manifest
from pipeline.timeline.config import SegmentConfig
from pipeline.timeline.exports.activitynet import activitynet
from pipeline.timeline.exports.clock import clock
from pipeline.timeline.exports.elan import elan
from pipeline.timeline.exports.label_studio import label_studio
from pipeline.timeline.exports.subrip import subrip
from pipeline.timeline.exports.table import table
from pipeline.timeline.exports.webvtt import webvtt
from pipeline.timeline.segments import Segment
from pipeline.timeline.timeline import Head, Timeline

FPS = 24000 / 1001
HOSTILE = 'a < b & "c" --> ночь'
# First and last-but-one frame of each segment; the second begins where the first ends, one is beyond two hours.
SPANS = [(0, 30, "run", 0.91), (30, 31, HOSTILE, 0.4), (180_000, 180_100, "run", 0.75)]


def timeline(heads=1, path="folder/match 1.mp4"):
    segments = [Segment(first / FPS, behind / FPS, name, score) for first, behind, name, score in SPANS]
    classes = ["run", HOSTILE]
    made = [Head(name, classes, np.zeros([2, 2], np.float32), segments) for name in ("action", "other")[:heads]]
    return Timeline(
        video=path,
        model="models/1",
        fps=FPS,
        frames=180_500,
        window=48,
        hop=24,
        starts=np.array([0, 24]),
        heads=made,
        settings=SegmentConfig(),
    )


def check(found):
    """(class, start, end) in seconds are the segments, to within a frame."""
    found = sorted(found, key=lambda one: one[1:])
    assert [name for name, _, _ in found] == [name for _, _, name, _ in SPANS]
    for (_, start, end), (first, behind, _, _) in zip(found, SPANS, strict=True):
        assert abs(start * FPS - first) < 0.1
        assert abs(end * FPS - behind) < 0.1


def seconds(text):
    hours, minutes, rest = text.replace(",", ".").split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(rest)


def test_webvtt_is_read_by_webvtt_py():
    cues = webvtt_reader.from_string(webvtt(timeline()))
    unescape = {"&lt;": "<", "&gt;": ">", "&amp;": "&"}
    check(
        [
            (re.sub("&[a-z]+;", lambda found: unescape[found[0]], cue.raw_text), seconds(cue.start), seconds(cue.end))
            for cue in cues
        ]
    )


def test_subrip_is_read_by_webvtt_py():
    cues = webvtt_reader.from_buffer(io.StringIO(subrip(timeline())), format="srt")
    check([(cue.raw_text, seconds(cue.start), seconds(cue.end)) for cue in cues])


def test_elan_is_read_by_pympi(tmp_path):
    (tmp_path / "v.eaf").write_text(elan(timeline(heads=2)), "utf-8")
    read = Eaf(str(tmp_path / "v.eaf"))
    assert list(read.get_tier_names()) == ["action", "other"]
    for tier in read.get_tier_names():
        check([(name, start / 1000, end / 1000) for start, end, name in read.get_annotation_data_for_tier(tier)])
    (medium,) = read.get_linked_files()
    assert medium["MEDIA_URL"].endswith("folder/match%201.mp4")
    assert medium["MIME_TYPE"] == "video/mp4"


def test_csv_is_read_by_the_standard_library_and_has_the_columns_of_a_manifest(tmp_path):
    rows = list(csv.DictReader(io.StringIO(table(timeline()))))
    check([(row["label"], float(row["start"]), float(row["end"])) for row in rows])
    assert {row["head"] for row in rows} == {"action"}
    assert [float(row["score"]) for row in rows] == [score for _, _, _, score in SPANS]


def test_csv_is_read_as_a_manifest(tmp_path):
    (tmp_path / "v.csv").write_text(table(timeline(path="v.mp4")), "utf-8")
    (tmp_path / "v.mp4").write_bytes(b"any")
    with pytest.raises(ValueError, match="no clip in split 'eval'"):
        # All that a manifest for training lacks: a second video.
        read_manifest(str(tmp_path / "v.csv"))


def read_activitynet(document):
    """As ActivityNet's evaluation reads predictions: three fields, and for each video label, score, segment."""
    assert set(document) == {"version", "results", "external_data"}
    for video, results in document["results"].items():
        for result in results:
            yield video, result["label"], float(result["segment"][0]), float(result["segment"][1]), result["score"]


def test_activitynet_is_read_as_its_evaluation_reads_it():
    found = list(read_activitynet(json.loads(activitynet(timeline()))))
    check([one[1:4] for one in found])
    assert {one[0] for one in found} == {"match 1"}
    assert [one[4] for one in found] == [score for _, _, _, score in SPANS]


def test_label_studio_has_the_schema_of_its_tasks_and_timeline_regions():
    """https://labelstud.io/guide/task_format and https://labelstud.io/tags/timelinelabels: frames count from 1."""
    (task,) = json.loads(label_studio(timeline(heads=2)))
    assert task["data"] == {"video": "folder/match 1.mp4", "fps": FPS}
    (prediction,) = task["predictions"]
    assert set(prediction) == {"model_version", "result"}
    for head in ("action", "other"):
        found = []
        for region in prediction["result"]:
            assert set(region) == {"id", "from_name", "to_name", "type", "value", "score"}
            assert (region["to_name"], region["type"]) == ("video", "timelinelabels")
            assert set(region["value"]) == {"ranges", "timelinelabels"}
            (span,), (name,) = region["value"]["ranges"], region["value"]["timelinelabels"]
            assert set(span) == {"start", "end"}
            assert {type(value) for value in span.values()} == {int}
            assert 1 <= span["start"] <= span["end"]
            if region["from_name"] == head:
                # Frames n to m, of which the last one is part, are shown from (n - 1) / fps to m / fps.
                found.append((name, (span["start"] - 1) / FPS, span["end"] / FPS))
        check(found)
    assert len({region["id"] for region in prediction["result"]}) == 6


def test_with_several_heads_a_subtitle_names_its_head():
    assert "\nother: run\n" in subrip(timeline(heads=2))
    assert "\nrun\n" in subrip(timeline())


def test_times_are_rounded_to_milliseconds_and_carry_over():
    assert [clock(value) for value in (0, 0.9996, 59.9999, 3599.9996, 360000.001)] == [
        "00:00:00.000",
        "00:00:01.000",
        "00:01:00.000",
        "01:00:00.000",
        "100:00:00.001",
    ]


def test_a_timeline_without_segments_is_a_file_of_each_format_all_the_same(tmp_path):
    empty = Timeline(
        "v.mp4", "m", 10.0, 5, 8, 4, np.array([0]), [Head("h", ["a"], np.ones([1, 1], np.float32), [])], SegmentConfig()
    )
    assert not list(webvtt_reader.from_string(webvtt(empty)))
    assert subrip(empty) == ""
    (tmp_path / "v.eaf").write_text(elan(empty), "utf-8")
    assert Eaf(str(tmp_path / "v.eaf")).get_annotation_data_for_tier("h") == []
    assert not list(read_activitynet(json.loads(activitynet(empty))))


def test_the_json_is_read_back():
    rng = np.random.default_rng(0)
    made = timeline(heads=2)
    scores = rng.dirichlet([1, 1], 2).astype(np.float32)
    made.heads[0].scores[:] = scores
    read = Timeline.from_json(made.to_json())
    np.testing.assert_allclose(read.heads[0].scores, scores, atol=1e-4)
    assert read.starts.tolist() == [0, 24]
    assert (read.window, read.hop, read.frames, read.settings) == (48, 24, 180_500, made.settings)
    check([(one.name, one.start, one.end) for one in read.heads[1].segments])
    assert read.to_json() == made.to_json()
    with pytest.raises(ValueError, match="no timeline of version 1"):
        Timeline.from_json('{"version": 2}')
