"""models.clips.still: which clips show part of one frame only, and that they have no class then."""

import numpy as np
import pytest
import tensorflow as tf

from models.clips import still

FRAMES, SIZE = 6, 40


def drawn(probability, count):
    draw = tf.function(lambda index: still.draw(probability, FRAMES, SIZE, tf.stack([tf.constant(3, tf.int64), index])))
    found = [draw(tf.constant(index, tf.int64)) for index in range(count)]
    return tf.nest.map_structure(lambda *values: np.array(tf.stack(values)), *found)


def test_so_many_clips_are_still_and_show_any_part_of_any_frame():
    found = drawn(0.25, 1200)
    counts = np.bincount(found.frame + 1, minlength=FRAMES + 1)
    assert counts[0] / 1200 == pytest.approx(0.75, abs=0.04)
    assert counts[1:] == pytest.approx(np.full(FRAMES, 50), abs=25)
    first, last = found.grid[..., 0], found.grid[..., -1]
    height, side = (last - first).T + 1
    np.testing.assert_allclose(height, side, atol=1)
    assert (np.diff(found.grid) >= 0).all()
    assert (side.min(), side.max()) == (pytest.approx(0.2 * SIZE, abs=1), SIZE)
    assert (first.min(), last.max()) == (0, SIZE - 1)
    # Anywhere: with the upper left corner's share of the room between 0 and 1, evenly.
    share = first[side < SIZE / 2] / (SIZE - side[side < SIZE / 2])[:, np.newaxis]
    assert share.mean(axis=0) == pytest.approx([0.5, 0.5], abs=0.06)


def test_no_or_all_clips_are_still_where_that_is_certain():
    assert (drawn(0.0, 50).frame == -1).all()
    assert (drawn(1.0, 50).frame >= 0).all()


def test_a_still_clip_repeats_a_part_of_its_frame_and_its_target_says_nothing():
    clips = tf.random.stateless_uniform([3, FRAMES, 4, 4, 3], [1, 2])
    targets = {"verb": tf.one_hot([1, 2, -1], 4), "noun": tf.one_hot([0, 1, 1], 2)}
    whole, part = [[0, 1, 2, 3]] * 2, [[0, 0, 1, 1], [2, 2, 3, 3]]
    draws = still.StillDraws(tf.constant([-1, 2, 5]), tf.constant([part, part, whole]))
    found, said = still.apply(clips, targets, draws)
    np.testing.assert_array_equal(found[0], clips[0])
    corner = np.repeat(np.repeat(clips[1, 2, :2, 2:], 2, axis=0), 2, axis=1)
    np.testing.assert_array_equal(found[1], [corner] * FRAMES)
    np.testing.assert_array_equal(found[2], [clips[2, 5]] * FRAMES)
    # The last clip has no verb, and gets none.
    np.testing.assert_array_equal(said["verb"], [[0, 1, 0, 0], [0.25] * 4, [0] * 4])
    np.testing.assert_array_equal(said["noun"], [[1, 0], [0.5, 0.5], [0.5, 0.5]])
