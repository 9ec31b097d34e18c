"""Colour augmentation of normalised clips, on the device: one draw per clip, the same for all of its frames."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

# The reference's ranges (spec §4.4); a hue delta of 1 is the whole circle.
BRIGHTNESS = (-32 / 255, 32 / 255)
SATURATION = (0.6, 1.4)
CONTRAST = (0.6, 1.4)
HUE = (-0.2, 0.2)


class ColourDraws(NamedTuple):
    """What is drawn for one clip, scalars; [B] each for a batch.

    Attributes:
      jitter: Whether to jitter, bool.
      brightness, saturation, contrast, hue: Arguments of the jitter, float32.
      drop: Whether to drop the colour, bool.
    """

    jitter: tf.Tensor
    brightness: tf.Tensor
    saturation: tf.Tensor
    contrast: tf.Tensor
    hue: tf.Tensor
    drop: tf.Tensor


def draw(colour: float, drop_colour: float, seed: tf.Tensor) -> ColourDraws:
    """Draws for one clip; `colour` and `drop_colour` are probabilities, `seed` is int [2]."""
    low, high = zip((0.0, 1.0), BRIGHTNESS, SATURATION, CONTRAST, HUE, (0.0, 1.0), strict=True)
    drawn = tf.random.stateless_uniform([6], seed) * (tf.constant(high) - tf.constant(low)) + tf.constant(low)
    jitter, brightness, saturation, contrast, hue, drop = tf.unstack(drawn)
    return ColourDraws(jitter < colour, brightness, saturation, contrast, hue, drop < drop_colour)


def apply(clips: tf.Tensor, draws: ColourDraws) -> tf.Tensor:
    """Colours each clip of float32 [B, T, H, W, 3] in [-1, 1] as its draws say; the same shape and range."""

    def one_clip(arguments):
        clip, of_clip = arguments
        # Not tf.cond: in TF 2.16, XLA on CPU gets adjust_hue wrong inside a conditional.
        clip = tf.where(of_clip.jitter, jitter(clip, of_clip), clip)
        return tf.where(of_clip.drop, greyscale(clip), clip)

    return tf.map_fn(one_clip, (clips, draws), fn_output_signature=tf.TensorSpec(clips.shape[1:], tf.float32))


def jitter(clip: tf.Tensor, draws: ColourDraws) -> tf.Tensor:
    """Brightness, saturation, contrast (about each frame's mean) and hue of float32 [T, H, W, 3] in [-1, 1]."""
    unit = tf.image.adjust_brightness((clip + 1.0) * 0.5, draws.brightness)
    unit = tf.image.adjust_saturation(unit, draws.saturation)
    unit = tf.image.adjust_contrast(unit, draws.contrast)
    unit = tf.image.adjust_hue(unit, draws.hue)
    return tf.clip_by_value(unit, 0.0, 1.0) * 2.0 - 1.0


def greyscale(clip: tf.Tensor) -> tf.Tensor:
    """Luma of float32 [..., 3] in [-1, 1], as it is, in all three channels."""
    return tf.repeat(tf.image.rgb_to_grayscale(clip), 3, axis=-1)
