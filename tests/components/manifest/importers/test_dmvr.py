"""DMVR's TFRecords as a manifest: records are paths, their contexts the labels."""

import json

import numpy as np
import pytest

from components.manifest.listing import list_clips
from components.media.config import DecodeConfig
from models.clips import sequence_examples as dmvr
from pipeline.check.checking import check
from pipeline.data import prepare
from pipeline.recipe import load_recipe
from tests.components.ingest.running import execute
from tests.components.storage.records import jpegs, record, write_records

FRAMES = jpegs(2)
TRAIN, VALIDATION = "train.tfrecord-00000-of-00001", "val.tfrecord-00000-of-00001"


@pytest.fixture
def records(data_set):
    """Writes a train and a validation table, the class files, and the JSON file that names them; gives its path."""

    def write(train, validation, *, heads=None, **changes):
        write_records(data_set.path / TRAIN, train)
        write_records(data_set.path / VALIDATION, validation)
        heads = heads or {"label": ["run", "jump"]}
        value = {
            "tables": {"train": "train.tfrecord@1", "validation": "val.tfrecord@1"},
            "heads": {head: f"{head}.txt" for head in heads},
            **changes,
        }
        for head, names in heads.items():
            data_set.write(f"{head}.txt", "".join(f"{name}\n" for name in names))
        return data_set.write("spec.json", json.dumps(value))

    return write


def labelled(*indices):
    return [record([index], FRAMES, f"{number}-{index}.mp4") for number, index in enumerate(indices)]


def test_records_become_clips(data_set, records):
    train = [record([0], FRAMES, "a.mp4"), record([1], FRAMES, "b.mp4", start=2_000_000)]
    loaded = data_set.load("dmvr", records(train, [record([1], FRAMES, "c.mp4")]))
    assert loaded.rows == {
        "a.mp4@0": {"path": f"{TRAIN}#0", "label": "run", "split": "train", "group": "a.mp4", "id": "a.mp4@0"},
        "b.mp4@2000000": {
            "path": f"{TRAIN}#{len(train[0]) + 16}",
            "label": "jump",
            "split": "train",
            "group": "b.mp4",
            "id": "b.mp4@2000000",
        },
        "c.mp4@0": {"path": f"{VALIDATION}#0", "label": "jump", "split": "eval", "group": "c.mp4", "id": "c.mp4@0"},
    }
    assert loaded.classes_file.read_text() == "run\njump\n"
    assert not loaded.missing.exists()


def test_two_heads_share_the_numbers_of_a_record(data_set, records):
    heads = {"noun": ["pan", "knife"], "verb": ["cut", "wash", "mix"]}
    train = [record([2 + verb + 1, noun + 1], FRAMES) for noun, verb in [(0, 0), (1, 2)]]
    loaded = data_set.load("dmvr", records(train, [record([2, 5], FRAMES)], heads=heads, label_offset=1))
    labels = [(clip.labels["noun"], clip.labels["verb"]) for clip in loaded.imported.manifest.split("train")]
    assert labels == [("pan", "cut"), ("knife", "mix")]


def test_the_labels_are_those_that_training_on_the_records_reads(data_set, records):
    spec = records(labelled(1, 0, 1), labelled(0))
    clips = data_set.load("dmvr", spec).imported.manifest.split("train")
    source = dmvr.source("train.tfrecord@1", str(data_set.path), heads={"label": 2})
    dataset = source.records().map(source.element)
    read = {label["id"].numpy().decode(): int(label["labels"]["label"]) for _, label in dataset}
    assert {clip.id: ["run", "jump"].index(clip.labels["label"]) for clip in clips} == read


def test_ids_that_repeat_are_distinguished_by_their_record(data_set, records):
    train = [record([0], FRAMES, "a.mp4"), record([1], FRAMES, "a.mp4")]
    loaded = data_set.load("dmvr", records(train, [record([0], FRAMES)]))
    assert set(loaded.rows) == {
        f"a.mp4@0 ({TRAIN}#0)",
        f"a.mp4@0 ({TRAIN}#{len(train[0]) + 16})",
        f"{VALIDATION}#0",
    }


def test_records_without_one_class_for_each_head_are_left_out(data_set, records):
    train = [*labelled(0, 1), record([0, 1], FRAMES, "two"), record([], FRAMES, "none"), record([1, 1], FRAMES, "same")]
    loaded = data_set.load("dmvr", records(train, labelled(0)))
    assert loaded.imported.left_out == {
        "not one class for each head": ("two@0", "same@0"),
        "no class is given": ("none@0",),
    }


def test_records_of_which_none_is_a_clip_are_reported(data_set, records):
    spec = records([record([0, 1], FRAMES)], [record([1, 0], FRAMES)])
    assert data_set.problems("dmvr", spec) == ["2 left out, not one class for each head"]


def test_a_label_out_of_range_is_reported(data_set, records):
    problems = data_set.problems("dmvr", records(labelled(1, 2), labelled(0), label_offset=1))
    check = "check the label_offset and the class files"
    assert problems == [f"{VALIDATION}#0: class index 0, less label_offset 1, is not in 0 to 1: {check}"]


def test_a_record_of_something_else_is_left_out_alone(data_set, records):
    loaded = data_set.load("dmvr", records([b"something else", *labelled(0, 1)], labelled(0)))
    left_out = {"it is no tf.train.SequenceExample, or a damaged one": (f"{TRAIN}#0",)}
    assert (loaded.imported.left_out, len(loaded.rows)) == (left_out, 3)


def test_what_follows_damage_in_a_file_is_left_out(data_set, records):
    train = labelled(0, 1, 1)
    spec = records(train, labelled(0))
    file = data_set.path / TRAIN
    file.write_bytes(file.read_bytes()[:-1])
    loaded = data_set.load("dmvr", spec)
    place = sum(len(data) + 16 for data in train[:2])
    assert loaded.imported.left_out == {"its file is damaged from there on": (f"{TRAIN}#{place}",)}
    assert len(loaded.imported.manifest.split("train")) == 2


def test_files_that_cannot_be_read_are_reported(data_set, records):
    spec = records(labelled(0, 1), labelled(0), tables={"train": "train.tfrecord@2", "validation": "val.tfrecord@1"})
    (data_set.path / VALIDATION).write_text("no record at all")
    missing = [f"train.tfrecord-0000{shard}-of-00002: cannot read it: No such file or directory" for shard in range(2)]
    assert data_set.problems("dmvr", spec) == [
        *missing,
        f"{VALIDATION}: no record of an uncompressed TFRecord file starts at byte 0",
    ]


def test_a_context_that_is_longer_than_what_is_read_first_is_read(data_set, records):
    long = record([1], FRAMES, "x" * 5000)
    assert f"{'x' * 5000}@0" in data_set.load("dmvr", records([*labelled(0), long], labelled(0))).rows


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"tabels": {}}, "tabels: Unexpected keyword argument"),
        ({"tables": {}}, "tables is missing or empty"),
        ({"tables": {"holdout": "x"}}, "tables.holdout: there is no such split; wanted train, validation or test"),
        ({"tables": {"train": "x@0"}}, "tables.train names no file"),
        ({"label_offset": "1"}, "label_offset: Input should be a valid integer"),
    ],
)
def test_mistakes_in_the_json_file_are_reported(data_set, records, changes, problem):
    assert data_set.problems("dmvr", records([], [], **changes)) == [problem]


def test_a_table_that_is_two_splits_is_reported(data_set, records):
    tables = {"train": "train.tfrecord@1", "validation": "val.tfrecord@1", "test": "val.tfrecord@1"}
    problem = f"tables.test: {VALIDATION} is in tables.validation, too; leave one of the two out"
    assert data_set.problems("dmvr", records([], [], tables=tables)) == [problem]


def test_a_class_file_has_a_class_in_each_row(data_set, records):
    spec = records([], [], heads={"label": ["run", "", "run"]})
    assert data_set.problems("dmvr", spec) == [
        "row 2 is empty; a class's row is its number",
        "class 'run' stands twice",
    ]


def test_records_elsewhere_are_found_from_the_json_file(data_set, records):
    spec = records(labelled(0, 1), [record([0], FRAMES, "c.mp4")], base_dir="sub/../sub")
    (data_set.path / "sub").mkdir()
    for name in (TRAIN, VALIDATION):
        (data_set.path / name).rename(data_set.path / "sub" / name)
    assert data_set.load("dmvr", spec).rows["c.mp4@0"]["path"] == f"sub/{VALIDATION}#0"


def test_a_table_may_list_records(data_set):
    data_set.videos("a.mp4", "b.mp4")
    write_records(data_set.path / "videos" / "r", labelled(0))
    table = data_set.write("t.csv", "path,label,split\nr#0,run,train\na.mp4,jump,train\nb.mp4,run,eval\n")
    assert data_set.load("table", table).rows["r#0"]["path"] == "videos/r#0"


def test_the_manifest_is_prepared_and_ingested_as_the_records_are(data_set, records):
    frames = {f"{number}.mp4": jpegs(3, number) for number in range(6)}
    made = [record([number % 2], jpeg, video) for number, (video, jpeg) in enumerate(frames.items())]
    data_set.load("dmvr", records(made[:4], made[4:]))
    recipe = load_recipe("small", ["train.batch_size=2"])
    data, _ = prepare(str(data_set.path / "manifest.csv"), str(data_set.path / "run"), recipe)
    found, lost = execute(data_set.path, data.manifest_dir, recipe.ingest)
    stored = {
        (e.features.feature["clip/group"].bytes_list.value[0].decode(), split): e.features.feature
        for split in found
        for e in found[split]
    }
    assert lost == []
    assert {group: list(feature["clip/frames"].bytes_list.value) for (group, _), feature in stored.items()} == frames
    assert sorted(split for _, split in stored) == ["eval"] * 2 + ["train"] * 4
    np.testing.assert_allclose([f["clip/fps"].float_list.value[0] for f in stored.values()], recipe.ingest.fps)


def test_records_are_checked_as_ingest_would(data_set, records):
    data_set.load("dmvr", records(labelled(0, 1), [record([0], [b"no JPEG"], "c.mp4")]))
    checked = check(list_clips(str(data_set.path / "manifest.csv"))[0], DecodeConfig(), workers=1, filmstrips=1)
    bad = {found.clip.path: found.is_bad for found in checked}
    assert len(bad) == 3 and [path for path in bad if bad[path]] == [f"{VALIDATION}#0"]
