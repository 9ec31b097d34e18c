"""`vivit check`: every clip is decoded and described, what is bad is told, and the page shows it in a browser."""

import contextlib
import csv
import dataclasses
import html
import io
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import psutil
import pytest
import tensorflow as tf
from PIL import Image

from components.table import ManifestError
from components.video import IngestConfig
from pipeline.check import Checkable, Report, check, clips_to_check, filmstrips_per_class
from pipeline.check_page import check_page, check_table
from pipeline.cli import main
from pipeline.console import Console
from tests.components import corpus
from tests.components.records import record, write_records
from tests.components.videos import counter, write_video

ROOT = Path(__file__).parents[2]
HOSTILE = "<img src=x onerror=\"document.title='run'\">.mp4"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
# Run by the browser at the end of the page: what a reader sees.
LOOK = """<script>document.body.dataset.seen = JSON.stringify({
  title: document.title,
  text: document.body.innerText,
  strips: [...document.images].map(image => image.naturalWidth),
  spills: document.documentElement.scrollWidth > innerWidth,
})</script>"""


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """A folder of two classes: three good videos, one of them turned, a text, and a folder called x.mp4."""
    root = tmp_path_factory.mktemp("videos")
    for folder in ("run", "jump"):
        (root / folder).mkdir()
    write_video(root / "run" / "a.mp4", range(40))
    write_video(root / "jump" / HOSTILE, range(20), codec="libx264")
    with av.open(str(root / "jump" / "turned.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        stream.set_display_rotation(90)
        for number in range(10):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(counter(number))))
        container.mux(stream.encode(None))
    (root / "run" / "text.mp4").write_text("no video")
    (root / "run" / "x.mp4").mkdir()
    return root


def checked(source, *, workers=1, filmstrips=0):
    found = check(clips_to_check(str(source)), IngestConfig(), workers=workers, filmstrips=filmstrips)
    return {one.clip.path: one for one in found}


def test_a_bad_video_is_told_with_its_reason_and_the_status_is_1(videos, capfd):
    assert main(["check", str(videos)]) == 1
    out, err = capfd.readouterr()
    assert "5 clips: 3 good, 2 bad\n  run/text.mp4: cannot open it: it is no video" in out
    assert "  run/x.mp4: cannot open it: Is a directory" in out
    assert re.search(r"^good +h264 +64×48 +10 +4\.00 +0° +run +run/a\.mp4$", out, re.MULTILINE)
    assert err == ""


def test_a_long_class_or_name_does_not_move_the_columns_of_the_others(videos):
    (found,) = checked(videos / "run" / "a.mp4").values()
    long = dataclasses.replace(found, clip=Checkable("n" * 200, "", "c" * 200))
    text = check_table(Report("videos", "", [long, dataclasses.replace(found, clip=Checkable("a", "", "c"))], 2))
    assert re.search(r"^good .* c {21}a$", text, re.MULTILINE)
    assert "c" * 200 + "  " + "n" * 200 in text


def test_good_videos_alone_have_the_status_0(videos, capfd):
    assert main(["check", str(videos / "run" / "a.mp4")]) == 0
    assert "1 clips: 1 good, 0 bad" in capfd.readouterr().out


@pytest.mark.parametrize(
    "arguments", [[], ["gone"], ["."], ["videos", "--workers", "0"], [".", "--set", "ingest.fps=0"], ["s4://b/videos"]]
)
def test_nothing_to_check_has_the_status_2(arguments, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    try:
        status = main(["check", *arguments])
    except SystemExit as ended:
        status = ended.code
    assert status == 2


def test_a_turned_video_is_told_as_it_must_be_turned_clockwise(videos):
    assert checked(videos)["jump/turned.mp4"].probe.rotation == 270


def test_a_name_cannot_write_to_the_terminal(tmp_path, capfd):
    (tmp_path / "\x1b[2J").mkdir()
    (tmp_path / "\x1b[2J" / "\x1b[2J.mp4").write_text("no video")
    (tmp_path / "m.csv").write_text("path,label\n\x1b[2J.mp4,\x1b[2J\n")
    assert main(["check", str(tmp_path)]) == 1
    assert main(["check", str(tmp_path / "m.csv")]) == 1
    assert "\x1b" not in capfd.readouterr().out


def test_the_clips_of_a_manifest_are_its_segments_and_a_missing_file_is_bad(videos, tmp_path):
    rows = [f"{videos}/run/a.mp4,run,1,3", f"{videos}/run/a.mp4,run,9,10", "gone.mp4,jump,,"]
    (tmp_path / "m.csv").write_text("\n".join(["path,label,start,end", *rows]))
    first, past, gone = check(clips_to_check(str(tmp_path / "m.csv")), IngestConfig(), workers=1, filmstrips=0)
    assert (first.duration, first.reason) == (2.0, "")
    assert (past.stage, past.reason) == ("segment", "no frame between 9 s and 10 s")
    assert (gone.stage, gone.reason) == ("open", "cannot open it: No such file or directory")


@pytest.mark.parametrize("path", ["a.mp4", "train/a.mp4"])
def test_a_video_outside_of_a_class_has_none(videos, tmp_path, path):
    (tmp_path / path).parent.mkdir(exist_ok=True)
    shutil.copy(videos / "run" / "a.mp4", tmp_path / path)
    (clip,) = clips_to_check(str(tmp_path))
    assert clip.label == ""


def test_a_row_of_a_manifest_that_cannot_be_read_is_refused(tmp_path):
    (tmp_path / "m.csv").write_text("path,label,start\na.mp4,x,soon\n")
    with pytest.raises(ManifestError, match="row 2: start 'soon' is not a time in seconds"):
        clips_to_check(str(tmp_path / "m.csv"))


def test_the_answers_do_not_depend_on_the_workers(videos):
    assert checked(videos, filmstrips=2) == checked(videos, workers=4, filmstrips=2)


def test_csv_has_a_row_per_clip(videos, tmp_path):
    assert main(["check", str(videos), "--csv", str(tmp_path / "c.csv")]) == 1
    rows = {row["path"]: row for row in csv.DictReader((tmp_path / "c.csv").open())}
    assert {path: row["verdict"] for path, row in rows.items()} == {
        f"jump/{HOSTILE}": "good",
        "jump/turned.mp4": "good",
        "run/a.mp4": "good",
        "run/text.mp4": "bad",
        "run/x.mp4": "bad",
    }
    told = ("codec", "width", "height", "fps", "duration", "rotation", "stage")
    assert [rows["run/a.mp4"][column] for column in told] == ["h264", "64", "48", "10.0", "4.0", "0", ""]
    assert rows["run/text.mp4"]["stage"] == "open"


def test_a_filmstrip_shows_eight_frames_evenly_in_time(videos):
    strip = Image.open(io.BytesIO(checked(videos, filmstrips=1)["run/a.mp4"].filmstrip)).convert("L")
    # 40 frames in 4 s; each thumbnail of 128x96 shows the number of its frame in 8 bars, with a gap of 2 to the next.
    assert strip.size == (8 * 128 + 7 * 2, 96)
    middles = np.asarray(strip)[48].reshape(-1)
    bars = [[middles[number * 130 + bar * 16 + 8] > 125 for bar in range(8)] for number in range(8)]
    assert [int("".join("01"[bit] for bit in shown), 2) for shown in bars] == [2, 7, 12, 17, 22, 27, 32, 37]


def test_as_many_good_clips_of_a_class_as_wanted_get_a_filmstrip(videos):
    assert [path for path, found in checked(videos, filmstrips=1).items() if found.filmstrip] == [
        f"jump/{HOSTILE}",
        "run/a.mp4",
    ]


def test_a_page_of_thousands_of_clips_stays_small(videos):
    clips = list(checked(videos).values()) * 4000
    page = check_page(Report("videos", "", clips, len(clips)))
    assert page.count("<tr><td>") == 2000
    assert "… and 6000 more; <code>--csv</code> lists all." in page
    assert len(page) < 2e6


def test_a_page_has_about_as_many_filmstrips_for_many_classes_as_for_few():
    shown = {n: n * filmstrips_per_class([Checkable("a", "a", str(k)) for k in range(n)]) for n in (1, 7, 120, 700)}
    assert shown == {1: 120, 7: 119, 120: 120, 700: 700}


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("width", [1280, 500])
def test_the_page_shows_what_is_bad_first_and_a_strip_of_each_good_clip(videos, tmp_path, width):
    page = tmp_path / "page.html"
    assert main(["check", str(videos), "--html", str(page)]) == 1
    assert "http" not in page.read_text()
    page.write_text(page.read_text() + LOOK)
    browser = [CHROMIUM, "--headless", "--no-sandbox", f"--window-size={width},900", "--dump-dom", page.as_uri()]
    shown = subprocess.run(browser, capture_output=True, text=True, timeout=60, check=True).stdout
    seen = json.loads(html.unescape(re.search(r'data-seen="([^"]*)"', shown)[1]))
    assert seen["title"] == f"2 bad of 5: {videos}"
    places = [
        seen["text"].index(text) for text in ("run/text.mp4", "cannot open it: it is no video", f"jump/{HOSTILE}")
    ]
    assert places == sorted(places)
    assert "run 1 good, 2 bad" in seen["text"]
    assert "jump/turned.mp4 · h264 · 64×48 · 10\xa0fps · 1.04\xa0s · turned\xa0by\xa0270°" in seen["text"]
    assert sorted(seen["strips"]) == [8 * 96 // 4 * 3 + 14, 8 * 128 + 14, 8 * 128 + 14]
    assert not seen["spills"]


def test_the_page_of_the_corpus_shows_all_of_it(tmp_path):
    corpus.make_corpus(tmp_path)
    clips = checked(tmp_path, workers=2, filmstrips=120)
    assert {path for path, found in clips.items() if found.is_bad} == set(corpus.BAD)
    assert {path for path, found in clips.items() if found.filmstrip} == set(corpus.GOOD)
    page = check_page(Report("corpus", "", list(clips.values()), len(clips)))
    assert [name for name in clips if page.count(f"<strong>{name}") + page.count(f"<b>{name}</b>") != 1] == []


def test_progress_is_shown_on_a_terminal_alone(tmp_path):
    shown, terminal = pty.openpty()
    with open(os.devnull, "w") as nowhere, open(terminal, "w") as errors, open(tmp_path / "file", "w+") as file:
        for stream in (errors, file):
            tracked = Console(nowhere, stream, nowhere, None).track(range(3), 3, "Checking", bool)
            assert list(tracked) == [0, 1, 2]
        file.seek(0)
        assert file.read() == ""
    text = b""
    # A terminal that nobody writes to any more is told as an error.
    with contextlib.suppress(OSError):
        while more := os.read(shown, 10_000):
            text += more
    os.close(shown)
    assert "Checking, 2 bad" in text.decode()


@pytest.fixture
def manifest(videos, tmp_path):
    """A manifest that `vivit run` takes: two classes, trained and evaluated, and one bad video."""
    for name in ("one", "two", "three"):
        shutil.copy(videos / "run" / "a.mp4", tmp_path / f"{name}.mp4")
    shutil.copy(videos / "run" / "text.mp4", tmp_path / "text.mp4")
    rows = ["one.mp4,0,2,run,train", "two.mp4,1,3,jump,train", "three.mp4,2,3,jump,eval", "text.mp4,,,run,eval"]
    (tmp_path / "m.csv").write_text("\n".join(["path,start,end,label,split", *rows]))
    return tmp_path / "m.csv"


@pytest.mark.parametrize("option", ["--csv", "--html"])
def test_an_output_that_cannot_be_written_is_told_before_anything_is_decoded(videos, tmp_path, capfd, option):
    (tmp_path / "file").write_text("")
    assert main(["check", str(videos), option, str(tmp_path / "file" / "output")]) == 2
    out = capfd.readouterr().out
    assert f"vivit: cannot write {tmp_path}/file/output: " in out
    assert "clips:" not in out


def test_an_output_replaces_neither_what_is_checked_nor_the_other_one(videos, manifest, tmp_path, monkeypatch, capfd):
    (tmp_path / "link.csv").symlink_to(manifest)
    monkeypatch.chdir(videos)
    video, text, before = videos / "run" / "a.mp4", manifest.read_text(), (videos / "run" / "a.mp4").read_bytes()
    for arguments in (
        [manifest, "--csv", manifest],
        [manifest, "--csv", tmp_path / "link.csv"],
        [video, "--csv", video],
        [".", "--html", video],
        [videos, "--csv", tmp_path / "x", "--html", tmp_path / "x"],
    ):
        assert main(["check", *map(str, arguments)]) == 2
        assert "name another file to write" in capfd.readouterr().out
    assert (manifest.read_text(), video.read_bytes()) == (text, before)


def test_the_folders_of_an_output_are_made(videos, tmp_path):
    assert main(["check", str(videos / "run" / "a.mp4"), "--csv", str(tmp_path / "new" / "er" / "c.csv")]) == 0
    assert (tmp_path / "new" / "er" / "c.csv").read_text().count("\n") == 2


def test_the_table_is_shown_even_if_a_file_cannot_be_written_in_the_end(videos, capfd):
    assert main(["check", str(videos), "--csv", "/dev/full"]) == 2
    out = capfd.readouterr().out
    assert out.index("5 clips: 3 good, 2 bad") < out.index("vivit: cannot write /dev/full: ")


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (["max_frames=5"], "it has more frames than ingest.max_frames = 5"),
        # As it is stored: a smaller picture would be within the limit.
        (["short_side=300", "max_pixels=100000"], "its picture would be stored as 400x300"),
        (["fps=1", "min_frames=5", "short_clips=drop"], "it is short: 4 frames, fewer than ingest.min_frames = 5"),
    ],
)
def test_the_settings_of_a_recipe_decide(videos, tmp_path, capfd, settings, reason):
    chosen = [word for setting in settings for word in ("--set", f"ingest.{setting}")]
    arguments = ["check", str(videos / "run" / "a.mp4"), "--html", str(tmp_path / "page.html"), "--recipe"]
    assert main([*arguments, "demo"]) == 0
    assert "with recipe demo, ingest.fps=10, ingest.short_side=48\n" in capfd.readouterr().out
    assert main([*arguments, "demo", *chosen]) == 1
    out, page = capfd.readouterr().out, (tmp_path / "page.html").read_text()
    assert reason in out
    for setting in settings:
        assert f"ingest.{setting}" in out
        assert f"ingest.{setting}" in page


def test_what_run_would_refuse_of_a_manifest_is_told_and_its_videos_are_checked(manifest, tmp_path, capfd):
    manifest.write_text(manifest.read_text() + "\none.mp4,0,2,run,train\none.mp4,soon,2,run,train")
    assert main(["check", str(manifest), "--html", str(tmp_path / "page.html")]) == 1
    out, page = capfd.readouterr().out, html.unescape((tmp_path / "page.html").read_text())
    assert "5 clips: 4 good, 1 bad" in out
    assert f"vivit run would refuse {manifest}: 2 problem(s)" in out
    for problem in ("row 7: start 'soon' is not a time in seconds", "id 'one.mp4@0-2' stands already in row 2"):
        assert problem in out
        assert problem in page


def test_a_class_that_is_never_trained_is_told_though_all_videos_are_good(manifest, capfd):
    rows = manifest.read_text().splitlines()[:-1]
    manifest.write_text("\n".join([*rows, "text.mp4,,,walk,eval"]))
    shutil.copy(manifest.parent / "one.mp4", manifest.parent / "text.mp4")
    assert main(["check", str(manifest)]) == 1
    out = capfd.readouterr().out
    assert "4 clips: 4 good, 0 bad" in out
    assert "class 'walk' of head 'label' is evaluated but never trained" in out


def test_heads_and_slices_are_those_of_the_recipe(manifest, capfd):
    assert main(["check", str(manifest), "--recipe", "demo"]) == 1
    assert "no head 'verb'; the manifest has label" in capfd.readouterr().out


def test_what_ingest_would_make_of_the_bad_clips_is_told(manifest, tmp_path, capfd):
    arguments = ["check", str(manifest), "--html", str(tmp_path / "page.html"), "--set"]
    stop = "ingest would stop: 1 of 4 clips cannot be decoded (25.0%; ingest.max_bad_fraction allows 1.0%); no clip"
    assert main([*arguments, "ingest.fps=10"]) == 1
    assert f"{stop} is left of label 'run' in eval" in capfd.readouterr().out
    assert stop in (tmp_path / "page.html").read_text()
    manifest.write_text(manifest.read_text().replace("three.mp4,2,3,jump", "three.mp4,2,3,run"))
    assert main([*arguments, "ingest.max_bad_fraction=0.3"]) == 1
    told = "ingest would go on without 1 of 4 clips (25.0%; ingest.max_bad_fraction allows 30.0%)"
    assert told in capfd.readouterr().out


def test_the_clips_of_a_folder_of_classes_are_held_against_what_ingest_allows(videos, capfd):
    assert main(["check", str(videos)]) == 1
    assert "ingest would stop: 1 of 4 clips cannot be decoded" in capfd.readouterr().out


def test_a_path_that_nothing_reads_is_no_bad_video(tmp_path, capfd):
    (tmp_path / "m.csv").write_text("path,label\nftp://host/a.mp4,run")
    for source in ("ftp://host/videos", tmp_path / "m.csv"):
        assert main(["check", str(source)]) == 2
        assert "vivit: TensorFlow cannot read ftp://" in capfd.readouterr().out


def test_remote_videos_are_checked_and_told_remotely(videos, capfd):
    # TensorFlow's own file system in memory takes the way of every remote one.
    tf.io.gfile.makedirs("ram://check/run")
    for name in ("a.mp4", "text.mp4"):
        tf.io.gfile.copy(str(videos / "run" / name), f"ram://check/run/{name}", overwrite=True)
    assert main(["check", "ram://check", "--csv", "ram://told/c.csv"]) == 1
    assert "2 clips: 1 good, 1 bad" in capfd.readouterr().out
    with tf.io.gfile.GFile("ram://told/c.csv") as file:
        assert [row["verdict"] for row in csv.DictReader(io.StringIO(file.read()))] == ["good", "bad"]


def test_a_remote_file_system_that_fails_midway_blames_no_video(videos, tmp_path, monkeypatch, capfd):
    tf.io.gfile.copy(str(videos / "run" / "a.mp4"), "ram://v.mp4", overwrite=True)
    (tmp_path / "m.csv").write_text(f"path,label\n{videos}/run/a.mp4,run\nram://v.mp4,run")

    def unavailable(*_, **__):
        raise tf.errors.UnavailableError(None, None, "no answer")

    monkeypatch.setattr(tf.io.gfile, "copy", unavailable)
    monkeypatch.setattr("components.decoder._PAUSES", ())
    assert main(["check", str(tmp_path / "m.csv"), "--csv", str(tmp_path / "c.csv")]) == 2
    out = capfd.readouterr().out
    assert "stopped after 1 of 2 clips: 1 good, 0 bad" in out
    assert out.endswith("vivit: no answer\n")
    assert (tmp_path / "c.csv").read_text().count("\n") == 2


def test_a_record_whose_frames_are_damaged_has_no_filmstrip(tmp_path):
    whole = io.BytesIO()
    Image.new("RGB", (640, 480)).save(whole, "JPEG")
    (path,) = write_records(tmp_path / "r", [record([0], [whole.getvalue()[:-500]] * 3)])
    (found,) = check([Checkable(path, path)], IngestConfig(), workers=1, filmstrips=1)
    assert (found.reason, found.filmstrip) == ("", b"")


def test_of_very_many_classes_the_first_ones_have_filmstrips(videos, monkeypatch):
    monkeypatch.setattr("pipeline.check._MOST_FILMSTRIPS", 2)
    file = str(videos / "run" / "a.mp4")
    found = check([Checkable(label, file, label) for label in "cbad"], IngestConfig(), workers=1, filmstrips=1)
    assert {one.clip.label for one in found if one.filmstrip} == {"a", "b"}


def test_the_reasons_of_many_bad_clips_are_counted(videos):
    clips = [found for found in checked(videos).values() if found.is_bad] * 101
    report = Report("videos", "", clips, len(clips))
    assert '<td class="number">101<td>open: cannot open it: Is a directory' in check_page(report)
    assert "  … and 102 more; --csv lists all\n   101 open: cannot open it: " in check_table(report)


def test_a_check_that_is_stopped_tells_what_it_found_and_ends_at_once_with_its_decoders(videos, tmp_path):
    (tmp_path / "videos").mkdir()
    shutil.copy(videos / "run" / "a.mp4", tmp_path / "videos" / "a.mp4")
    os.mkfifo(tmp_path / "videos" / "hangs.mp4")
    command = [sys.executable, "-m", "pipeline.cli", "check", "videos", "--workers", "1", "--csv", "c.csv"]
    process = subprocess.Popen(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True
    )
    waited = time.monotonic() + 60
    while True:
        try:
            # There is a reader: the decoder is in the midst of the second video.
            held = os.open(tmp_path / "videos" / "hangs.mp4", os.O_WRONLY | os.O_NONBLOCK)
            break
        except OSError:
            assert time.monotonic() < waited
            time.sleep(0.05)
    decoders = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=10)
    os.close(held)
    assert process.returncode == 130
    assert "stopped after 1 of 2 clips: 1 good, 0 bad" in out
    assert [row["path"] for row in csv.DictReader((tmp_path / "c.csv").open())] == ["a.mp4"]
    assert decoders
    assert psutil.wait_procs(decoders, timeout=5)[1] == []
