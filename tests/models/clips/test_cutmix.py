"""models.clips.cutmix: its boxes, what it pastes, and how it takes turns with mixup."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from models.clips import augment, cutmix, mixup
from models.clips.augment import NO_AUGMENTATION, AugmentConfig
from models.clips.sampling import ClipConfig

SIZE = 32
CLIP = ClipConfig(num_frames=2, stride=1, min_resize=SIZE, crop_size=SIZE)
BOTH = AugmentConfig(scale=None, random_crop=False, flip=0.0, colour=0.0, drop_colour=0.0, mixup=0.8, cutmix=1.0)


def draws(config, count):
    draw = tf.function(lambda index: augment.draw(tf.constant([SIZE, SIZE]), CLIP, config, tf.stack([5, index]))[1])
    return [draw(tf.constant(index)) for index in range(count)]


def area(box):
    top, left, bottom, right = np.asarray(box).T
    return (bottom - top) * (right - left) / SIZE**2


def test_boxes_lie_in_the_frame_and_have_the_areas_of_the_paper():
    """Cut off at the border, a box of side r centred anywhere keeps r - r**2 / 4 of a side, on average."""
    boxes = np.array([cutmix.draw(1.0, SIZE, tf.constant([1, index])) for index in range(1200)])
    assert boxes.min() >= 0
    assert boxes.max() <= SIZE
    assert (boxes[:, :2] <= boxes[:, 2:]).all()
    side = np.sqrt(np.linspace(0, 1, 1001))
    assert area(boxes).mean() == pytest.approx(((side - side**2 / 4) ** 2).mean(), abs=0.03)


@pytest.mark.parametrize("box", [(3, 0, 20, 32), (0, 0, 0, 0), (0, 0, 32, 32), (31, 31, 32, 32)])
def test_targets_sum_to_one_and_are_the_pixels_pasted(box):
    shape = [4, 2, SIZE, SIZE, 3]
    clips = tf.broadcast_to(tf.reshape(tf.range(4.0), [4, 1, 1, 1, 1]), shape)
    boxes = tf.constant([box, (0, 0, 9, 9), (0, 0, 9, 9), (0, 0, 9, 9)])
    compiled = tf.function(cutmix.apply, jit_compile=True)
    for apply in (cutmix.apply, compiled):
        pixels, targets = apply(clips, {"verb": tf.eye(4), "noun": tf.eye(4)[::-1]}, boxes)
        for clip in range(4):
            shares = [np.mean(pixels[clip] == other) for other in range(4)]
            np.testing.assert_allclose(targets["verb"][clip], shares, atol=1e-6)
            np.testing.assert_allclose(targets["noun"][clip], shares[::-1], atol=1e-6)
        np.testing.assert_allclose(tf.reduce_sum(targets["verb"], axis=1), 1, atol=1e-6)
        # In all frames alike, and where the box says.
        top, left, bottom, right = box
        pasted = (pixels[0].numpy() == 3).all(axis=-1)
        assert pasted[:, top:bottom, left:right].all()
        assert pasted.mean() == area(box)


def test_one_of_the_two_is_drawn_for_a_batch_by_the_switch():
    cut = []
    for draw in draws(BOTH, 400):
        has_box = bool(area(draw.cutmix) > 0)
        assert not has_box or float(draw.mixup) == 1.0
        cut.append(float(draw.mixup) == 1.0)
    assert np.mean(cut) == pytest.approx(0.5, abs=0.08)
    rarely = [float(draw.mixup) == 1.0 for draw in draws(dataclasses.replace(BOTH, switch=0.1), 400)]
    assert np.mean(rarely) == pytest.approx(0.1, abs=0.05)


def test_where_the_other_one_is_drawn_each_leaves_the_batch_bit_for_bit():
    clips = tf.random.stateless_uniform([4, 2, SIZE, SIZE, 3], [1, 2], -1, 1)
    for module, nothing in ((mixup, tf.ones([4])), (cutmix, tf.zeros([4, 4], tf.int32))):
        pixels, targets = module.apply(clips, {"verb": tf.eye(4)}, nothing)
        np.testing.assert_array_equal(pixels, clips)
        np.testing.assert_array_equal(targets["verb"], tf.eye(4))


def test_cutmix_alone_is_in_every_batch_and_adds_no_other_draw():
    config = AugmentConfig(scale=None, flip=0.0, colour=0.0, drop_colour=0.0, cutmix=1.0)
    found = draws(config, 60)
    assert all(draw.mixup == () for draw in found)
    assert np.mean([area(draw.cutmix) > 0 for draw in found]) > 0.9
    assert draws(NO_AUGMENTATION, 1)[0].cutmix == ()
