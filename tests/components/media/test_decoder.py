"""Decoding in a child process: the same clips, and a video that hangs or kills its decoder loses its own clips only."""

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
import tensorflow as tf

from components.media.config import DecodeConfig
from components.media.decoder import Decoder, LostDecoderError
from components.media.probe import probe
from components.media.video import StoredClip, VideoError, store_clip, store_segments
from components.storage.files import FileError
from tests.components.media.mutants import MUTANTS, mutants
from tests.components.media.videos import write_video

INGEST = DecodeConfig(fps=10, short_side=48, max_seconds=20)
SEGMENTS = [(0.0, None), (2.0, 4.0), (1.5, 2.5), (7.0, 9.0), (20.0, 30.0), (9.3, 9.9), (2.0, 4.0)]


def alone(path, segments):
    for start, end in segments:
        try:
            yield store_clip(path, INGEST, start=start, end=end)
        except VideoError as error:
            yield str(error)


def collected(stored):
    found = {place: one if isinstance(one, StoredClip) else str(one) for place, one in stored}
    return [found[place] for place in range(len(found))]


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv", "v.ts"])
def test_segments_of_one_pass_are_those_of_each_alone(tmp_path, name):
    path = write_video(tmp_path / name, range(100))
    for segments in (SEGMENTS, SEGMENTS[1:]):
        assert collected(store_segments(path, segments, INGEST)) == list(alone(path, segments))


def test_the_child_process_changes_nothing(tmp_path):
    path = write_video(tmp_path / "v.mp4", range(100))
    with Decoder(INGEST) as decoder:
        assert collected(decoder.store_segments(path, SEGMENTS)) == list(alone(path, SEGMENTS))


def test_a_uri_is_read_as_a_path_is(tmp_path):
    path = write_video(tmp_path / "v.mp4", range(10))
    with Decoder(INGEST) as decoder:
        assert list(decoder.store_segments(f"file://{path}", [(0, None)])) == [(0, store_clip(path, INGEST))]


def test_a_video_that_hangs_costs_itself_only(tmp_path):
    os.mkfifo(tmp_path / "hangs.mp4")
    path = write_video(tmp_path / "v.mp4", range(10))
    with Decoder(dataclasses.replace(INGEST, max_seconds=2)) as decoder:
        ((_, hung),) = decoder.store_segments(str(tmp_path / "hangs.mp4"), [(0, None)])
        assert hung.reason == "it took longer than ingest.max_seconds = 2 s"
        ((_, stored),) = decoder.store_segments(path, [(0, None)])
    assert stored == store_clip(path, INGEST)


def test_a_file_that_hangs_however_it_is_cut_is_given_up(tmp_path):
    os.mkfifo(tmp_path / "hangs.mp4")
    with Decoder(dataclasses.replace(INGEST, max_seconds=0.3)) as decoder:
        found = dict(decoder.store_segments(str(tmp_path / "hangs.mp4"), [(start, None) for start in range(100)]))
    assert {error.reason for error in found.values()} == {"it took longer than ingest.max_seconds = 0.3 s"}
    assert sorted(found) == list(range(100))


def test_segments_that_a_lost_decoder_leaves_are_stored_alone(tmp_path):
    path = write_video(tmp_path / "v.mp4", range(100))
    with Decoder(INGEST) as decoder:
        before = children()
        stored = decoder.store_segments(path, SEGMENTS)
        found = [next(stored)]
        # It cannot write all that it has decoded before it is read.
        for pid in children() - before:
            os.kill(pid, signal.SIGKILL)
        found += stored
    assert collected(found) == list(alone(path, SEGMENTS))


def children():
    """The processes that any thread of this one has started."""
    lists = Path("/proc/self/task").glob("*/children")
    return {int(pid) for pids in lists for pid in pids.read_text().split()}


def test_a_video_that_kills_its_decoder_twice_says_so(tmp_path):
    with Decoder(INGEST) as decoder, storing(decoder, tmp_path / "kills.mp4") as (found, kill):
        kill()
        kill()
    assert [error.reason for _, error in found] == ["it ended the decoder process (SIGSEGV)"]


def test_a_video_that_takes_a_core_too_long_is_lost_as_one_that_hangs(tmp_path):
    with Decoder(INGEST) as decoder, storing(decoder, tmp_path / "spins.mp4") as (found, kill):
        kill(signal.SIGXCPU)
    assert [error.reason for _, error in found] == ["it took longer than ingest.max_seconds = 20 s"]


def test_a_video_that_needs_more_memory_than_it_may_have_costs_itself_only(tmp_path):
    small, large = write_video(tmp_path / "small.mp4", range(10)), str(tmp_path / "large.y4m")
    with open(large, "wb") as file:
        file.write(b"YUV4MPEG2 W8192 H4320 F10:1 C444\nFRAME\n")
        file.truncate(file.tell() + 3 * 8192 * 4320)
    with Decoder(dataclasses.replace(INGEST, max_memory_mb=128)) as decoder:
        ((_, lost),) = decoder.store_segments(large, [(0, None)])
        assert lost.reason.endswith("more memory than ingest.max_memory_mb")
        assert list(decoder.store_segments(small, [(0, None)])) == [(0, store_clip(small, INGEST))]
    with Decoder(INGEST) as decoder:
        ((_, stored),) = decoder.store_segments(large, [(0, None)])
    assert stored.size == (48, 91)


def test_a_clip_that_needs_more_memory_than_it_may_have_says_so(tmp_path):
    path = write_video(tmp_path / "v.mp4", range(2))
    config = dataclasses.replace(INGEST, short_side=4096, max_upscale=100, max_memory_mb=128)
    with Decoder(config) as decoder:
        ((_, lost),) = decoder.store_segments(path, [(0, None)])
    assert lost.reason == "it needs more memory than ingest.max_memory_mb = 128 megabytes"


def test_a_decoder_is_limited_and_has_none_of_the_keys_of_its_parent(tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    path, before = write_video(tmp_path / "v.mp4", range(10)), children()
    with Decoder(INGEST) as decoder:
        assert list(decoder.store_segments(path, [(0, None)])) == [(0, store_clip(path, INGEST))]
        (child,) = children() - before
        environment = Path(f"/proc/{child}/environ").read_bytes().decode()
        limits = {
            line[:25].strip(): line[25:].split()[:2] for line in Path(f"/proc/{child}/limits").read_text().split("\n")
        }
    assert "LC_ALL=C.UTF-8" in environment and "secret" not in environment
    assert limits["Max data size"] == ["4096000000"] * 2
    assert limits["Max file size"] == limits["Max core file size"] == ["0"] * 2
    assert INGEST.max_seconds < int(limits["Max cpu time"][0]) < 3 * INGEST.max_seconds


def test_a_video_whose_decoder_is_killed_once_is_tried_again(tmp_path):
    good = Path(write_video(tmp_path / "v.mp4", range(10)))
    with Decoder(INGEST) as decoder, storing(decoder, tmp_path / "killed.mp4") as (found, kill):
        good.rename(tmp_path / "killed.mp4")
        kill()
    assert found == [(0, store_clip(str(tmp_path / "killed.mp4"), INGEST))]


def test_a_decoder_that_is_killed_while_it_waits_for_a_video_costs_none(tmp_path):
    path = write_video(tmp_path / "v.mp4", range(10))
    before = children()

    def kill_idle():
        for pid in children() - before:
            os.kill(pid, signal.SIGKILL)
            # Dead with all its threads, and its pipes closed; the decoder has not looked yet.
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)

    with Decoder(INGEST) as decoder:
        first = list(decoder.store_segments(path, [(0, None)]))
        kill_idle()
        assert list(decoder.store_segments(path, [(0, None)])) == first
        kill_idle()
        assert decoder.probe(path) == probe(path, INGEST.max_pixels)
        kill_idle()


@contextlib.contextmanager
def storing(decoder, pipe):
    """What becomes of a pipe that nobody writes to, stored as a video; and what kills the next decoder that waits."""
    os.mkfifo(pipe)
    found, before = [], children()
    call = threading.Thread(target=lambda: found.extend(decoder.store_segments(str(pipe), [(0, None)])))
    call.start()

    def kill(how=signal.SIGSEGV):
        wait_until(lambda: children() - before)
        for pid in children() - before:
            os.kill(pid, how)
            before.add(pid)

    yield found, kill
    call.join()


def wait_until(holds):
    deadline = time.monotonic() + 10
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert holds()


def test_a_decoder_ends_with_its_parent_though_it_hangs(tmp_path):
    os.mkfifo(tmp_path / "hangs.mp4")
    lone_parent = f"""
from components.media.config import DecodeConfig
from components.media.decoder import Decoder
list(Decoder(DecodeConfig()).store_segments({str(tmp_path / "hangs.mp4")!r}, [(0, None)]))
"""
    parent = subprocess.Popen([sys.executable, "-c", lone_parent])
    with open(tmp_path / "hangs.mp4", "wb"):
        (child,) = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
        parent.kill()
        parent.wait()
        wait_until(lambda: not Path(f"/proc/{child}/cwd").exists())


def test_the_decoder_loads_no_tensorflow():
    code = "import sys, components.media.decoder, components.media.decoder_child; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"tensorflow", "tfx", "apache_beam"} & set(done.stdout.split())


@pytest.fixture
def failing_copy(monkeypatch):
    """Makes TensorFlow fail to copy so many times, like a remote file system that does not answer."""
    copy = tf.io.gfile.copy

    def fail(times):
        errors = [tf.errors.UnavailableError(None, None, "503")] * times

        def failing(*arguments, **options):
            if errors:
                raise errors.pop()
            copy(*arguments, **options)

        monkeypatch.setattr(tf.io.gfile, "copy", failing)

    monkeypatch.setattr("components.media.decoder._PAUSES", (0, 0))
    return fail


def test_a_remote_video_is_copied_again_while_its_file_system_fails(tmp_path, failing_copy):
    path = write_video(tmp_path / "v.mp4", range(10))
    tf.io.gfile.copy(path, "ram://decoder/v.mp4", overwrite=True)
    failing_copy(2)
    with Decoder(INGEST) as decoder:
        assert list(decoder.store_segments("ram://decoder/v.mp4", [(0, None)])) == [(0, store_clip(path, INGEST))]
        failing_copy(3)
        with pytest.raises(FileError, match="503"):
            list(decoder.store_segments("ram://decoder/v.mp4", [(0, None)]))
        ((_, gone),) = decoder.store_segments("ram://decoder/gone.mp4", [(0, None)])
    assert gone.reason.startswith("cannot copy it: ")


@pytest.mark.parametrize(("policy", "count"), [("keep", 4), ("hold", 6), ("loop", 6)])
def test_a_short_clip_follows_the_policy(tmp_path, policy, count):
    path = write_video(tmp_path / "v.mp4", range(4))
    frames = store_clip(path, dataclasses.replace(INGEST, min_frames=6, short_clips=policy)).frames
    own = store_clip(path, INGEST).frames
    more = {"keep": (), "hold": own[-1:] * 2, "loop": own[:2]}[policy]
    assert (len(frames), frames) == (count, own + more)


def test_a_decoder_keeps_nothing_of_a_video(tmp_path):
    path = write_video(tmp_path / "v.mp4", range(5), size=(480, 640), pixels="yuv420p")
    memory, before = [], children()
    with Decoder(INGEST) as decoder:
        for _ in range(40):
            list(decoder.store_segments(path, [(0, None)]))
            (child,) = children() - before
            memory.append(psutil.Process(child).memory_info().rss)
    assert memory[-1] < 1.05 * max(memory[:4])


def test_mutated_videos_are_stored_or_refused_one_by_one(tmp_path):
    """None crashes or hangs its decoder, or takes its memory."""
    memory, before = [], children()
    with Decoder(INGEST) as decoder:
        for mutant in mutants(tmp_path, MUTANTS):
            ((_, whole), (_, part)) = decoder.store_segments(mutant, [(0, None), (1, 1.5)])
            for stored in (whole, part):
                assert isinstance(stored, StoredClip) or stored.reason
                assert not isinstance(stored, LostDecoderError), mutant
            os.unlink(mutant)
            (child,) = children() - before
            memory.append(psutil.Process(child).memory_info().rss)
    # What a codec needs for the first time is no growth.
    assert memory[-1] < 1.3 * max(memory[: MUTANTS // 4])
