"""`vivit timeline`: what colours a video shows is found when it shows them; what is bad costs itself alone."""

import csv
import json
import os

import pytest

from pipeline.cli import main
from pipeline.commands.inference.timeline import FORMATS
from pipeline.timeline import session
from pipeline.timeline.timeline import Timeline
from tests.components.media.videos import write_video
from tests.pipeline.timeline.conftest import GREEN, GREY, RED, write_colours


def run(model, output, *arguments):
    """With thresholds at which half a window of a colour is enough for it."""
    fixed = ["timeline", "--model", model, "--output", str(output), "--on", "0.8", "--off", "0.7"]
    return main([*fixed, *map(str, arguments)])


def segments(output, name, head="colour"):
    timeline = Timeline.from_json((output / f"{name}.json").read_text())
    (found,) = (one for one in timeline.heads if one.name == head)
    return [(one.name, one.start, one.end) for one in found.segments]


def test_what_is_shown_is_found_when_it_is_shown(colour_model, colours_video, tmp_path, capfd):
    assert run(colour_model, tmp_path, colours_video, "--format", "json", "--smooth", 0) == 0
    (red, green) = segments(tmp_path, "colours.mp4")
    assert (red[0], green[0]) == ("red", "green")
    # Half a window in width.
    assert red[1:] == pytest.approx((3, 6), abs=0.4)
    assert green[1:] == (pytest.approx(8, abs=0.4), 12.0)
    assert "colour: 2 segments of 2 classes" in capfd.readouterr().out
    document = json.loads((tmp_path / "colours.mp4.json").read_text())
    assert (document["duration"], document["frames"], document["fps"]) == (12.0, 120, 10.0)
    assert (document["window"], document["hop"], document["error"]) == (0.8, 0.4, None)
    assert document["windows"][:3] == [0.0, 0.4, 0.8]
    assert document["windows"][-1] == 11.2
    assert [len(row) for row in document["scores"]["colour"]] == [3] * len(document["windows"])


def test_each_format_is_a_file_and_nothing_else_is_left(colour_model, colours_video, tmp_path):
    assert run(colour_model, tmp_path, colours_video, *(part for name in FORMATS for part in ("--format", name))) == 0
    endings = {"json", "html", "vtt", "srt", "csv", "activitynet.json", "labelstudio.json", "eaf"}
    assert {path.name for path in tmp_path.iterdir()} == {f"colours.mp4.{ending}" for ending in endings}
    assert set(session.FORMATS) == set(FORMATS)


def test_a_background_class_and_another_window_are_heeded(colour_model, colours_video, tmp_path):
    options = ("--format", "json", "--background", "green", "--window", 1.6, "--hop", 0.2)
    assert run(colour_model, tmp_path, colours_video, *options) == 0
    assert [name for name, _, _ in segments(tmp_path, "colours.mp4")] == ["red"]
    document = json.loads((tmp_path / "colours.mp4.json").read_text())
    assert document["windows"][:2] == [0.0, 0.2]
    assert document["settings"]["background"] == ["green"]


def test_bad_videos_cost_themselves_alone(colour_model, colours_video, tmp_path, capfd):
    os.mkfifo(tmp_path / "waits.mp4")
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("no video")
    odd = tmp_path / os.fsdecode(b"gr\xfcn.mp4")
    os.link(colours_video, odd)
    bad = [
        tmp_path / "waits.mp4",
        tmp_path / "empty.mp4",
        tmp_path / "text.mp4",
        tmp_path,
        "http://no-such-host.invalid/a.mp4",
    ]
    output = tmp_path / "out"
    assert run(colour_model, output, *bad, odd, colours_video, colours_video, "--format", "json") == 1
    said = capfd.readouterr().out
    for path, reason in zip(bad, ("it is no file", "zero bytes", "it is no video", "it is no file", ""), strict=True):
        assert f"{path}\n  has no timeline: " in said
        assert reason in said
    names = {path.name for path in output.iterdir()}
    assert names == {"gr\\udcfcn.mp4.json", "colours.mp4.json", "colours.mp4-2.json"}


def test_what_can_be_read_of_a_damaged_video_is_written_and_the_status_is_1(colour_model, tmp_path, capfd):
    video = write_colours(tmp_path / "v.mkv", (3, RED), (3, GREY), (4, GREEN))
    content = (tmp_path / "v.mkv").read_bytes()
    (tmp_path / "v.mkv").write_bytes(content[: len(content) * 7 // 10])
    assert run(colour_model, tmp_path / "out", video) == 1
    assert "read up to" in capfd.readouterr().out
    timeline = Timeline.from_json((tmp_path / "out" / "v.mkv.json").read_text())
    assert timeline.error
    assert segments(tmp_path / "out", "v.mkv")[0][:2] == ("red", 0.0)
    assert "Read up to" in (tmp_path / "out" / "v.mkv.html").read_text()


@pytest.mark.parametrize("name", ["v.ts", "v.mkv", "v.avi", "v.h264"])
def test_a_video_that_states_no_length_or_a_wrong_one_is_read_to_its_end(colour_model, tmp_path, name):
    write_video(tmp_path / name, range(25))
    assert run(colour_model, tmp_path / "out", tmp_path / name, "--format", "json") == 0
    assert json.loads((tmp_path / "out" / f"{name}.json").read_text())["frames"] >= 25


def test_segments_are_scored_against_a_manifest(colour_model, colours_video, tmp_path, capfd):
    with (tmp_path / "truth.csv").open("w", newline="") as file:
        rows = [("path", "label/colour", "start", "end"), (colours_video, "red", 3, 6), (colours_video, "green", 8, "")]
        csv.writer(file).writerows([*rows, ("other.mp4", "blue", 0, 1), (tmp_path / "gone.mp4", "red", 0, 5)])
    arguments = ("--truth", tmp_path / "truth.csv", "--format", "json")
    assert run(colour_model, tmp_path / "out", colours_video, *arguments) == 0
    assert "colour: mAP@0.5 1.000" in capfd.readouterr().out
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert set(scores) == {"colour"}
    # Of a video that was not asked for, nothing is wanted.
    assert set(scores["colour"]["classes"]) == {"red", "green"}
    # Of one that has no timeline, all is missed.
    assert run(colour_model, tmp_path / "out", colours_video, tmp_path / "gone.mp4", *arguments) == 1
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert scores["colour"]["classes"]["red"]["average_precision"][0] == 0.5


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--on", "0.2", "--off", "0.5"], "wanted 0 < off <= on <= 1"),
        (["--background", "purple"], "--background purple: the model has no such class; it has blue"),
        (["--hop", "9"], "a hop is a frame or more, and no longer than a window"),
        (["--truth", "nowhere.csv"], "nowhere.csv"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_read(colour_model, colours_video, tmp_path, capfd, arguments, error):
    assert run(colour_model, tmp_path / "out", colours_video, *arguments) == 2
    assert error in capfd.readouterr().out
    assert not list(tmp_path.glob("out/*"))


def test_a_folder_without_a_model_is_refused(colours_video, tmp_path, capfd):
    assert run(str(tmp_path), tmp_path / "out", colours_video) == 2
    assert "no SavedModel in" in capfd.readouterr().out
