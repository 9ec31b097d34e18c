"""`vivit check` beside `vivit run`: the same settings, manifest and file systems; and what it leaves when it ends."""

import csv
import html
import io
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import tensorflow as tf

from pipeline.cli import main
from tests.components.media.videos import write_video

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """A good video and a bad one."""
    root = tmp_path_factory.mktemp("videos")
    (root / "run").mkdir()
    write_video(root / "run" / "a.mp4", range(40))
    (root / "run" / "text.mp4").write_text("no video")
    return root


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
def test_an_output_that_cannot_be_written_is_reported_before_anything_is_decoded(videos, tmp_path, capfd, option):
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
    assert out.index("2 clips: 1 good, 1 bad") < out.index("vivit: cannot write /dev/full: ")


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


def test_what_run_would_refuse_of_a_manifest_is_reported_and_its_videos_are_checked(manifest, tmp_path, capfd):
    manifest.write_text(manifest.read_text() + "\none.mp4,0,2,run,train\none.mp4,soon,2,run,train")
    assert main(["check", str(manifest), "--html", str(tmp_path / "page.html")]) == 1
    out, page = capfd.readouterr().out, html.unescape((tmp_path / "page.html").read_text())
    assert "5 clips: 4 good, 1 bad" in out
    assert f"vivit run would refuse {manifest}: 2 problem(s)" in out
    for problem in ("row 7: start 'soon' is not a time in seconds", "id 'one.mp4@0-2' stands already in row 2"):
        assert problem in out
        assert problem in page


def test_a_class_that_is_never_trained_is_reported_though_all_videos_are_good(manifest, capfd):
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


def test_what_ingest_would_do_about_the_bad_clips_is_reported(manifest, tmp_path, capfd):
    arguments = ["check", str(manifest), "--html", str(tmp_path / "page.html"), "--set"]
    stop = "ingest would stop: 1 of 4 clips cannot be decoded (25.0%; ingest.max_bad_fraction allows 1.0%); no clip"
    assert main([*arguments, "ingest.fps=10"]) == 1
    assert f"{stop} is left of label 'run' in eval" in capfd.readouterr().out
    assert stop in (tmp_path / "page.html").read_text()
    manifest.write_text(manifest.read_text().replace("three.mp4,2,3,jump", "three.mp4,2,3,run"))
    assert main([*arguments, "ingest.max_bad_fraction=0.3"]) == 1
    losses = "ingest would go on without 1 of 4 clips (25.0%; ingest.max_bad_fraction allows 30.0%)"
    assert losses in capfd.readouterr().out


def test_a_path_that_nothing_reads_is_no_bad_video(tmp_path, capfd):
    (tmp_path / "m.csv").write_text("path,label\ngopher://host/a.mp4,run")
    for source in ("gopher://host/videos", tmp_path / "m.csv"):
        assert main(["check", str(source)]) == 2
        assert "neither TensorFlow nor fsspec reads gopher://" in capfd.readouterr().out


def test_remote_videos_are_checked_and_reported_remotely(videos, capfd):
    # TensorFlow's own file system in memory takes the way of every remote one.
    tf.io.gfile.makedirs("ram://check/run")
    for name in ("a.mp4", "text.mp4"):
        tf.io.gfile.copy(str(videos / "run" / name), f"ram://check/run/{name}", overwrite=True)
    assert main(["check", "ram://check", "--csv", "ram://told/c.csv"]) == 1
    assert "2 clips: 1 good, 1 bad" in capfd.readouterr().out
    with tf.io.gfile.GFile("ram://told/c.csv") as file:
        assert [row["verdict"] for row in csv.DictReader(io.StringIO(file.read()))] == ["good", "bad"]


def test_a_remote_file_system_that_fails_midway_blames_no_video(videos, tmp_path, monkeypatch, capfd):
    tf.io.gfile.copy(str(videos / "run" / "a.mp4"), "ram://rows/v.mp4", overwrite=True)
    (tmp_path / "m.csv").write_text(f"path,label\n{videos}/run/a.mp4,run\nram://rows/v.mp4,run")

    def unavailable(*_, **__):
        raise tf.errors.UnavailableError(None, None, "no answer")

    monkeypatch.setattr(tf.io.gfile, "copy", unavailable)
    monkeypatch.setattr("components.media.decoder._PAUSES", ())
    assert main(["check", str(tmp_path / "m.csv"), "--csv", str(tmp_path / "c.csv")]) == 2
    out = capfd.readouterr().out
    assert "stopped after 1 of 2 clips: 1 good, 0 bad" in out
    assert out.endswith("vivit: ram://rows/v.mp4: no answer\n")
    assert (tmp_path / "c.csv").read_text().count("\n") == 2


def test_a_check_that_is_stopped_reports_what_it_found_and_ends_at_once_with_its_decoders(videos, tmp_path):
    (tmp_path / "videos").mkdir()
    shutil.copy(videos / "run" / "a.mp4", tmp_path / "videos" / "a.mp4")
    os.mkfifo(tmp_path / "videos" / "hangs.mp4")
    command = [sys.executable, "-m", "pipeline.cli", "check", "videos", "--workers", "1", "--csv", "c.csv"]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        # A shell has its background jobs, and what they start, ignore the signal.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
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
