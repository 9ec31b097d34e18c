"""models.clips.erasing: which boxes are drawn, and what fills them."""

import numpy as np
import pytest
import tensorflow as tf

from models.clips import erasing

SIZE = 32


def drawn(probability, count):
    draw = tf.function(lambda index: erasing.draw(probability, SIZE, tf.stack([tf.constant(3, tf.int64), index])))
    found = [draw(tf.constant(index, tf.int64)) for index in range(count)]
    return tf.nest.map_structure(lambda *values: tf.stack(values), *found)


def test_a_quarter_of_the_clips_loses_a_box_with_the_papers_areas_and_aspects():
    boxes = drawn(0.25, 1200).box.numpy()
    erased = boxes[boxes.any(axis=1)]
    assert len(erased) / len(boxes) == pytest.approx(0.25, abs=0.04)
    height, width = (erased[:, 2:] - erased[:, :2]).T
    assert (erased[:, :2] >= 0).all()
    assert (erased[:, 2:] <= SIZE).all()
    share = height * width / SIZE**2
    # Sides are rounded to whole pixels.
    assert 0.012 < share.min() < 0.04
    assert 0.28 < share.max() < 0.36
    assert share.mean() == pytest.approx((0.02 + 1 / 3) / 2, abs=0.03)
    aspect = np.log(height / width)
    assert aspect.mean() == pytest.approx(0, abs=0.1)
    assert aspect.std() == pytest.approx(2 * np.log(1 / 0.3) / 12**0.5, rel=0.1)
    # Boxes lie anywhere: with the upper left corner's share of the room between 0 and 1, evenly.
    assert (erased[:, :2] / (SIZE - np.stack([height, width], 1))).mean() == pytest.approx(0.5, abs=0.05)


def test_all_or_no_clips_lose_a_box_where_that_is_certain():
    assert drawn(1.0, 50).box.numpy().any(axis=1).all()
    assert not drawn(0.0, 50).box.numpy().any()


def test_the_box_is_noise_in_all_frames_and_the_rest_stays():
    clips = tf.random.stateless_uniform([3, 20, SIZE, SIZE, 3], [1, 2], -1, 1)
    boxes = tf.constant([[2, 3, 12, 23], [0, 0, 0, 0], [0, 0, 32, 32]])
    found = erasing.apply(clips, erasing.ErasingDraws(boxes, tf.constant([[1, 1], [2, 2], [3, 3]]))).numpy()
    np.testing.assert_array_equal(found[1], clips[1])
    box = found[0, :, 2:12, 3:23].copy()
    found[0, :, 2:12, 3:23] = clips[0, :, 2:12, 3:23]
    np.testing.assert_array_equal(found[0], clips[0])
    for noise in (box, found[2]):
        np.testing.assert_allclose((noise.mean((0, 1, 2)) + 1) / 2, erasing.MEAN, atol=0.02)
        np.testing.assert_allclose(noise.std((0, 1, 2)) / 2, erasing.DEVIATION, rtol=0.05)
    assert len(np.unique(box)) > 0.9 * box.size


def test_noise_is_the_same_when_it_is_compiled():
    clips, draws = tf.zeros([8, 2, SIZE, SIZE, 3]), drawn(0.5, 8)
    assert 0 < draws.box.numpy().any(axis=1).sum() < 8
    compiled = tf.function(erasing.apply, jit_compile=True)(clips, draws)
    np.testing.assert_allclose(compiled, erasing.apply(clips, draws), atol=1e-4)
