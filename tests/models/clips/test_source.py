"""models.clips.source: what is read, and what is not, of shards with indexes."""

import collections
import dataclasses
import itertools
import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from components.ingest.shard_file import ShardWriter
from models.clips import input_pipeline
from models.clips.augment import NO_AUGMENTATION
from models.clips.sampling import ClipConfig
from schemas import features
from schemas.clip_index import ClipIndex, IndexedClip, index_name, write_indexed

CLIP = ClipConfig(num_frames=2, stride=1, min_resize=16, crop_size=16)
# 200 shards of 4 clips of 98 kB each.
SHARDS, CLIPS, FRAMES, SIDE = 200, 4, 32, 32


def clip(number, shape=(FRAMES, SIDE, SIDE, 3)):
    group, frames = f"video{number // 2}", np.random.default_rng(number).integers(0, 256, shape, np.uint8)
    example = features.raw_storage_example(f"clip{number}", group, tf.io.serialize_tensor(frames).numpy())
    return IndexedClip(example.SerializeToString(), group, {"label": number % 5})


def write_set(folder, shards=SHARDS, clips=CLIPS, **settings):
    """Writes a data set; returns the paths of its indexes."""
    paths = []
    for shard in range(shards):
        path = str(folder / f"clips-{shard:05d}.tfrecord")
        paths.append(index_name(path))
        write_indexed(path, paths[-1], [clip(shard * clips + number, **settings) for number in range(clips)])
    return paths


@pytest.fixture(scope="module")
def indexes(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp("many"))


def source_of(indexes):
    return input_pipeline.transformed_source(indexes, ("label",), "raw")


def batches_of(source, **settings):
    arguments = {"clip": CLIP, "augmentation": NO_AUGMENTATION, "batch_size": 8, "seed": 3}
    return input_pipeline.train_dataset(source, **arguments | settings)


def ids_of(dataset, count):
    return [batch["id"].tolist() for batch in itertools.islice(dataset.as_numpy_iterator(), count)]


def bytes_read():
    """Bytes that this process has read from files so far, from the page cache or not."""
    return int(Path("/proc/self/io").read_text().split()[1])


def test_before_step_0_less_than_1_percent_of_200_shards_is_read(indexes):
    size = sum(os.path.getsize(index.removesuffix(".json.gz")) for index in indexes)
    assert size > 75e6
    ids_of(batches_of(source_of(indexes[:2])), 1)
    before = bytes_read()
    source = source_of(indexes)
    counts = source.count_labels()
    learning = source.only([f"video{number}" for number in range(10)], inside=False)
    learning.groups()
    batches = iter(batches_of(learning, balance="label"))
    assert bytes_read() - before < 0.01 * size
    assert counts == {"label": dict.fromkeys(range(5), 160)}
    next(batches)
    # A batch, two ahead, and what is on its way.
    assert bytes_read() - before < 0.15 * size


@pytest.mark.parametrize("balance", [None, "label"])
def test_resumed_it_reads_no_clip_that_it_does_not_train_on(tmp_path, balance):
    """All clips of the steps before are destroyed: 96 clips, of which the first 7 of 12 batches of an epoch go."""
    indexes = write_set(tmp_path, shards=12, clips=8, shape=(3, 16, 16, 3))
    source = source_of(indexes)
    undisturbed = ids_of(batches_of(source, balance=balance), 12)
    wanted = {clip_id for batch in undisturbed[7:] for clip_id in batch}
    gone = {clip_id for batch in undisturbed[:7] for clip_id in batch} - wanted
    assert len(gone) > 20
    numbers = {element["id"].numpy(): number for number, element in enumerate(texts(source))}
    for clip_id in gone:
        destroy(source, numbers[clip_id])
    assert ids_of(batches_of(source, balance=balance, start=7), 5) == undisturbed[7:]
    with pytest.raises(tf.errors.OpError, match="no whole clip of .*clips-000.*.tfrecord at byte"):
        ids_of(batches_of(source, balance=balance), 7)


def texts(source):
    return source.records().map(lambda number, serialised: source.element(number, serialised)[1])


def destroy(source, number):
    places = source.places
    with open(places.shards[places.file[number]], "r+b") as file:
        file.seek(places.offset[number])
        file.write(bytes(places.length[number]))


def test_a_flipped_bit_is_an_error_that_names_the_shard(tmp_path):
    (index,) = write_set(tmp_path, shards=1, clips=2, shape=(3, 16, 16, 3))
    path = Path(index.removesuffix(".json.gz"))
    data = bytearray(path.read_bytes())
    data[len(data) // 4] ^= 1
    path.write_bytes(data)
    with pytest.raises(tf.errors.OpError, match=r"clips-00000.tfrecord at byte 0: .* \(its checksum differs\)"):
        list(texts(source_of([index])))


def test_shards_of_the_ingest_are_read_in_place(tmp_path):
    clips = [clip(number, shape=(7 * number + 1, 40, 50, 3)) for number in range(5)]
    path = str(tmp_path / "data.gz")
    with ShardWriter(path) as writer:
        places = [writer.write(one.record) for one in clips]
    labels = {"label": [one.labels["label"] for one in clips]}
    offsets, lengths = zip(*places, strict=True)
    ClipIndex(path, "GZIP", offsets, lengths, [one.group for one in clips], labels).write(str(tmp_path / "index.gz"))
    source = source_of([str(tmp_path / "index.gz")])
    assert [serialised.numpy() for _, serialised in source.records()] == [one.record for one in clips]


def test_a_file_that_is_no_index_is_said(tmp_path):
    (tmp_path / "old.gz").write_bytes(b"TFRecords of an older Transform")
    with pytest.raises(ValueError, match="old.gz is no index of clips: run the pipeline's Transform again"):
        source_of([str(tmp_path / "old.gz")])


def test_neighbours_in_a_shard_come_up_far_apart(indexes):
    """Any clip may come after any other: no buffer bounds how far one is moved."""
    source = source_of(indexes)
    order = [int(name[4:]) for batch in ids_of(batches_of(source, batch_size=100), 8) for name in batch]
    assert sorted(order) == list(range(SHARDS * CLIPS))
    moved = np.abs(np.argsort(order) - np.arange(len(order)))
    assert 0.25 < moved.mean() / len(order) < 0.42


def test_a_part_has_the_counts_and_groups_of_its_clips(indexes):
    source = source_of(indexes)
    part = source.only(["video0", "video7"], inside=True)
    assert collections.Counter(part.groups()) == {"video0": 2, "video7": 2}
    assert part.count_labels() == {"label": {0: 2, 1: 1, 4: 1}}
    assert source.only(["video0", "video7"], inside=False).count == SHARDS * CLIPS - 4
    assert dataclasses.replace(part, labels_of={}).count_labels() == {}
