"""Colour augmentation of normalised clips, on the device: one draw per clip, the same for all of its frames."""

from __future__ import annotations

import tensorflow as tf

# The reference's ranges (spec §4.4); a hue delta of 1 is the whole circle.
BRIGHTNESS = (-32 / 255, 32 / 255)
SATURATION = (0.6, 1.4)
CONTRAST = (0.6, 1.4)
HUE = (-0.2, 0.2)


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


def apply(clips: tf.Tensor, drawn: dict[str, tf.Tensor]) -> tf.Tensor:
    """Colours each clip of float32 [B, T, H, W, 3] in [-1, 1] as `draw` says, [B] each; the same shape and range."""

    def one_clip(arguments):
        clip, of_clip = arguments
        # Not tf.cond: in TF 2.16, XLA on CPU gets adjust_hue wrong inside a conditional.
        clip = tf.where(of_clip["jitter_colour"], jitter(clip, of_clip), clip)
        return tf.where(of_clip["drop_colour"], greyscale(clip), clip)

    return tf.map_fn(one_clip, (clips, drawn), fn_output_signature=tf.TensorSpec(clips.shape[1:], tf.float32))


def jitter(clip: tf.Tensor, arguments: dict[str, tf.Tensor]) -> tf.Tensor:
    """Brightness, saturation, contrast (about each frame's mean) and hue of float32 [T, H, W, 3] in [-1, 1]."""
    unit = tf.image.adjust_brightness((clip + 1.0) * 0.5, arguments["brightness"])
    unit = tf.image.adjust_saturation(unit, arguments["saturation"])
    unit = tf.image.adjust_contrast(unit, arguments["contrast"])
    unit = tf.image.adjust_hue(unit, arguments["hue"])
    return tf.clip_by_value(unit, 0.0, 1.0) * 2.0 - 1.0


def greyscale(clip: tf.Tensor) -> tf.Tensor:
    """Luma of float32 [..., 3] in [-1, 1], as it is, in all three channels."""
    return tf.repeat(tf.image.rgb_to_grayscale(clip), 3, axis=-1)
