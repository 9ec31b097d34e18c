"""VideoExampleGen's executor, through Beam: every clip comes out once, as an example or as a row of the quarantine."""

import json

import pytest
import tensorflow as tf

from components.ingest.config import IngestConfig
from components.ingest.example_gen import VideoExampleGen
from components.ingest.quarantine import read_summary
from components.ingest.shard_file import Place, read_place
from components.manifest.reader import Clip
from schemas import features
from schemas.clip_index import ClipIndex, index_path
from tests.components.ingest.running import execute, write_manifest
from tests.components.media.mutants import MUTANTS, mutants


def values(example, key):
    feature = example.features.feature[key]
    return list(getattr(feature, feature.WhichOneof("kind")).value)


ROWS = [
    ("a.mp4", "", "", "run", "train", "left"),
    ("b.mp4", 0.2, 0.5, "jump", "train", ""),
    ("b.mp4", 0.5, 0.9, "run", "train", "left"),
    ("torn.mp4", "", "", "jump", "train", "left"),
    ("c.mp4", "", "", "run", "eval", "right"),
    ("d.mp4", "", "", "jump", "eval", ""),
    ("e.mp4", 5, 6, "jump", "eval", ""),
]


@pytest.fixture(scope="module")
def ingested(tmp_path_factory):
    """(manifest, examples by split, quarantine) of videos, two of which are bad."""
    folder = tmp_path_factory.mktemp("ingest")
    manifest, prepared = write_manifest(folder, ROWS, damaged=["torn.mp4"])
    return manifest, *execute(folder, prepared)


def test_every_clip_comes_out_once_in_its_split_or_in_the_quarantine(ingested):
    manifest, examples, quarantine = ingested
    lost = [row["id"] for row in quarantine]
    assert sorted(lost) == ["e.mp4@5-6", "torn.mp4"]
    for split, found in examples.items():
        ids = sorted(values(example, features.CLIP_ID)[0].decode() for example in found)
        assert ids == [clip.id for clip in manifest.split(split) if clip.id not in lost]


def test_an_example_has_exactly_the_keys_and_types_of_the_contract(ingested):
    _, examples, _ = ingested
    by_id = {values(example, features.CLIP_ID)[0]: example for example in [*examples["train"], *examples["eval"]]}
    example = by_id[b"b.mp4@0.5-0.9"]
    keys = {features.CLIP_FRAMES, *features.describing_keys(["label"], ["camera"])}
    assert set(example.features.feature) == keys
    assert {key: values(example, key) for key in keys - {features.CLIP_FRAMES}} == {
        features.CLIP_ID: [b"b.mp4@0.5-0.9"],
        features.CLIP_GROUP: [b"b.mp4"],
        features.CLIP_FPS: [10.0],
        features.CLIP_START: [0.5],
        features.CLIP_DURATION: [pytest.approx(0.4)],
        features.CLIP_NUM_FRAMES: [4],
        features.CLIP_HEIGHT: [24],
        features.CLIP_WIDTH: [32],
        "label/label": [b"run"],
        "slice/camera": [b"left"],
    }
    frames = values(example, features.CLIP_FRAMES)
    assert [tf.io.decode_jpeg(frame).shape for frame in frames] == [[24, 32, 3]] * 4
    assert "slice/camera" not in by_id[b"b.mp4@0.2-0.5"].features.feature


def test_the_index_of_a_shard_says_where_each_clip_is_and_what_it_shows(tmp_path):
    manifest, prepared = write_manifest(tmp_path, ROWS, damaged=["torn.mp4"])
    execute(tmp_path, prepared)
    clips, found = {clip.id: clip for clip in manifest.clips}, []
    for shard in map(str, (tmp_path / "examples").glob("Split-*/*.gz")):
        index = ClipIndex.read(index_path(shard))
        assert shard.endswith(f"examples/{index.shard}")
        for number, place in enumerate(map(Place, index.offsets, index.lengths)):
            example = tf.train.Example.FromString(read_place(shard, place))
            clip = clips[values(example, features.CLIP_ID)[0].decode()]
            assert (index.groups[number], index.labels["label"][number]) == (clip.group, clip.labels["label"])
            found.append(clip.id)
    assert sorted(found) == sorted(set(clips) - {"e.mp4@5-6", "torn.mp4"})


def test_a_row_of_the_quarantine_says_what_was_lost_where_and_why(ingested):
    manifest, _, quarantine = ingested
    rows = {row["id"]: row for row in quarantine}
    torn = next(clip for clip in manifest.clips if clip.id == "torn.mp4")
    assert rows["torn.mp4"] == {
        "id": "torn.mp4",
        "path": torn.path,
        "stage": "open",
        "reason": "cannot open it: it is no video, or its header or index is lost",
        "bytes": len("no video"),
    }
    assert rows["e.mp4@5-6"]["stage"] == "segment"
    assert rows["e.mp4@5-6"]["reason"].startswith("no frame between 5 s and 6 s: its video ends at ")


def test_short_clips_are_counted(tmp_path):
    _, prepared = write_manifest(tmp_path, [*ROWS[:3], *ROWS[4:6]])
    execute(tmp_path, prepared, IngestConfig(fps=10, short_side=24, min_frames=4, short_clips="loop"))
    assert read_summary(f"{tmp_path}/quarantine")["short"] == {"train": 1, "eval": 0}


def test_the_ingest_settings_are_part_of_what_the_cache_compares():
    one, other = (
        VideoExampleGen("/data", ("train",), IngestConfig(jpeg_quality=quality), kept="/kept").exec_properties
        for quality in (90, 95)
    )
    assert json.loads(one["ingest"])["jpeg_quality"] == 90
    assert one["ingest"] != other["ingest"]


def test_the_policy_of_a_run_is_no_part_of_what_the_cache_compares():
    one, other = (
        VideoExampleGen("/data", ("train",), IngestConfig(max_bad_fraction=share), kept="/kept").exec_properties
        for share in (0.1, 0.2)
    )
    assert one == other


def test_of_mutated_videos_every_clip_comes_out_once_in_its_split_or_in_the_quarantine(tmp_path):
    paths = list(mutants(tmp_path, MUTANTS))
    clips = [
        Clip(f"{path}@{start}", path, path, ("train", "eval")[n % 2], {"label": "any"}, {}, start, end)
        for n, path in enumerate(paths)
        for start, end in ((0.0, None), (1.0, 1.5))
    ]
    (tmp_path / "manifest").mkdir()
    for split in ("train", "eval"):
        lines = "".join(clip.to_json() + "\n" for clip in clips if clip.split == split)
        (tmp_path / "manifest" / f"{split}.jsonl").write_text(lines)
    config = IngestConfig(fps=10, short_side=24, max_seconds=20)
    examples, quarantine = execute(tmp_path, str(tmp_path / "manifest"), config)
    out = {split: [values(e, features.CLIP_ID)[0].decode() for e in found] for split, found in examples.items()}
    lost = [row["id"] for row in quarantine]
    assert sorted([*sum(out.values(), []), *lost]) == sorted(clip.id for clip in clips)
    assert all(clip.id in out[clip.split] for clip in clips if clip.id not in lost)
    assert not [row for row in quarantine if "longer than" in row["reason"] or "ended the decoder" in row["reason"]]
