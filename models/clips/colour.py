"""Normalisation and colour augmentation of clips, on the device: one draw per clip, the same for all of its frames."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from models.clips import images

# The reference's ranges (spec §4.4); a hue delta of 1 is the whole circle.
BRIGHTNESS = (-32 / 255, 32 / 255)
SATURATION = (0.6, 1.4)
CONTRAST = (0.6, 1.4)
HUE = (-0.2, 0.2)
# Of red, green and blue, as in tf.image.rgb_to_grayscale.
LUMA = (0.2989, 0.5870, 0.1140)
# A divisor where a pixel has no chroma, and what is divided is 0.
_TINY = 1e-30


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


def apply(planes: tf.Tensor, draws: ColourDraws) -> tf.Tensor:
    """Normalises and colours each clip of uint8 [B, 3, T, H, W] as its draws say: float32 in [-1, 1].

    Clip after clip, which takes less memory than a whole batch at once, and on a CPU a little less time.
    """

    def one_clip(arguments):
        clip, of_clip = arguments
        clip = images.normalise(clip)
        # Both are computed for all clips: a compiled branch runs on one core.
        clip = tf.where(of_clip.jitter, jitter(clip, of_clip), clip)
        return tf.where(of_clip.drop, greyscale(clip), clip)

    return tf.map_fn(one_clip, (planes, draws), fn_output_signature=tf.TensorSpec(planes.shape[1:], tf.float32))


def jitter(clip: tf.Tensor, draws: ColourDraws) -> tf.Tensor:
    """Brightness, saturation, contrast (about each frame's mean) and hue of float32 [3, T, H, W] in [-1, 1].

    The numbers are those of tf.image.adjust_saturation and adjust_hue up to their rounding, 2e-6, in fewer operations
    and without branches.
    """
    unit = (clip + 1.0) * 0.5 + draws.brightness
    unit = _contrast(_saturation(unit, draws.saturation), draws.contrast)
    return tf.clip_by_value(_hue(unit, draws.hue), 0.0, 1.0) * 2.0 - 1.0


def greyscale(clip: tf.Tensor) -> tf.Tensor:
    """Luma of float32 [3, ...] in [-1, 1], as it is, in all three channels."""
    red, green, blue = (weight * plane for weight, plane in zip(LUMA, tf.unstack(clip), strict=True))
    return tf.repeat((red + green + blue)[tf.newaxis], 3, axis=0)


def _saturation(unit: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Scales HSV's saturation, at most to 1. Hue and value stay: distances from the value are scaled alike."""
    value, chroma = _value_and_chroma(unit)
    most = tf.maximum(value, 0.0) / tf.maximum(chroma, _TINY)
    return value - (value - unit) * tf.minimum(factor, most)


def _contrast(unit: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    # One axis after the other: a column's sum is computed for many columns at once, and rounded less.
    mean = tf.reduce_mean(tf.reduce_mean(unit, axis=-2, keepdims=True), axis=-1, keepdims=True)
    return unit * factor + mean * (1.0 - factor)


def _hue(unit: tf.Tensor, delta: tf.Tensor) -> tf.Tensor:
    """Turns HSV's hue by `delta`, of which 1 is the whole circle; value and chroma stay."""
    value, chroma = _value_and_chroma(unit)
    red, green, blue = tf.unstack(unit)
    share = 1.0 / tf.maximum(chroma, _TINY)
    # In sixths of the circle, from red.
    hue = tf.where(green == value, (blue - red) * share + 2.0, (red - green) * share + 4.0)
    hue = tf.where(red == value, (green - blue) * share, hue) + 6.0 * delta
    hue -= 6.0 * tf.floor(hue / 6.0)
    # How much of the chroma each channel has: a trapezium about its own hue, red's about 0 and 6.
    shares = tf.stack([tf.abs(hue - 3.0) - 1.0, 2.0 - tf.abs(hue - 2.0), 2.0 - tf.abs(hue - 4.0)])
    return value - chroma * (1.0 - tf.clip_by_value(shares, 0.0, 1.0))


def _value_and_chroma(unit: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    red, green, blue = tf.unstack(unit)
    value = tf.maximum(tf.maximum(red, green), blue)
    return value, value - tf.minimum(tf.minimum(red, green), blue)
