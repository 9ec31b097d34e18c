"""models.clips.sampling against the reference's numbers, and the promise of the same pixels by every route."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from models.clips import images, sampling
from models.clips.sampling import ClipConfig, ViewsConfig

GOLDEN = Path(__file__).parents[2] / "golden" / "preprocessing"
SMALL = ClipConfig(num_frames=4, stride=2, min_resize=36, crop_size=32)
INDEX_CASES = json.loads((GOLDEN / "frame_indices.json").read_text())
SPATIAL = json.loads((GOLDEN / "spatial.json").read_text())


def moving_frames(n, height=40, width=56):
    """uint8 [n, h, w, 3]: a golden frame, rolled a little further in every frame."""
    frame = np.load(GOLDEN / "train_ops.npz")["input"][0]
    tiled = np.tile(frame, (2, 2, 1))[:height, :width]
    return np.stack([np.roll(tiled, 3 * t, axis=1) for t in range(n)])


def jpegs(frames):
    return tf.stack([tf.io.encode_jpeg(frame, quality=90) for frame in frames])


@pytest.mark.parametrize(
    "case", INDEX_CASES, ids=lambda c: f"{c['video_frames']}-{c['num_frames']}-{c['stride']}-{c['num_test_clips']}"
)
def test_frame_indices_equal_the_reference(case):
    n = tf.constant(case["video_frames"])
    clip = ClipConfig(num_frames=case["num_frames"], stride=case["stride"])
    indices = sampling.view_indices(n, clip, case["num_test_clips"])
    assert indices.shape == (case["num_test_clips"], clip.num_frames)
    assert np.ravel(indices).tolist() == case["eval_indices"]
    assert int(sampling.train_offsets(n, clip)) == case["train_num_offsets"]
    for offset, expected in case["train_indices_at_offset"].items():
        assert sampling.looped_indices(int(offset), n, clip).numpy().tolist() == expected


def test_training_clips_start_at_every_offset_and_repeat_with_their_seed():
    n, clip = tf.constant(12), ClipConfig(num_frames=4, stride=2)
    starts = [int(sampling.train_indices(n, clip, [7, i])[0]) for i in range(200)]
    assert set(starts) == set(range(6))
    assert starts == [int(sampling.train_indices(n, clip, [7, i])[0]) for i in range(200)]


def test_segments_cover_the_whole_video_one_frame_each():
    clip = ClipConfig(num_frames=4, sampling="segments")
    assert sampling.view_indices(tf.constant(12), clip, 1).numpy().tolist() == [[1, 4, 7, 10]]
    assert sampling.view_indices(tf.constant(12), clip, 3).numpy().tolist() == [
        [0, 3, 6, 9],
        [1, 4, 7, 10],
        [2, 5, 8, 11],
    ]
    assert sampling.view_indices(tf.constant(2), clip, 1).numpy().tolist() == [[0, 0, 1, 1]]


def test_a_training_clip_of_segments_has_any_frame_of_each():
    clip = ClipConfig(num_frames=3, sampling="segments")
    drawn = np.array([sampling.train_indices(tf.constant(9), clip, [7, i]) for i in range(200)])
    assert [set(drawn[:, part]) for part in range(3)] == [{0, 1, 2}, {3, 4, 5}, {6, 7, 8}]


def test_the_last_segment_ends_with_the_video():
    last = np.nextafter(np.float32(1), np.float32(0))
    for n in (1, 7, 1_000, 100_003):
        assert int(sampling.segment_indices(tf.fill([8], last), tf.constant(n))[-1]) == n - 1


def test_video_without_frames_is_an_error():
    with pytest.raises(tf.errors.InvalidArgumentError, match="at least one frame"):
        images.make_views(tf.zeros([0], tf.string), SMALL, ViewsConfig(1, 1))


@pytest.mark.parametrize("size", SPATIAL["sizes"], ids=lambda s: f"{s[0]}x{s[1]}")
def test_resize_and_crops_equal_the_reference(size):
    golden = np.load(GOLDEN / "spatial.npz")
    name = f"{size[0]}x{size[1]}"
    crop_size = SPATIAL["crop_size"]
    resized = images.resize_smallest(tf.constant(golden[f"{name}/input"]), SPATIAL["min_resize"])
    np.testing.assert_array_equal(resized, golden[f"{name}/resize_smallest_36"])
    np.testing.assert_array_equal(images.central_crop(resized, crop_size), golden[f"{name}/central_crop_32"])
    three = images.three_crops(resized, crop_size)
    np.testing.assert_array_equal(np.reshape(three, [-1, crop_size, crop_size, 3]), golden[f"{name}/three_crops_32"])
    normalised = images.normalise(golden[f"{name}/central_crop_32"][:1])
    np.testing.assert_allclose(normalised, golden[f"{name}/normalised_zero_centred"], rtol=0, atol=1e-6)


def test_one_by_one_view_is_the_middle_clip_and_the_central_crop():
    frames = moving_frames(11, 36, 50)
    middle = images.central_crop(frames[[1, 3, 5, 7]], 32)
    np.testing.assert_array_equal(images.make_views(tf.constant(frames), SMALL, ViewsConfig(1, 1))[0], middle)


def test_views_are_ordered_by_crop_then_clip():
    frames = moving_frames(20, 36, 50)
    views = images.make_views(tf.constant(frames), SMALL, ViewsConfig(2, 3))
    assert views.shape == (6, 4, 32, 32, 3)
    for crop, left in enumerate((0, 9, 18)):
        for index, start in enumerate((0, 12)):
            expected = frames[start : start + 8 : 2, 2:34, left : left + 32]
            np.testing.assert_array_equal(views[crop * 2 + index], expected)


@pytest.mark.parametrize("views", [ViewsConfig(1, 1), ViewsConfig(4, 3)], ids=str)
@pytest.mark.parametrize("n", [3, 25])
def test_every_route_gives_the_same_pixels(views, n, tmp_path):
    encoded = jpegs(moving_frames(n))
    decoded = tf.stack([tf.io.decode_jpeg(frame) for frame in encoded])
    eager = images.make_views(encoded, SMALL, views).numpy()

    class Server(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, None], tf.string)])
        def serve(self, videos):
            spec = tf.TensorSpec([views.count, *SMALL.shape, 3], tf.uint8)
            return tf.map_fn(lambda video: images.make_views(video, SMALL, views), videos, fn_output_signature=spec)

    server = Server()
    tf.saved_model.save(server, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    dataset = tf.data.Dataset.from_tensors(encoded).map(lambda video: images.make_views(video, SMALL, views))
    np.testing.assert_array_equal(next(iter(dataset)), eager)
    np.testing.assert_array_equal(loaded.serve(encoded[tf.newaxis])[0], eager)
    np.testing.assert_array_equal(images.make_views(decoded, SMALL, views), eager)


def test_stored_frames_reads_both_storages():
    frames = moving_frames(3)
    encoded = jpegs(frames)
    np.testing.assert_array_equal(images.stored_frames(tf.sparse.from_dense(encoded)), encoded)
    np.testing.assert_array_equal(images.stored_frames(tf.io.serialize_tensor(frames)), frames)


def test_three_crops_of_frames_smaller_than_the_crop_is_an_error_that_gives_the_shape():
    with pytest.raises(tf.errors.InvalidArgumentError, match="(?s)32 x 32.*2, 40, 30, 3"):
        images.three_crops(tf.zeros([2, 40, 30, 3], tf.uint8), 32)


def test_central_crop_pads_smaller_frames_with_black():
    cropped = images.central_crop(tf.fill([1, 30, 32, 3], tf.constant(9, tf.uint8)), 32).numpy()
    assert cropped[0, 1:31].min() == 9
    assert cropped[0, [0, 31]].max() == 0


def test_configs_name_the_field_and_the_value_that_are_wrong():
    with pytest.raises(ValueError, match="min_resize must be at least crop_size .224., got 200"):
        ClipConfig(min_resize=200)
    with pytest.raises(ValueError, match="stride must be 1 or more, got 0"):
        ClipConfig(stride=0)
    with pytest.raises(ValueError, match="spatial must be 1 or 3, got 2"):
        ViewsConfig(spatial=2)
    assert str(ViewsConfig(4, 3)) == "4x3"
