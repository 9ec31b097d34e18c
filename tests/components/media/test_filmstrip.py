"""Filmstrips: evenly spaced frames, and the same with heat where a model looked."""

import io

import numpy as np
import pytest
from PIL import Image

from components.media.filmstrip import draw_attention, draw_filmstrip, draw_strip


def plain(colour, size=(128, 96)):
    jpeg = io.BytesIO()
    Image.new("RGB", size, colour).save(jpeg, "JPEG", quality=95)
    return jpeg.getvalue()


def pixels(jpeg):
    """[H, W, 3], as numbers that can be subtracted."""
    return np.asarray(Image.open(io.BytesIO(jpeg)), np.int32)


def test_a_strip_of_few_frames_shows_each_once():
    strip = pixels(draw_filmstrip([plain("black"), plain("white")]))
    assert strip.shape == (96, 2 * 128 + 2, 3)
    assert strip[48, 64].max() < 5
    assert strip[48, 194].min() > 250


def test_a_strip_of_given_frames_shows_each_of_them_and_nothing_between():
    strip = pixels(draw_strip([plain("black", (64, 36)), plain("white", (64, 36)), plain("white", (64, 36))]))
    assert strip.shape == (36, 3 * 64, 3)
    assert [strip[18, place].mean() > 125 for place in (32, 96, 160)] == [False, True, True]
    assert draw_strip([]) == draw_strip([b"not a picture"]) == b""


def test_heat_is_where_and_when_the_model_looked():
    # 16 frames, 4 steps: the upper left corner in the first step, the lower right in the last.
    attention = np.zeros((4, 2, 2))
    attention[0, 0, 0], attention[3, 1, 1] = 1, 1
    strip = pixels(draw_attention([plain((100 + number, 100, 100)) for number in range(16)], attention))
    assert strip.shape == (96, 8 * 130 - 2, 3)
    colourful = np.ptp(strip, axis=2)
    assert colourful[12, 12] > 80
    assert colourful[84, 12] < 20
    assert colourful[84, 7 * 130 + 116] > 80
    assert colourful[:, 2 * 130 + 10 : 6 * 130 - 10].max() < 20


def test_heat_is_relative_to_the_most_of_the_clip():
    frames, attention = [plain("grey")], np.array([[[0.001, 0.0005]]])
    np.testing.assert_array_equal(
        pixels(draw_attention(frames, attention)), pixels(draw_attention(frames, 100 * attention))
    )


def test_a_clip_without_attention_is_grey():
    assert np.ptp(pixels(draw_attention([plain("red")], np.zeros((1, 2, 2)))), axis=2).max() < 3


def test_a_damaged_frame_has_no_strip():
    assert draw_attention([b"not a picture"], np.ones((1, 2, 2))) == b""


@pytest.mark.parametrize("attention", [np.ones((2, 2)), -np.ones((1, 2, 2)), np.full((1, 1, 1), np.nan)])
def test_what_is_no_attention_is_an_error(attention):
    with pytest.raises(ValueError, match="attention must be 0 or more"):
        draw_attention([plain("red")], attention)
