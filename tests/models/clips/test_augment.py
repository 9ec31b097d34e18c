"""models.clips.augment: the window and its grid show what resize, crop and flip show."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from models.clips import augment, images
from models.clips.augment import NO_AUGMENTATION, AugmentConfig
from models.clips.sampling import ClipConfig

FOLDER = Path(__file__).parents[2] / "golden" / "preprocessing"
GOLDEN = np.load(FOLDER / "train_ops.npz")
META = json.loads((FOLDER / "train_ops.json").read_text())
FRAMES = tf.constant(GOLDEN["input"])
CLIP = ClipConfig(num_frames=3, stride=1, min_resize=40, crop_size=32)
SIZE = tf.constant([40, 56])


def resampled(frames, grid):
    """One clip of frames, uint8 [T, S, S, 3], at the positions of the grid."""
    return images.interleaved(augment.resample(frames[tf.newaxis], grid[tf.newaxis]))[0]


@pytest.mark.parametrize("case", range(3))
def test_resampling_equals_the_reference_jitter_and_crop(case):
    factors = tf.constant(META[f"scale_jitter_{case}"])
    resized = images.resize(FRAMES, tf.cast(factors * tf.cast(SIZE, tf.float32), tf.int32))
    np.testing.assert_array_equal(resized, GOLDEN[f"scale_jitter_{case}"])
    _, top, left, _ = META[f"crop_{case}_offset"]
    np.testing.assert_array_equal(images.crop(resized, top, left, 32), GOLDEN[f"crop_{case}"])
    grid = augment.sampling_positions(SIZE, tf.shape(resized)[1:3], tf.constant([top, left]), 32)
    np.testing.assert_array_equal(resampled(FRAMES, grid), GOLDEN[f"crop_{case}"])


def test_reversed_columns_are_the_reference_flip():
    grid = tf.cast(tf.stack([tf.range(32), tf.range(32)[::-1]]), tf.float32)
    np.testing.assert_array_equal(resampled(tf.constant(GOLDEN["crop_0"]), grid), GOLDEN["flip_of_crop_0"])


def window(frame, corner, side, clip):
    return augment.window(frame, tf.concat([corner, [0]], 0), side, clip.min_resize)


def crops_of(config, seeds, frames=FRAMES, clip=CLIP):
    """Augmented crops of `frames`, the corners of their windows and their grids, by the functions of the pipeline."""
    side = augment.window_size(clip, config)
    for seed in range(seeds):
        corner, draws = augment.draw(tf.shape(frames)[1:3], clip, config, tf.constant([11, seed]))
        windows = tf.stack([window(frame, corner, side, clip) for frame in frames])
        batched = tf.nest.map_structure(lambda value: value[tf.newaxis], draws)
        yield augment.apply(windows[tf.newaxis], batched, config)[0], corner, draws.grid


@pytest.mark.parametrize("scale", [(0.9, 1.33), (1.0, 1.0), (0.8, 0.8), (1.33, 1.33)])
@pytest.mark.parametrize("shape", [(40, 56), (56, 40), (40, 40), (40, 41)])
def test_window_holds_every_pixel_that_a_crop_shows(scale, shape):
    """A crop out of the window equals the same crop out of the whole frame."""
    frames = tf.image.resize_with_crop_or_pad(tf.tile(FRAMES, [1, 2, 1, 1]), *shape)
    config = AugmentConfig(scale=scale, flip=0.0, colour=0.0, drop_colour=0.0)
    for cropped, corner, grid in crops_of(config, 12, frames):
        in_frame = grid + tf.cast(corner, tf.float32)[:, tf.newaxis]
        np.testing.assert_array_equal(cropped, images.normalise(resampled(frames, in_frame)))


def test_window_is_not_larger_than_the_jitter_needs():
    assert augment.window_size(ClipConfig(), AugmentConfig()) == 251
    assert augment.window_size(ClipConfig(), NO_AUGMENTATION) == 224


def test_no_augmentation_is_the_central_crop():
    ((cropped, _, _),) = crops_of(NO_AUGMENTATION, 1)
    np.testing.assert_array_equal(cropped, images.normalise(images.central_crop(FRAMES, 32)))


def test_random_crops_reach_every_corner():
    config = AugmentConfig(scale=None, flip=0.0, colour=0.0, drop_colour=0.0)
    corners = {tuple(corner.numpy()) for _, corner, _ in crops_of(config, 150)}
    rows, columns = zip(*corners, strict=True)
    assert set(rows) == set(range(9))
    assert set(columns) == set(range(25))


def test_flips_half_of_the_clips():
    config = AugmentConfig(scale=None, random_crop=False, flip=0.5, colour=0.0, drop_colour=0.0)
    centre = images.normalise(images.central_crop(FRAMES, 32)).numpy()
    flipped = 0
    for cropped, _, _ in crops_of(config, 60):
        is_flipped = not np.array_equal(cropped, centre)
        np.testing.assert_array_equal(cropped, centre[:, :, ::-1] if is_flipped else centre)
        flipped += is_flipped
    assert 18 < flipped < 42


def test_same_seed_same_draws():
    first, second = (list(crops_of(AugmentConfig(), 3)) for _ in range(2))
    for (a, _, _), (b, _, _) in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first[0][0], first[1][0])


@pytest.mark.parametrize(
    "config",
    [AugmentConfig(), AugmentConfig(colour=0.0, drop_colour=0.0, randaugment_layers=2, randaugment_magnitude=15)],
    ids=["colour", "randaugment"],
)
def test_whole_augmentation_compiles_and_stays_in_range(config):
    side = augment.window_size(CLIP, config)
    drawn = [augment.draw(SIZE, CLIP, config, tf.constant([1, i])) for i in range(4)]
    windows = tf.stack([tf.stack([window(f, corner, side, CLIP) for f in FRAMES]) for corner, _ in drawn])
    batched = tf.nest.map_structure(lambda *values: tf.stack(values), *(draws for _, draws in drawn))
    compiled = tf.function(lambda w, d: augment.apply(w, d, config), jit_compile=True)(windows, batched)
    assert compiled.shape == (4, 3, 32, 32, 3)
    assert float(tf.reduce_min(compiled)) >= -1.00001
    assert float(tf.reduce_max(compiled)) <= 1.00001
    np.testing.assert_allclose(compiled, augment.apply(windows, batched, config), atol=0.03)


def test_configs_name_what_is_wrong():
    with pytest.raises(ValueError, match="flip is a probability in .0, 1., got 2"):
        AugmentConfig(flip=2)
    with pytest.raises(ValueError, match="erasing is a probability in .0, 1., got -1"):
        AugmentConfig(erasing=-1)
    with pytest.raises(ValueError, match="cutmix must be 0 or more, got -1"):
        AugmentConfig(cutmix=-1)
    with pytest.raises(ValueError, match="must be 0 with RandAugment"):
        AugmentConfig(randaugment_layers=2)
    with pytest.raises(ValueError, match="min_resize=48 makes frames of 43 pixels, smaller than clip.crop_size=48"):
        augment.window_size(ClipConfig(min_resize=48, crop_size=48), AugmentConfig())


@pytest.mark.parametrize("more", [{}, {"erasing": 0.25, "cutmix": 1.0, "switch": 0.0}], ids=["alone", "with the new"])
def test_a_seed_draws_what_it_always_drew(more):
    """Otherwise a published recipe, or a run that goes on, would see other clips."""
    config = AugmentConfig(mixup=0.3, **more)
    corner, draws = augment.draw(SIZE, CLIP, config, tf.constant([7, 5], tf.int64))
    np.testing.assert_array_equal(corner, [2, 4])
    np.testing.assert_allclose([draws.grid[0, 0], draws.grid[1, -1]], [7.26744175, 0.81034470], rtol=1e-6)
    found = [draws.colour.brightness, draws.colour.hue, draws.mixup]
    np.testing.assert_allclose(found, [-0.03178065, 0.17924972, 0.27589965], rtol=1e-5)
    config = AugmentConfig(colour=0.0, drop_colour=0.0, randaugment_layers=2, **more)
    _, draws = augment.draw(SIZE, CLIP, config, tf.constant([7, 5], tf.int64))
    np.testing.assert_array_equal(draws.randaugment.operations, [1, 9])
