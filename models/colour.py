"""Colour augmentation of normalised clips, on the device: one draw per clip, the same for all of its frames.

The operations are those of `tf.image` in the reference's order, written for a batch in which every clip has arguments
of its own (`tf.image` takes one scalar), and with elementwise arithmetic only, so that accelerators fuse them.
"""

from __future__ import annotations

import tensorflow as tf

# The reference's ranges (spec §4.4); a hue delta of 1 is the whole circle.
BRIGHTNESS = (-32 / 255, 32 / 255)
SATURATION = (0.6, 1.4)
CONTRAST = (0.6, 1.4)
HUE = (-0.2, 0.2)
# ITU-R BT.601, as tf.image.rgb_to_grayscale.
LUMA = (0.2989, 0.5870, 0.1140)


def draw(colour: float, drop_colour: float, seed: tf.Tensor) -> dict[str, tf.Tensor]:
    """Draws one clip's arguments, scalars: the four arguments, and whether to jitter and to drop colour (bool).

    `colour` and `drop_colour` are probabilities; `seed` is int [2].
    """
    low, high = zip((0.0, 1.0), BRIGHTNESS, SATURATION, CONTRAST, HUE, (0.0, 1.0), strict=True)
    drawn = tf.random.stateless_uniform([6], seed) * (tf.constant(high) - tf.constant(low)) + tf.constant(low)
    jitter, brightness, saturation, contrast, hue, drop = tf.unstack(drawn)
    return {
        "jitter_colour": jitter < colour,
        "brightness": brightness,
        "saturation": saturation,
        "contrast": contrast,
        "hue": hue,
        "drop_colour": drop < drop_colour,
    }


def apply(clip: tf.Tensor, drawn: dict[str, tf.Tensor]) -> tf.Tensor:
    """Colours a batch of clips.

    Args:
      clip: float32 [B, T, H, W, 3] in [-1, 1].
      drawn: What `draw` gave for each clip, batched: [B] each.

    Returns:
      float32 [B, T, H, W, 3] in [-1, 1].
    """
    drawn = {name: value[:, tf.newaxis, tf.newaxis, tf.newaxis, tf.newaxis] for name, value in drawn.items()}
    unit = (clip + 1.0) * 0.5 + drawn["brightness"]
    unit = adjust_saturation(unit, drawn["saturation"])
    unit = adjust_contrast(unit, drawn["contrast"])
    unit = adjust_hue(unit, drawn["hue"])
    jittered = tf.clip_by_value(unit, 0.0, 1.0) * 2.0 - 1.0
    clip = tf.where(drawn["jitter_colour"], jittered, clip)
    return tf.where(drawn["drop_colour"], greyscale(clip), clip)


def adjust_saturation(pixels: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Scales the saturation in HSV, at most to 1, hue and value kept: float [..., 3] in about [0, 1]."""
    value = tf.reduce_max(pixels, axis=-1, keepdims=True)
    chroma = value - tf.reduce_min(pixels, axis=-1, keepdims=True)
    # saturation = chroma / value, so that the largest factor that keeps it at 1 or below is value / chroma.
    factor = tf.clip_by_value(tf.math.divide_no_nan(value, chroma), 0.0, factor)
    return value - (value - pixels) * factor


def adjust_contrast(pixels: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Scales the distance from the mean of each frame and channel: float [..., H, W, 3]."""
    mean = tf.reduce_mean(pixels, axis=[-3, -2], keepdims=True)
    return (pixels - mean) * factor + mean


def adjust_hue(pixels: tf.Tensor, delta: tf.Tensor) -> tf.Tensor:
    """Turns the hue in HSV by `delta` circles, saturation and value kept: float [..., 3]."""
    red, green, blue = (pixels[..., channel : channel + 1] for channel in range(3))
    value = tf.reduce_max(pixels, axis=-1, keepdims=True)
    least = tf.reduce_min(pixels, axis=-1, keepdims=True)
    chroma = value - least
    sixths = tf.where(
        red == value,
        tf.math.divide_no_nan(green - blue, chroma),
        tf.where(
            green == value,
            tf.math.divide_no_nan(blue - red, chroma) + 2.0,
            tf.math.divide_no_nan(red - green, chroma) + 4.0,
        ),
    )
    turned = tf.math.floormod(sixths + delta * 6.0, 6.0)
    shares = [tf.abs(turned - 3.0) - 1.0, 2.0 - tf.abs(turned - 2.0), 2.0 - tf.abs(turned - 4.0)]
    return least + chroma * tf.clip_by_value(tf.concat(shares, axis=-1), 0.0, 1.0)


def greyscale(pixels: tf.Tensor) -> tf.Tensor:
    """Luma in all three channels: float [..., 3] of any range."""
    return tf.reduce_sum(pixels * tf.constant(LUMA), axis=-1, keepdims=True) * tf.ones([3])
