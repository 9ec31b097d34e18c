"""Records of DMVR as clips: their bytes pass through, and what is wrong with one is reported."""

import pytest
import tensorflow as tf

from components.ingest.config import IngestConfig
from components.ingest.shards import plan_shards
from components.manifest.reader import Clip, read_manifest
from components.manifest.table import ManifestError
from components.media.records import store_record
from components.media.video import VideoError
from tests.components.ingest.running import execute
from tests.components.storage.records import jpegs, record, write_records

CONFIG = IngestConfig(fps=12.5, short_side=24)


def wrong_with(path, config=CONFIG, **segment):
    with pytest.raises(VideoError) as caught:
        store_record(path, config, **segment)
    return caught.value.stage, caught.value.reason


def one(tmp_path, frames):
    return write_records(tmp_path / "one", [record([0], frames)])[0]


def test_the_frames_of_each_record_of_a_file_pass_through(tmp_path):
    frames = [jpegs(3), jpegs(5, first=7, height=40)]
    paths = write_records(tmp_path / "r", [record([0], f, "v.mp4", start=1_500_000) for f in frames])
    first, second = (store_record(path, CONFIG) for path in paths)
    assert (first.frames, second.frames) == (tuple(frames[0]), tuple(frames[1]))
    assert (first.size, second.size) == ((32, 48), (40, 48))
    assert (second.fps, second.start, second.duration) == (12.5, 1.5, 0.4)


def test_a_segment_of_a_record_is_refused(tmp_path):
    path = one(tmp_path, jpegs(2))
    assert wrong_with(path, end=1.0) == ("segment", "a record is a whole clip: leave its start and end empty")


@pytest.mark.parametrize("offset", [7, 10**17])
def test_an_offset_without_a_record_is_reported(tmp_path, offset):
    file = one(tmp_path, jpegs(2)).removesuffix("#0")
    stage, reason = wrong_with(f"{file}#{offset}")
    assert stage == "open" and f"byte {offset}" in reason


def test_a_file_that_is_gone_is_reported(tmp_path):
    assert wrong_with(f"{tmp_path}/none#0") == ("open", "cannot read it: No such file or directory")


def test_a_record_that_is_cut_off_is_reported(tmp_path):
    path = one(tmp_path, jpegs(2))
    file = tmp_path / "one"
    file.write_bytes(file.read_bytes()[:-1])
    assert wrong_with(path) == ("open", "the file ends before the record at byte 0 does")


def test_a_flipped_bit_is_reported(tmp_path):
    path = one(tmp_path, jpegs(2))
    data = bytearray((tmp_path / "one").read_bytes())
    data[-100] ^= 1
    (tmp_path / "one").write_bytes(data)
    assert wrong_with(path) == ("open", "the record at byte 0 is damaged: its checksum differs")


def test_a_record_of_something_else_is_reported(tmp_path):
    (path,) = write_records(tmp_path / "r", [b"no SequenceExample"])
    assert wrong_with(path) == ("open", "the record is no tf.train.SequenceExample")


@pytest.mark.parametrize(("frames", "counts"), [([], "0 frames in 0"), ([b""], None)])
def test_a_record_without_frames_is_reported(tmp_path, frames, counts):
    stage, reason = wrong_with(one(tmp_path, frames))
    assert (stage, reason) if counts is None else counts in reason


def test_a_step_without_its_frame_is_reported(tmp_path):
    example = tf.train.SequenceExample.FromString(record([0], jpegs(2)))
    example.feature_lists.feature_list["image/encoded"].feature.add()
    (path,) = write_records(tmp_path / "r", [example.SerializeToString()])
    assert wrong_with(path)[1].endswith("has 2 frames in 3 features; wanted one frame in each")


def test_a_frame_that_is_no_jpeg_is_reported(tmp_path):
    stage, reason = wrong_with(one(tmp_path, [*jpegs(2), b"GIF89a"]))
    assert stage == "decode" and reason.startswith("frame 2 is no JPEG that can be read")


def test_a_frame_that_is_cut_off_is_reported(tmp_path):
    whole, *others = jpegs(3)
    stage, reason = wrong_with(one(tmp_path, [*others, whole[:-40]]))
    assert stage == "decode" and reason.startswith("frame 2 is no JPEG that can be read")
    padded = one(tmp_path, [*others, whole + bytes(7)])
    assert store_record(padded, CONFIG).frames[2] == whole + bytes(7)


def test_frames_of_two_sizes_are_reported(tmp_path):
    path = one(tmp_path, jpegs(2) + jpegs(1, height=40))
    assert wrong_with(path) == ("decode", "its picture changes its shape at frame 2, from 48x32 to 48x40")


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        ({"max_frames": 1}, "it has 2 frames; ingest.max_frames allows 1"),
        ({"max_pixels": 1000}, "its frames are 48x32; ingest.max_pixels allows 1000"),
    ],
)
def test_a_record_over_a_limit_is_reported(tmp_path, limit, message):
    assert wrong_with(one(tmp_path, jpegs(2)), IngestConfig(**limit)) == ("open", message)


def test_a_record_of_more_bytes_than_an_example_holds_is_reported(tmp_path):
    path = one(tmp_path, [jpeg + bytes(600_000) for jpeg in jpegs(2)])
    assert store_record(path, CONFIG).frames
    stage, reason = wrong_with(path, IngestConfig(max_clip_mb=1))
    assert stage == "segment" and "its frames take more than ingest.max_clip_mb = 1 megabytes" in reason


def test_a_short_record_is_treated_as_a_short_video(tmp_path):
    path, (first, last) = one(tmp_path, jpegs(2)), jpegs(2)
    assert store_record(path, IngestConfig(min_frames=4, short_clips="hold")).frames == (first, last, last, last)
    message = "it is short: 2 frames, fewer than ingest.min_frames = 4"
    assert wrong_with(path, IngestConfig(min_frames=4, short_clips="drop")) == ("segment", message)


def test_a_manifest_refuses_a_segment_of_a_record(tmp_path):
    write_records(tmp_path / "r", [record([0], jpegs(1))])
    (tmp_path / "m.csv").write_text("path,label,split,start\nr#0,run,train,1.5\n")
    with pytest.raises(ManifestError) as caught:
        read_manifest(tmp_path / "m.csv")
    assert caught.value.problems == ("row 2: a record is a whole clip; leave its start and end empty",)


def test_records_of_one_file_may_be_in_two_splits_but_one_record_may_not(tmp_path):
    paths = write_records(tmp_path / "r", [record([0], jpegs(1)) for _ in range(3)])
    (tmp_path / "link").symlink_to(tmp_path / "r")
    rows = [(paths[0], "run", "train"), (paths[1], "jump", "train"), (paths[2], "run", "eval")]
    manifest = tmp_path / "m.csv"
    manifest.write_text("\n".join(["path,label,split", *(",".join(row) for row in rows)]))
    assert {clip.size for clip in read_manifest(manifest).clips} == {(tmp_path / "r").stat().st_size}
    manifest.write_text(manifest.read_text() + f"\n{tmp_path}/link#0,run,eval")
    with pytest.raises(ManifestError, match="are one file"):
        read_manifest(manifest)


def test_a_file_of_many_records_fills_few_shards():
    clips = [Clip(f"{n}", f"/r#{n}", f"{n}", "train", {"label": "x"}, {}, size=2**30) for n in range(500)]
    assert len(plan_shards(clips, IngestConfig(shard_mb=150))) == 8


def test_records_are_ingested_and_a_bad_one_is_quarantined(tmp_path):
    frames = {name: jpegs(2, first) for first, name in enumerate("abcd")}
    paths = write_records(tmp_path / "r", [*(record([0], f) for f in frames.values()), record([0], [b"no JPEG"])])
    labels = ["run", "jump", "run", "jump", "run"]
    splits = ["train", "train", "eval", "eval", "train"]
    rows = zip(paths, [*frames, "bad"], labels, splits, strict=True)
    (tmp_path / "m.csv").write_text("\n".join(["path,id,label,split", *(",".join(row) for row in rows)]))
    manifest = read_manifest(tmp_path / "m.csv")
    (tmp_path / "manifest").mkdir()
    for split in ("train", "eval"):
        lines = "".join(clip.to_json() + "\n" for clip in manifest.split(split))
        (tmp_path / "manifest" / f"{split}.jsonl").write_text(lines)
    found, lost = execute(tmp_path, str(tmp_path / "manifest"), CONFIG)
    stored = {
        e.features.feature["clip/id"].bytes_list.value[0].decode(): list(
            e.features.feature["clip/frames"].bytes_list.value
        )
        for examples in found.values()
        for e in examples
    }
    assert stored == frames
    assert [(row["id"], row["path"], row["stage"]) for row in lost] == [("bad", paths[-1], "decode")]
