"""models.clips.colour against the reference's numbers."""

import json
from pathlib import Path

import numpy as np
import tensorflow as tf

from models.clips import colour
from models.clips.colour import ColourDraws

FOLDER = Path(__file__).parents[2] / "golden" / "preprocessing"
GOLDEN = np.load(FOLDER / "train_ops.npz")
ARGUMENTS = json.loads((FOLDER / "train_ops.json").read_text())["colour"]


def drawn(jitter, drop):
    """Two clips: golden arguments, then none at all."""
    values = {
        "brightness": [ARGUMENTS["brightness_delta"], 0.0],
        "saturation": [ARGUMENTS["saturation"], 1.0],
        "contrast": [ARGUMENTS["contrast"], 1.0],
        "hue": [ARGUMENTS["hue_delta"], 0.0],
    }
    arguments = {name: tf.constant(value) for name, value in values.items()}
    return ColourDraws(jitter=tf.constant([jitter, False]), drop=tf.constant([drop, False]), **arguments)


def test_jitter_and_greyscale_equal_the_reference_and_touch_only_their_clip():
    batch = tf.stack([GOLDEN["normalised"]] * 2)
    jittered = colour.apply(batch, drawn(jitter=True, drop=False))
    np.testing.assert_allclose(jittered[0], GOLDEN["colour_out"], atol=1e-5)
    np.testing.assert_array_equal(jittered[1], batch[1])
    dropped = colour.apply(batch, drawn(jitter=False, drop=True))
    np.testing.assert_allclose(dropped[0], GOLDEN["colour_drop_of_normalised"], atol=1e-5)
    np.testing.assert_array_equal(dropped[1], batch[1])


def test_draws_keep_to_ranges_and_probabilities():
    draws = [colour.draw(0.8, 0.1, tf.constant([5, i])) for i in range(400)]
    for name, (low, high) in {"brightness": colour.BRIGHTNESS, "contrast": colour.CONTRAST, "hue": colour.HUE}.items():
        values = np.array([float(getattr(d, name)) for d in draws])
        assert low <= values.min() < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < values.max() <= high
    assert 0.74 < np.mean([bool(d.jitter) for d in draws]) < 0.86
    assert 0.06 < np.mean([bool(d.drop) for d in draws]) < 0.15
