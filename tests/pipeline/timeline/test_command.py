"""`vivit timeline`: what colours a video shows is found when it shows them; what is bad costs itself alone."""

import csv
import json
import os

import pytest

from components.storage import files
from pipeline.cli import main
from pipeline.commands.inference.timeline import FORMATS
from pipeline.local.interrupt import STATUS
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


@pytest.fixture(scope="module")
def finished(colour_model, colours_video, tmp_path_factory):
    """The folder of a run that wrote every format and was scored; a video of it is gone, so that its status is 1."""
    folder = tmp_path_factory.mktemp("finished")
    gone = folder / "gone.mp4"
    with (folder / "truth.csv").open("w", newline="") as file:
        rows = [("path", "label/colour", "start", "end"), (colours_video, "red", 3, 6), (colours_video, "green", 8, "")]
        csv.writer(file).writerows([*rows, ("other.mp4", "blue", 0, 1), (gone, "red", 0, 5)])
    options = ["--truth", folder / "truth.csv", "--smooth", 0]
    options += [part for name in FORMATS for part in ("--format", name)]
    assert run(colour_model, folder / "out", gone, colours_video, *options) == 1
    return folder / "out"


def test_what_is_shown_is_found_when_it_is_shown(finished):
    (red, green) = segments(finished, "colours.mp4")
    assert (red[0], green[0]) == ("red", "green")
    # Half a window in width.
    assert red[1:] == pytest.approx((3, 6), abs=0.4)
    assert green[1:] == (pytest.approx(8, abs=0.4), 12.0)
    document = json.loads((finished / "colours.mp4.json").read_text())
    assert (document["duration"], document["frames"], document["fps"]) == (12.0, 120, 10.0)
    assert (document["window"], document["hop"], document["error"]) == (0.8, 0.4, None)
    assert document["windows"][:3] == [0.0, 0.4, 0.8]
    assert document["windows"][-1] == 11.2
    assert [len(row) for row in document["scores"]["colour"]] == [3] * len(document["windows"])


def test_each_format_is_a_file_and_nothing_else_is_left(finished):
    endings = {"json", "html", "vtt", "srt", "csv", "activitynet.json", "labelstudio.json", "eaf"}
    assert {path.name for path in finished.iterdir()} == {"scores.json", *(f"colours.mp4.{end}" for end in endings)}
    assert set(session.FORMATS) == set(FORMATS)


def test_segments_are_scored_against_a_manifest(finished):
    scores = json.loads((finished / "scores.json").read_text())
    assert set(scores) == {"colour"}
    # Of a video that was not asked for, nothing is wanted; of one that is gone, all is missed.
    found = {name: one["average_precision"][0] for name, one in scores["colour"]["classes"].items()}
    assert found == {"green": 1.0, "red": 0.5}
    assert scores["colour"]["mean_average_precision"]["0.5"] == 0.75


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
        "ram://timeline/gone.mp4",
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


def test_videos_that_state_no_length_or_a_wrong_one_are_read_to_their_end(colour_model, tmp_path):
    videos = [write_video(tmp_path / name, range(25)) for name in ("v.ts", "v.mkv", "v.avi", "v.h264")]
    assert run(colour_model, tmp_path / "out", *videos, "--format", "json") == 0
    for video in videos:
        document = json.loads((tmp_path / "out" / f"{os.path.basename(video)}.json").read_text())
        assert document["frames"] == 25


def test_a_file_is_there_whole_or_not_at_all(colour_model, colours_video, tmp_path, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "rename", stopped)
    assert run(colour_model, tmp_path / "out", colours_video) == STATUS
    assert not list((tmp_path / "out").iterdir())


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
