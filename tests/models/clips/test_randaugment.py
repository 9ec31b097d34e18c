"""models.clips.randaugment: what is corrected without parity; the reference's numbers are in benchmarks/parity."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from models.clips import images, randaugment
from models.clips.randaugment import RandAugmentDraws

GOLDEN = np.load(Path(__file__).parents[2] / "golden" / "preprocessing" / "randaugment_ops.npz")
CLIP = images.planes(tf.constant(GOLDEN["input"]))


def test_solarize_does_not_wrap():
    np.testing.assert_array_equal(randaugment.solarize(CLIP, 15, parity=False), CLIP)


def test_sharpness_does_not_mix_frames():
    together = randaugment.sharpness(CLIP, 10, parity=False)
    apart = [randaugment.sharpness(CLIP[:, t : t + 1], 10, parity=False) for t in range(3)]
    np.testing.assert_array_equal(together, tf.concat(apart, 1))


def test_contrast_keeps_the_mean_luma():
    """With a factor of 1 / 2 levels stay in range, so that truncation alone moves the mean."""
    halved = randaugment.contrast(CLIP, 4 / 1.8, parity=False)
    mean = [
        float(tf.reduce_mean(tf.cast(tf.image.rgb_to_grayscale(images.interleaved(clip)), tf.float32)))
        for clip in (CLIP, halved)
    ]
    assert abs(mean[0] - mean[1]) < 1.5


@pytest.mark.parametrize(("parity", "fill"), [(True, 0), (False, 128)])
def test_cutout_fills_one_box_in_all_frames(parity, fill):
    cut = randaugment.cutout(CLIP, 2, tf.constant([0.5, 0.0]), parity=parity).numpy()
    expected = CLIP.numpy().copy()
    expected[:, :, 8:24, 0:8] = fill
    np.testing.assert_array_equal(cut, expected)


def test_each_clip_gets_its_own_operations_in_order():
    invert, brightness, identity = 2, 7, 11
    operations = tf.constant([[invert, brightness], [brightness, invert], [identity, identity]])
    drawn = RandAugmentDraws(operations, centres=tf.zeros([3, 2, 2]))
    both = randaugment.apply(tf.stack([CLIP] * 3), drawn, 15, parity=False)
    np.testing.assert_array_equal(both[0], randaugment.brightness(randaugment.invert(CLIP), 15))
    np.testing.assert_array_equal(both[1], randaugment.invert(randaugment.brightness(CLIP, 15)))
    np.testing.assert_array_equal(both[2], CLIP)


def test_luma_is_tensorflows():
    """Truncation makes one rounding more or less a whole level."""
    colours = np.random.default_rng(0).integers(0, 256, [2, 256, 1024, 3]).astype(np.uint8)
    luma = images.interleaved(randaugment.luma(images.planes(tf.constant(colours))))
    np.testing.assert_array_equal(luma, tf.image.rgb_to_grayscale(colours))


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "compiled"])
def test_a_clip_does_not_depend_on_the_rest_of_its_batch(jit_compile):
    drawn = RandAugmentDraws(tf.stack([tf.range(12), tf.range(12)[::-1]], 1), centres=tf.fill([12, 2, 2], 0.4))
    batch = tf.random.stateless_uniform([12, *CLIP.shape], [1, 2], 0, 256, tf.int32)
    run = tf.function(lambda *x: randaugment.apply(*x, 15, parity=False), jit_compile=jit_compile)
    whole = run(tf.cast(batch, tf.uint8), drawn)
    for part in (slice(0, 5), slice(5, 12)):
        of_part = tf.nest.map_structure(lambda value, part=part: value[part], drawn)
        np.testing.assert_array_equal(run(tf.cast(batch[part], tf.uint8), of_part), whole[part])


def test_draws_reach_all_operations():
    drawn = [randaugment.draw(2, tf.constant([3, i])) for i in range(100)]
    assert set(np.ravel([d.operations for d in drawn])) == set(range(12))


@pytest.mark.parametrize("parity", [True, False])
def test_compiles_under_xla_to_the_same_levels(parity):
    drawn = RandAugmentDraws(tf.reshape(tf.range(12), [12, 1]), centres=tf.fill([12, 1, 2], 0.4))
    batch = tf.stack([CLIP] * 12)
    compiled = tf.function(lambda x: randaugment.apply(x, drawn, 15, parity=parity), jit_compile=True)(batch)
    eager = randaugment.apply(batch, drawn, 15, parity=parity)
    difference = np.abs(compiled.numpy().astype(int) - eager.numpy())
    # One level of the blur, by another order of summation, times the factor of 2.8.
    assert difference.max() <= 3
    assert difference.mean() < 0.01
