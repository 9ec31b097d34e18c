"""models.clips.input_pipeline on small shards with indexes."""

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from models.clips import augment, images, input_pipeline, sampling
from models.clips.augment import NO_AUGMENTATION, AugmentConfig
from models.clips.sampling import ClipConfig, ViewsConfig
from schemas import features
from schemas.clip_index import IndexedClip, index_name, write_indexed

CLIP = ClipConfig(num_frames=4, stride=2, min_resize=40, crop_size=32)
HEADS = ("verb", "noun")
CLIPS_PER_FILE = 5
FRAME = np.load(Path(__file__).parents[2] / "golden" / "preprocessing" / "train_ops.npz")["input"][0]


def encoded_frames(index):
    """JPEG bytes of the frames of clip `index`; clips differ in length, size and content."""
    image = np.roll(FRAME, 5 * index, axis=1)[:, : 40 + index % 17]
    return [tf.io.encode_jpeg(np.roll(image, t, axis=0), quality=95).numpy() for t in range(6 + index % 7)]


def stored_clip(index, storage):
    frames = encoded_frames(index)
    if storage == "raw":
        frames = [tf.io.serialize_tensor(tf.stack([tf.io.decode_jpeg(frame) for frame in frames])).numpy()]
    feature = {
        features.CLIP_ID: tf.train.Feature(bytes_list=tf.train.BytesList(value=[f"clip{index}".encode()])),
        features.CLIP_GROUP: tf.train.Feature(bytes_list=tf.train.BytesList(value=[f"video{index // 2}".encode()])),
        features.CLIP_FRAMES: tf.train.Feature(bytes_list=tf.train.BytesList(value=frames)),
    }
    record = tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()
    return IndexedClip(record, f"video{index // 2}", {"verb": index % 3, "noun": index})


def write_files(folder, count, storage="jpeg"):
    paths = []
    for shard in range(count):
        path = str(folder / f"clips-{shard:05d}-of-{count:05d}.tfrecord")
        paths.append(index_name(path))
        numbers = range(shard * CLIPS_PER_FILE, (shard + 1) * CLIPS_PER_FILE)
        write_indexed(path, paths[-1], [stored_clip(number, storage) for number in numbers])
    return paths


@pytest.fixture(scope="module")
def jpeg(tmp_path_factory):
    return input_pipeline.transformed_source(write_files(tmp_path_factory.mktemp("jpeg"), 3), HEADS, "jpeg")


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    return input_pipeline.transformed_source(write_files(tmp_path_factory.mktemp("raw"), 3, "raw"), HEADS, "raw")


def train(source, **changes):
    arguments = {
        "clip": CLIP,
        "augmentation": AugmentConfig(),
        "batch_size": 4,
        "seed": 3,
    }
    return input_pipeline.train_dataset(source, **(arguments | changes))


def take(dataset, count):
    return list(itertools.islice(dataset.as_numpy_iterator(), count))


def assert_same(first, second):
    tf.nest.assert_same_structure(first, second)
    for a, b in zip(tf.nest.flatten(first), tf.nest.flatten(second), strict=True):
        np.testing.assert_array_equal(a, b)


def test_training_batches_have_static_shapes_and_the_documented_elements(jpeg):
    dataset = train(jpeg)
    side = augment.window_size(CLIP, AugmentConfig())
    spec = dataset.element_spec
    assert spec["clip"] == tf.TensorSpec([4, 4, side, side, 3], tf.uint8)
    assert spec["id"] == tf.TensorSpec([4], tf.string)
    assert spec["labels"] == {head: tf.TensorSpec([4], tf.int32) for head in HEADS}
    assert all(value.shape.is_fully_defined() for value in tf.nest.flatten(spec["draws"]))
    (batch,) = take(dataset, 1)
    assert [f"clip{noun}".encode() for noun in batch["labels"]["noun"]] == batch["id"].tolist()
    assert [f"video{noun // 2}".encode() for noun in batch["labels"]["noun"]] == batch["group"].tolist()
    np.testing.assert_array_equal(batch["labels"]["verb"], batch["labels"]["noun"] % 3)


def test_every_epoch_sees_every_clip_once_in_an_order_of_its_own(jpeg):
    batches = take(train(jpeg, batch_size=5), 9)
    ids = np.reshape([batch["id"] for batch in batches], [3, 15])
    for epoch in ids:
        assert sorted(epoch) == sorted(ids[0])
        assert len(set(epoch)) == 15
    assert len({tuple(epoch) for epoch in ids}) == 3


def test_order_and_draws_depend_on_the_seed_alone(jpeg):
    assert_same(take(train(jpeg), 5), take(train(jpeg), 5))
    other = take(train(jpeg, seed=4), 5)
    assert [b["id"].tolist() for b in other] != [b["id"].tolist() for b in take(train(jpeg), 5)]


@pytest.mark.parametrize("step", [1, 3, 4, 9])
def test_resumed_at_a_step_it_goes_on_with_the_same_batches(jpeg, step):
    """15 clips in batches of 4: epochs end inside batches 3 and 7."""
    assert_same(take(train(jpeg, start=step), 3), take(train(jpeg), step + 3)[step:])


def test_a_clip_is_augmented_anew_in_every_epoch(jpeg):
    first, second = (
        {name: grid for b in epoch for name, grid in zip(b["id"], b["draws"].grid, strict=True)}
        for epoch in np.split(np.array(take(train(jpeg, batch_size=5), 6)), 2)
    )
    assert not any(np.array_equal(first[name], second[name]) for name in first)


REPEATED = dataclasses.replace(AugmentConfig(), repeats=2, erasing=0.5, mixup=0.8, cutmix=1.0)


def test_repeated_clips_are_the_same_frames_cut_and_augmented_anew(raw):
    """Without an augmentation the two clips of a video are equal, with it they differ; batches keep their shapes."""
    config = dataclasses.replace(NO_AUGMENTATION, repeats=2)
    for batch in take(train(raw, augmentation=config), 4):
        assert batch["clip"].shape == (4, *CLIP.shape, 3)
        np.testing.assert_array_equal(batch["clip"][::2], batch["clip"][1::2])
    batches = take(train(raw, augmentation=REPEATED), 4)
    for batch in batches:
        assert batch["id"][::2].tolist() == batch["id"][1::2].tolist()
        assert len(set(batch["id"])) == 2
        np.testing.assert_array_equal(batch["labels"]["noun"][::2], batch["labels"]["noun"][1::2])
        for first, second in zip(batch["draws"].grid[::2], batch["draws"].grid[1::2], strict=True):
            assert not np.array_equal(first, second)
    mixup = np.concatenate([batch["draws"].mixup for batch in batches])
    assert len(set(mixup[mixup < 1])) == (mixup < 1).sum() > 0


def test_repeated_clips_lie_in_windows_of_their_own(raw):
    """A crop at a known place of each of two clips of a video is cut out of the same frames."""
    config = dataclasses.replace(NO_AUGMENTATION, random_crop=True, repeats=2)
    frames, seeds = tf.constant(encoded_frames(5)), [tf.constant([2, 8]), tf.constant([2, 9])]
    pixels, _ = input_pipeline.training_clips(frames, CLIP, config, seeds)
    indices = sampling.train_indices(len(frames), CLIP, tf.random.split(seeds[0], 2)[0])
    decoded = tf.stack([tf.io.decode_jpeg(frames[int(i)]) for i in indices])
    size, corners = tf.shape(decoded)[1:3], []
    for found, seed in zip(pixels, seeds, strict=True):
        corner, _ = augment.draw(size, CLIP, config, tf.random.split(seed, 2)[1])
        np.testing.assert_array_equal(found, images.crop(decoded, *tf.unstack(corner), 32))
        corners.append(tuple(corner.numpy()))
    assert corners[0] != corners[1]


def test_with_two_repeats_two_epochs_of_steps_show_every_clip_twice(raw):
    epoch = take(train(raw, batch_size=6, augmentation=dataclasses.replace(NO_AUGMENTATION, repeats=2)), 5)
    ids, counts = np.unique(np.concatenate([batch["id"] for batch in epoch]), return_counts=True)
    assert len(ids) == 15
    assert set(counts) == {2}


@pytest.mark.parametrize("step", [1, 7, 8])
def test_resumed_with_repeats_it_goes_on_with_the_same_batches(raw, step):
    """15 clips, 2 of them in a batch of 4: a pass ends inside batch 7."""
    resumed = take(train(raw, start=step, augmentation=REPEATED), 3)
    assert_same(resumed, take(train(raw, augmentation=REPEATED), step + 3)[step:])


def unbalanced(source):
    """The 15 clips with another verb for the last one: 6, 5 and 4 are of verbs 0, 1 and 2."""
    labels = source.labels_of
    return dataclasses.replace(
        source, labels_of=labels | {"verb": np.where(labels["noun"] == 14, 0, labels["verb"]).astype(np.int32)}
    )


def test_balanced_training_shows_all_classes_equally_often(raw):
    source = unbalanced(raw)
    assert source.count_labels()["verb"] == {0: 6, 1: 5, 2: 4}
    batches = take(train(source, batch_size=5, augmentation=NO_AUGMENTATION, balance="verb"), 12)
    for epoch in range(4):
        verbs = np.concatenate([batch["labels"]["verb"] for batch in batches[3 * epoch : 3 * epoch + 3]])
        assert np.bincount(verbs).tolist() == [5, 5, 5]
    nouns = np.bincount(np.concatenate([batch["labels"]["noun"] for batch in batches]), minlength=15)
    verbs = [0 if noun == 14 else noun % 3 for noun in range(15)]
    for verb, (least, most) in enumerate([(3, 4), (4, 4), (5, 5)]):
        of_verb = [count for count, other in zip(nouns, verbs, strict=True) if other == verb]
        assert (min(of_verb), max(of_verb)) == (least, most)


@pytest.mark.parametrize("step", [1, 7])
def test_resumed_with_balance_it_goes_on_with_the_same_batches(raw, step):
    settings = {"balance": "verb", "augmentation": REPEATED}
    resumed = take(train(unbalanced(raw), start=step, **settings), 3)
    assert_same(resumed, take(train(unbalanced(raw), **settings), step + 3)[step:])


def test_repeats_that_do_not_divide_the_batch_are_refused(raw):
    with pytest.raises(ValueError, match="augment.repeats=3 does not divide the batch of 4 clips of a device"):
        train(raw, augmentation=dataclasses.replace(NO_AUGMENTATION, repeats=3))


@pytest.mark.parametrize("min_resize", [40, 44])
def test_training_clip_is_the_windows_of_the_sampled_and_resized_frames(min_resize):
    clip = dataclasses.replace(CLIP, min_resize=min_resize)
    frames = tf.constant(encoded_frames(5))
    config = AugmentConfig(scale=None, random_crop=False, flip=0.0, colour=0.0, drop_colour=0.0)
    seed = tf.constant([2, 8])
    pixels, draws = input_pipeline.training_clips(frames, clip, config, [seed])
    indices = sampling.train_indices(len(frames), clip, tf.random.split(seed, 2)[0])
    expected = tf.stack([tf.io.decode_jpeg(frames[int(i)]) for i in indices])
    expected = images.central_crop(images.resize_smallest(expected, min_resize), 32)
    np.testing.assert_array_equal(pixels[0], expected)
    assert len(tf.nest.flatten(draws)) == 1


@pytest.mark.parametrize("config", [AugmentConfig(), NO_AUGMENTATION], ids=["augmented", "plain"])
def test_both_storages_give_the_same_training_batches(jpeg, raw, config):
    assert_same(take(train(jpeg, augmentation=config), 3), take(train(raw, augmentation=config), 3))


@pytest.mark.parametrize("views", [None, ViewsConfig(2, 3)], ids=str)
def test_evaluation_sees_every_clip_once_and_keeps_the_partial_batch(jpeg, raw, views):
    arguments = {"clip": CLIP, "batch_size": 4, "views": views}
    batches = list(input_pipeline.eval_dataset(jpeg, **arguments).as_numpy_iterator())
    assert [len(batch["id"]) for batch in batches] == [4, 4, 4, 3]
    assert sorted(np.concatenate([b["labels"]["noun"] for b in batches])) == list(range(15))
    for batch in batches:
        for pixels, noun in zip(batch["clip"], batch["labels"]["noun"], strict=True):
            expected = images.make_views(tf.constant(encoded_frames(int(noun))), CLIP, views or ViewsConfig(1, 1))
            np.testing.assert_array_equal(pixels, expected if views else expected[0])
    assert_same(batches, list(input_pipeline.eval_dataset(raw, **arguments).as_numpy_iterator()))


def test_labels_are_counted(jpeg):
    assert jpeg.count_labels() == {"verb": {0: 5, 1: 5, 2: 5}, "noun": dict.fromkeys(range(15), 1)}


@pytest.mark.parametrize("settings", [{}, {"augmentation": REPEATED}])
def test_devices_of_hosts_share_each_step_of_one_device(raw, settings):
    whole = take(train(raw, batch_size=8, start=3, **settings), 3)
    hosts = [take(train(raw, batch_size=2, start=3, devices=2, host=host, hosts=2, **settings), 6) for host in range(2)]
    # Of each step the batches of both devices of the first host, then those of the second.
    steps = [[part for host in hosts for part in host[step : step + 2]] for step in (0, 2, 4)]
    joined = [tf.nest.map_structure(lambda *values: np.concatenate(values), *step) for step in steps]
    assert_same(joined, whole)


def test_empty_split_is_an_error_at_once(jpeg):
    with pytest.raises(ValueError, match="at least one file, got none"):
        input_pipeline.transformed_source([], HEADS, "jpeg")
    with pytest.raises(ValueError, match="a source of 1 clip or more, got one of 0"):
        train(jpeg.only([], inside=True))


def test_every_device_of_every_host_scores_as_many_whole_batches_and_every_clip_once(raw):
    ids = []
    for host in range(2):
        batches = take(input_pipeline.score_dataset(raw, clip=CLIP, batch_size=2, devices=3, host=host, hosts=2), 100)
        assert [batch["clip"].shape[0] for batch in batches] == [2] * 6
        ids += [int(label) for b in batches for label, m in zip(b["labels"]["noun"], b["mask"], strict=True) if m]
    assert sorted(ids) == list(range(15))
