"""`vivit check`: decodes and describes every clip, reports bad ones, and the page shows them in a browser."""

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
import subprocess

import av
import numpy as np
import pytest
from PIL import Image

from components.ingest.config import IngestConfig
from components.manifest.listing import ListedClip, list_clips
from components.manifest.table import ManifestError
from pipeline.check.checking import check, filmstrips_per_class
from pipeline.check.page import check_page, check_table
from pipeline.check.report import Report
from pipeline.cli import main
from pipeline.console import Console
from tests.components.manifest.folders import make_unlistable
from tests.components.media import corpus
from tests.components.media.videos import counter, write_video
from tests.components.storage.records import record, write_records

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
    found = check(list_clips(str(source))[0], IngestConfig(), workers=workers, filmstrips=filmstrips)
    return {one.clip.path: one for one in found}


def test_a_bad_video_is_reported_with_its_reason_and_the_status_is_1(videos, capfd):
    assert main(["check", str(videos)]) == 1
    out, err = capfd.readouterr()
    assert "5 clips: 3 good, 2 bad\n  run/text.mp4: cannot open it: it is no video" in out
    assert "  run/x.mp4: cannot open it: Is a directory" in out
    assert re.search(r"^good +h264 +64×48 +10 +4\.00 +0° +run +run/a\.mp4$", out, re.MULTILINE)
    assert err == ""


def test_a_long_class_or_name_does_not_move_the_columns_of_the_others(videos):
    (found,) = checked(videos / "run" / "a.mp4").values()
    long = dataclasses.replace(found, clip=ListedClip("n" * 200, "", "c" * 200))
    text = check_table(Report("videos", "", [long, dataclasses.replace(found, clip=ListedClip("a", "", "c"))], 2))
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


def test_a_turned_video_is_reported_with_its_clockwise_rotation(videos):
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
    first, past, gone = check(list_clips(str(tmp_path / "m.csv"))[0], IngestConfig(), workers=1, filmstrips=0)
    assert (first.duration, first.reason) == (2.0, "")
    assert past.stage == "segment" and past.reason.startswith("no frame between 9 s and 10 s: its video ends at ")
    assert (gone.stage, gone.reason) == ("open", "cannot open it: No such file or directory")


@pytest.mark.parametrize("path", ["a.mp4", "train/a.mp4"])
def test_a_video_outside_of_a_class_has_none(videos, tmp_path, path):
    (tmp_path / path).parent.mkdir(exist_ok=True)
    shutil.copy(videos / "run" / "a.mp4", tmp_path / path)
    ((clip,), *_) = list_clips(str(tmp_path))
    assert clip.label == ""


def test_a_row_of_a_manifest_that_cannot_be_read_is_refused(tmp_path):
    (tmp_path / "m.csv").write_text("path,label,start\na.mp4,x,soon\n")
    with pytest.raises(ManifestError, match="row 2: start 'soon' is not a time in seconds"):
        list_clips(str(tmp_path / "m.csv"))


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
    described = ("codec", "width", "height", "fps", "duration", "rotation", "stage")
    assert [rows["run/a.mp4"][column] for column in described] == ["h264", "64", "48", "10.0", "4.0", "0", ""]
    assert rows["run/text.mp4"]["stage"] == "open"


def test_a_filmstrip_shows_eight_frames_evenly_in_time(videos):
    strip = Image.open(io.BytesIO(checked(videos, filmstrips=1)["run/a.mp4"].filmstrip)).convert("L")
    # 40 frames in 4 s; each thumbnail of 128x96 shows the number of its frame in 8 bars, with a gap of 2 to the next.
    assert strip.size == (8 * 128 + 7 * 2, 96)
    middles = np.asarray(strip)[48].reshape(-1)
    bars = [[middles[number * 130 + bar * 16 + 8] > 125 for bar in range(8)] for number in range(8)]
    assert [int("".join("01"[int(bit)] for bit in shown), 2) for shown in bars] == [2, 7, 12, 17, 22, 27, 32, 37]


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
    shown = {n: n * filmstrips_per_class([ListedClip("a", "a", str(k)) for k in range(n)]) for n in (1, 7, 120, 700)}
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
            shown_items = Console(nowhere, stream, nowhere, None).show_progress(range(3), 3, "Checking", bool)
            assert list(shown_items) == [0, 1, 2]
        file.seek(0)
        assert file.read() == ""
    text = b""
    # A terminal without a writer is reported as an error.
    with contextlib.suppress(OSError):
        while more := os.read(shown, 10_000):
            text += more
    os.close(shown)
    assert "Checking, 2 bad" in text.decode()


def test_a_record_whose_frames_are_cut_off_is_bad(tmp_path):
    whole = io.BytesIO()
    Image.new("RGB", (640, 480)).save(whole, "JPEG")
    (path,) = write_records(tmp_path / "r", [record([0], [whole.getvalue()[:-500]] * 3)])
    (found,) = check([ListedClip(path, path)], IngestConfig(), workers=1, filmstrips=1)
    assert found.reason.startswith("frame 0 is no JPEG that can be read") and found.filmstrip == b""


def test_of_very_many_classes_the_first_ones_have_filmstrips(videos, monkeypatch):
    monkeypatch.setattr("pipeline.check.checking._MOST_FILMSTRIPS", 2)
    file = str(videos / "run" / "a.mp4")
    found = check([ListedClip(label, file, label) for label in "cbad"], IngestConfig(), workers=1, filmstrips=1)
    assert {one.clip.label for one in found if one.filmstrip} == {"a", "b"}


def test_the_reasons_of_many_bad_clips_are_counted(videos):
    clips = [found for found in checked(videos).values() if found.is_bad] * 101
    report = Report("videos", "", clips, len(clips))
    assert '<td class="number">101<td>open: cannot open it: Is a directory' in check_page(report)
    assert "  … and 102 more; --csv lists all\n   101 open: cannot open it: " in check_table(report)


def test_a_folder_that_cannot_be_listed_is_reported(tmp_path, capfd):
    write_video(tmp_path / "run.mp4", range(3))
    make_unlistable(tmp_path)
    assert main(["check", str(tmp_path)]) == 1
    assert "ddd/ is not listed: File name too long" in capfd.readouterr().out


def test_the_clips_of_a_folder_of_classes_are_compared_with_what_ingest_allows(videos, capfd):
    assert main(["check", str(videos)]) == 1
    assert "ingest would stop: 2 of 5 clips cannot be decoded" in capfd.readouterr().out
