"""Pictures: colours as a player shows them."""

from fractions import Fraction

import av
import numpy as np
import pytest
from av.video.reformatter import ColorPrimaries, ColorTrc

from components.media.config import DecodeConfig
from components.media.frames import TimedFrame, VideoError
from components.media.orientation import Orientation
from components.media.picture import Painter
from tests.components.media.videos import pixels_of

BT709, BT601, BT2020, UNSPECIFIED = 1, 5, 9, 2
LIMITED, FULL = 1, 2


def picture(pixels, luma, *, size=(48, 64), chroma=None, matrix=BT709, span=LIMITED, transfer=1):
    """The brightness of each pixel as which a plain frame is stored."""
    height, width = size
    frame = av.VideoFrame(width, height, pixels)
    dtype = np.uint16 if "10" in pixels else np.uint8
    middle = 512 if "10" in pixels else 128
    for plane, value in zip(frame.planes, (luma, *(chroma or (middle, middle))), strict=True):
        plane.update(np.full(plane.buffer_size // dtype().itemsize, value, dtype).tobytes())
    frame.colorspace, frame.color_range, frame.color_trc = matrix, span, transfer
    frame.color_primaries = ColorPrimaries.BT2020 if matrix == BT2020 else ColorPrimaries.BT709
    shown = TimedFrame(Fraction(0), Fraction(0), Fraction(0), Fraction(1), Orientation(), frame)
    jpeg, _ = Painter("v", DecodeConfig(short_side=48, max_upscale=1)).paint(shown)
    return pixels_of(jpeg)


def grey(*arguments, **options):
    """The brightness at which a plain frame is stored."""
    return picture(*arguments, **options).mean()


@pytest.mark.parametrize(("pixels", "white"), [("yuv420p", 235), ("yuv420p10le", 940)])
def test_white_is_white_at_any_depth(pixels, white):
    assert grey(pixels, white) > 252


def test_the_full_range_is_not_stretched():
    assert abs(grey("yuv420p", 200, span=FULL) - 200) < 2


def test_a_high_definition_video_that_states_no_matrix_is_bt709():
    red = {"pixels": "yuv420p", "luma": 63, "chroma": (102, 240)}
    expected = grey(**red, matrix=BT709)
    assert abs(grey(**red, size=(720, 720), matrix=UNSPECIFIED) - expected) < 2
    assert abs(grey(**red, size=(48, 64), matrix=UNSPECIFIED) - grey(**red, matrix=BT601)) < 2


def test_colours_that_no_player_knows_are_refused():
    with pytest.raises(VideoError, match="its picture cannot be shown at 0.00 s"):
        picture("yuv420p", 100, matrix=65)


@pytest.mark.parametrize("width", [*range(48, 64), 340])
def test_a_frame_that_is_not_resized_is_stored_up_to_its_last_column(width):
    # Memory that a dark picture leaves behind is what shows where nothing is written.
    assert picture("yuv420p", 16, size=(48, width)).max() < 3
    assert picture("yuv420p", 235, size=(48, width)).min() > 252


@pytest.mark.parametrize(("transfer", "white"), [(ColorTrc.SMPTE2084, 573), (ColorTrc.ARIB_STD_B67, 721)])
def test_the_white_of_high_dynamic_range_is_bright_and_what_is_brighter_still_brighter(transfer, white):
    codes = [64, white // 2, white, 820, 940]
    shown = [grey("yuv420p10le", code, matrix=BT2020, transfer=transfer) for code in codes]
    assert shown == sorted(shown)
    assert shown[0] < 3
    assert 235 < shown[2] < 250
    assert shown[4] > shown[2] + 3
