"""What an ingest leaves for the next one: what is decoded once is not decoded again, and nothing else is believed.

A video that is not to be decoded again is replaced by text of its size and time: to decode it is to lose it.
"""

import dataclasses
import os
from pathlib import Path

import pytest

from components.ingest.kept import Kept
from components.ingest.shards import Shard, too_large, write_shard
from components.manifest.reader import Clip
from components.media.decoder import Decoder
from components.media.video import StoredClip
from schemas import features
from tests.components.ingest.running import INGEST, contents, execute, ingest, write_manifest
from tests.components.media.videos import write_video

ROWS = [(f"{n}.mp4", "", "", "run" if n % 2 else "jump", "eval" if n > 5 else "train", "left") for n in range(8)]
ROWS += [("long.mp4", start / 10, start / 10 + 0.2, "run", "train", "left") for start in (0, 2, 4, 6)]


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """(folder of videos and manifests, where the decoded clips are kept, what a first ingest left)."""
    folder = tmp_path_factory.mktemp("first")
    _, prepared = write_manifest(folder, ROWS)
    ingest(folder, prepared)
    before = contents(folder)
    for video in folder.glob("*.mp4"):
        lose(video)
    return folder, str(folder / "kept"), before


def lose(video):
    status = video.stat()
    video.write_bytes(b"-" * status.st_size)
    os.utime(video, ns=(status.st_atime_ns, status.st_mtime_ns))


def manifest(folder, source, change):
    """The manifests of `source`, their clips changed by a function."""
    (folder / "manifest").mkdir()
    for path in sorted((source / "manifest").glob("*.jsonl")):
        clips = [change(Clip.from_json(line)) for line in path.read_text().splitlines()]
        (folder / "manifest" / path.name).write_text("".join(clip.to_json() + "\n" for clip in clips))
    return str(folder / "manifest")


def described(examples, key):
    return {
        example.features.feature[features.CLIP_ID].bytes_list.value[0].decode(): example.features.feature[
            key
        ].bytes_list.value[0]
        for example in [*examples["train"], *examples["eval"]]
    }


def test_the_same_again_decodes_nothing_and_leaves_the_same_bytes(first, tmp_path):
    folder, kept, before = first
    ingest(tmp_path, str(folder / "manifest"), kept=kept)
    assert contents(tmp_path) == before


def test_a_corrected_label_decodes_nothing(first, tmp_path):
    folder, kept, _ = first

    def corrected(clip):
        return dataclasses.replace(clip, labels={"label": "fly"}) if clip.id == "3.mp4" else clip

    examples, lost = execute(tmp_path, manifest(tmp_path, folder, corrected), kept=kept)
    assert not lost
    labels = described(examples, "label/label")
    assert (len(labels), labels["3.mp4"], labels["1.mp4"]) == (len(ROWS), b"fly", b"run")


def test_an_added_video_is_the_only_one_that_is_decoded(first, tmp_path):
    folder, kept, _ = first
    base = manifest(tmp_path, folder, lambda clip: clip)
    with open(Path(base, "train.jsonl"), "a") as file:
        file.write(clip_of(tmp_path, "added", label="run").to_json() + "\n")
    examples, lost = execute(tmp_path, base, kept=kept)
    assert not lost
    assert len(examples["train"]) + len(examples["eval"]) == len(ROWS) + 1


@pytest.mark.parametrize("setting", [{"jpeg_quality": 90}, {"max_frames": 20_000}])
def test_other_pixels_and_lower_limits_decode_again(first, tmp_path, setting):
    folder, kept, _ = first
    _, lost = execute(tmp_path, str(folder / "manifest"), dataclasses.replace(INGEST, **setting), kept=kept)
    assert len(lost) == len(ROWS)


def test_a_changed_video_one_without_a_version_and_a_damaged_record_are_decoded_again(tmp_path):
    clips = [clip_of(tmp_path, name) for name in "abc"]
    kept, shard = Kept(str(tmp_path / "kept"), INGEST), Shard("train", 0, 1, 0, 0, "key")
    kept.prepare()
    with Decoder(INGEST) as decoder:

        def write(key, clips):
            known = kept.sources()
            planned = [(clip, known.get(kept.key(clip))) for clip in clips]
            return write_shard(shard._replace(key=key), planned, decoder, kept)

        assert write("one", clips)[1] == 0
        changed, unversioned = (dataclasses.replace(clips[0], mtime=mtime) for mtime in (2, 0))
        assert write("two", [changed, *clips[1:]])[1] == 2
        assert write("two", [unversioned, *clips[1:]])[1] == write("two", [unversioned, *clips[1:]])[1] == 2
        known = kept.sources()[kept.key(clips[1])]
        with open(known.path, "r+b") as file:
            file.seek(known.place.offset + known.place.length // 2)
            file.write(b"damage")
        outcome, reused = write("three", clips)
        assert (outcome.examples, reused) == (3, 2)


def clip_of(folder, name, label="any"):
    path = folder / f"{name}.mp4"
    write_video(path, range(10))
    return Clip(name, str(path), name, "train", {"label": label}, {}, size=path.stat().st_size, mtime=1)


def test_a_clip_of_more_than_an_example_holds_is_lost_and_nothing_more():
    clip = Clip("a", "/a.mp4", "a", "train", {}, {})
    megabyte = bytes(1 << 20)
    stored = StoredClip((megabyte,) * 1900, (8, 8), 25.0, 0.0, False)
    assert too_large(clip, stored) is None
    lost = too_large(clip, dataclasses.replace(stored, frames=(megabyte,) * 2048))
    assert (lost.stage, "give its start and end" in lost.reason) == ("segment", True)
