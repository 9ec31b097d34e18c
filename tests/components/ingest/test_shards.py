"""Shards: the same clips give the same bytes, whoever writes them, and however often."""

import contextlib
import itertools
import json
import logging
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from components.ingest.config import IngestConfig
from components.ingest.quarantine import ClipsUnaccountedError
from components.ingest.shards import estimated_bytes, in_order, plan_shards
from components.manifest.reader import Clip
from components.storage.room import no_room_message
from pipeline.console import quiet
from schemas.clip_index import index_path
from tests import processes
from tests.components.ingest.running import contents, ingest, write_manifest
from tests.servers import job_server, worker_pool

ROOT = Path(__file__).parents[3]
# Ten one-clip videos, one with four segments (and a line separator that JSON keeps), a torn one, and a segment after
# the end of its video.
ROWS = [
    *((f"{n}.mp4", "", "", "jump" if n % 2 else "run", "eval" if n > 6 else "train", "left") for n in range(10)),
    *(("long.mp4", start / 10, start / 10 + 0.2, "run", "train", "far\u2028right") for start in (0, 2, 4, 6)),
    ("torn.mp4", "", "", "jump", "train", "left"),
    ("0.mp4", 5, 6, "jump", "train", ""),
]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Folder of the prepared manifests."""
    return write_manifest(tmp_path_factory.mktemp("videos"), ROWS, damaged=["torn.mp4"])[1]


@pytest.fixture(scope="module")
def undisturbed(prepared, tmp_path_factory):
    """What one worker leaves."""
    folder = tmp_path_factory.mktemp("undisturbed")
    ingest(folder, prepared)
    return contents(folder)


def test_what_is_left_are_the_shards_as_tfx_names_them_their_indexes_and_the_quarantine(undisturbed):
    shard = re.compile(r"examples/Split-(train|eval)/data_tfrecord-\d{5}-of-0000\d\.gz")
    shards = {name for name in undisturbed if shard.fullmatch(name)}
    indexes = {index_path(name) for name in shards}
    assert undisturbed.keys() - shards - indexes == {
        f"quarantine/{name}" for name in ("train.jsonl", "eval.jsonl", "summary.json")
    }
    assert indexes < undisturbed.keys()


def direct(mode, workers):
    return ["--runner=FnApiRunner", f"--direct_running_mode={mode}", f"--direct_num_workers={workers}"]


@pytest.mark.parametrize("workers", [2, 4])
def test_threads_write_the_same_bytes(prepared, undisturbed, tmp_path, workers):
    ingest(tmp_path, prepared, beam_args=direct("multi_threading", workers))
    assert contents(tmp_path) == undisturbed


@pytest.mark.end_to_end
def test_processes_write_the_same_bytes(prepared, undisturbed, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    ingest(tmp_path, prepared, beam_args=direct("multi_processing", 2))
    assert contents(tmp_path) == undisturbed


@pytest.mark.end_to_end
@pytest.mark.parametrize("environment", ["LOOPBACK", "EXTERNAL"])
def test_a_portable_runner_writes_the_same_bytes(prepared, undisturbed, tmp_path, tmp_path_factory, environment):
    with job_server() as jobs, worker_pool(tmp_path_factory.mktemp("elsewhere")) as workers:
        beam_args = ["--runner=PortableRunner", f"--job_endpoint={jobs}", f"--environment_type={environment}"]
        if environment == "EXTERNAL":
            beam_args.append(f"--environment_config={workers}")
        ingest(tmp_path, prepared, beam_args=beam_args)
    assert contents(tmp_path) == undisturbed


def clip(number, *, path=None, seconds=10.0, start=0.0, size=0, end=True):
    return Clip(
        id=f"{path or number}@{start:g}",
        path=path or f"/{number}.mp4",
        group="",
        split="train",
        labels={},
        slices={},
        start=start,
        end=start + seconds if end else None,
        size=size,
    )


def test_shards_have_about_the_size_that_is_requested_and_every_clip_once():
    clips = [clip(n, seconds=5 + n % 11) for n in range(1000)]
    config = IngestConfig(shard_mb=150)
    shards = plan_shards(clips, config)
    sizes = [sum(estimated_bytes(c, config) for c in shard) for shard in shards]
    assert min(sizes) > 100e6 and max(sizes) < 160e6
    assert sorted(c.id for shard in shards for c in shard) == sorted(c.id for c in clips)


def test_a_small_set_has_eight_shards_and_no_more_than_videos():
    assert len(plan_shards([clip(n) for n in range(20)], IngestConfig())) == 8
    assert len(plan_shards([clip(n) for n in range(3)], IngestConfig())) == 3


def test_the_plan_does_not_depend_on_the_order_of_the_clips():
    clips = [clip(n, seconds=n % 3 + 1) for n in range(100)]
    assert plan_shards(clips[::-1], IngestConfig()) == plan_shards(clips, IngestConfig())


def test_clips_of_one_video_are_decoded_in_few_runs_but_not_stored_in_a_row():
    clips = [clip(0, path=f"/{video}.mp4", start=10.0 * n) for video in range(20) for n in range(50)]
    shards = plan_shards(clips, IngestConfig())
    runs = [len({c.path for c in shard}) for shard in shards]
    assert sum(runs) < 10 * 20
    assert min(runs) > 1
    in_a_row = sum(one.path == other.path for shard in shards for one, other in itertools.pairwise(shard))
    assert in_a_row < len(clips) * 0.4


def test_where_a_manifest_names_no_end_the_size_of_the_file_gives_the_length():
    config = IngestConfig()
    one, other = (estimated_bytes(clip(0, end=False, size=size), config) for size in (1_000_000, 3_000_000))
    assert other == pytest.approx(3 * one)
    assert one == pytest.approx(estimated_bytes(clip(0, seconds=8), config))


def test_what_is_decoded_before_its_turn_waits_for_it():
    records = [("c", b"three"), ("a", b"one"), ("d", b""), ("b", b"two")]
    assert list(in_order("abcd", records)) == [b"one", b"two", b"three", b""]


@pytest.mark.parametrize(("ids", "wrong"), [("a", "b"), ("abc", "c"), ("aba", "a")])
def test_a_clip_that_the_decoder_loses_or_doubles_stops_the_ingest(ids, wrong):
    with pytest.raises(ClipsUnaccountedError, match=rf"lost or doubled by the decoder \({wrong}\)"):
        list(in_order("ab", [(clip_id, b"record") for clip_id in ids]))


@pytest.mark.end_to_end
def test_an_ingest_that_was_killed_goes_on_where_it_was_and_leaves_the_same_bytes(tmp_path, caplog):
    _, prepared = write_manifest(tmp_path, ROWS, damaged=["torn.mp4"])
    (tmp_path / "undisturbed").mkdir()
    ingest(tmp_path / "undisturbed", prepared)
    # Nobody writes to this pipe: who reads it as a video waits, while the other shards are there already.
    video, kept = tmp_path / "3.mp4", tmp_path / "kept"
    video.rename(kept)
    os.mkfifo(video)
    again = tmp_path / "again"
    killed = processes.start(ingest, str(again), prepared, log=tmp_path / "log")
    while not list(again.glob("kept/unfinished/*.json")):
        assert killed.is_alive()
        time.sleep(0.05)
    killed.kill()
    assert processes.wait(killed) == -signal.SIGKILL
    video.unlink()
    kept.rename(video)
    indexes = again.glob("kept/unfinished/*.json")
    finished = sum(json.loads(path.read_text())["outcome"]["examples"] for path in indexes)
    with caplog.at_level(logging.INFO, logger="vivit.ingest"):
        ingest(again, prepared)
    assert contents(again) == contents(tmp_path / "undisturbed")
    assert sum(map(int, re.findall(r"(\d+) of them decoded before", caplog.text))) >= finished
    assert not list(again.glob("kept/clips")) + list(again.glob("kept/unfinished"))


@contextlib.contextmanager
def disk(folder, size):
    """A file system of its own in a folder; gives a function that sets its size."""
    folder.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True, text=True
    )
    if mount.returncode:
        pytest.skip(f"only root may mount a disk: {mount.stderr}")
    try:
        yield lambda size: subprocess.run(["mount", "-o", f"remount,size={size}", folder], check=True)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_ends_the_ingest_which_goes_on_once_there_is_room(prepared, undisturbed, tmp_path, caplog):
    with disk(tmp_path / "disk", "160k") as resize:
        with quiet(str(tmp_path / "disk" / "logs")), pytest.raises(RuntimeError) as full:
            ingest(tmp_path / "disk", prepared)
        message = no_room_message(full.value, str(tmp_path / "disk"))
        assert re.match(rf"no room is left on the disk of {tmp_path}/disk \(\S+ MB free\)", message)
        resize("10m")
        with caplog.at_level(logging.INFO, logger="vivit.ingest"):
            ingest(tmp_path / "disk", prepared)
        assert contents(tmp_path / "disk") == undisturbed
        assert "decoded before" in caplog.text
