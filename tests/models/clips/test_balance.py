"""models.clips.balance: classes come up equally often, and clips within their classes."""

import numpy as np
import pytest
import tensorflow as tf

from models.clips.balance import balanced_copies

# In the order of reading: 1 clip of class 7, 2 of class 0, 20 of class 3, 40 of class 4.
CLASSES = np.random.default_rng(0).permutation(np.repeat([7, 0, 3, 4], [1, 2, 20, 40]))


def dealt(passes, seed=1):
    copies = tf.function(balanced_copies(CLASSES, seed))
    return np.array([copies(tf.constant(number, tf.int64)) for number in range(passes)])


def test_a_pass_shows_as_many_clips_as_there_are_and_all_classes_equally_often():
    found = dealt(20)
    assert (found >= 0).all()
    assert (found.sum(axis=1) == len(CLASSES)).all()
    by_class = np.array([found[:, class_id == CLASSES].sum(axis=1) for class_id in (0, 3, 4, 7)])
    assert by_class.min() >= 63 // 4
    assert by_class.max() <= 63 // 4 + 1
    assert by_class.sum(axis=1).tolist() == [63 * 20 // 4] * 4


@pytest.mark.parametrize("passes", [1, 2, 3, 7, 20])
def test_no_clip_comes_up_twice_more_than_another_of_its_class(passes):
    total = dealt(passes).sum(axis=0)
    for class_id in set(CLASSES):
        assert np.ptp(total[class_id == CLASSES]) <= 1


def test_the_clips_that_are_left_out_change_with_the_pass_and_the_seed():
    first, second, *_ = dealt(2)
    frequent = CLASSES == 4
    assert first[frequent].max() == 1
    assert not (first[frequent] & second[frequent]).any()
    assert not np.array_equal(first, dealt(1, seed=2)[0])
    np.testing.assert_array_equal(dealt(2)[1], second)
