"""Segments: each has the frames that the whole clip has at its times, whatever the index of a file says."""

import os
from fractions import Fraction

import numpy as np
import pytest

from components.media.config import DecodeConfig
from components.media.video import VideoError, store_clip, store_segments
from tests.components.media.forms import edited, form, scenes, write_form
from tests.components.media.videos import numbers, write_video

# Some of the forms, in seconds; VIVIT_FORMS=560 tries each kind of them seven times, in a minute or two.
FORMS = int(os.environ.get("VIVIT_FORMS", "24"))
SEGMENTS = 6
# Between the frames, too.
CONFIG = DecodeConfig(fps=50, short_side=48)
TEN_FPS = DecodeConfig(fps=10, short_side=48)


@pytest.mark.parametrize("number", range(FORMS))
def test_segments_of_any_form_are_parts_of_the_whole_clip(tmp_path, number):
    path, made, rng = write_form(tmp_path, number), form(number), np.random.default_rng(number)
    try:
        whole = store_clip(path, CONFIG).frames
    except VideoError:
        # An edit that begins at what is no key picture: some decoders refuse it.
        assert made.edits and made.index != "true", made
        return
    # How long the last picture of a trimmed file lasts, FFmpeg reports wrongly where the frame rate is variable.
    count = whole.index(whole[-1]) + 1
    begins = rng.integers(0, count, SEGMENTS)
    ends = np.minimum(begins + rng.integers(1, 40, SEGMENTS), count)
    places = list(zip(begins.tolist(), ends.tolist(), strict=True))
    segments = [(begin / CONFIG.fps, end / CONFIG.fps) for begin, end in places]
    together = dict(store_segments(path, segments, CONFIG))
    for place, (begin, end) in enumerate(places):
        alone = store_clip(path, CONFIG, start=segments[place][0], end=segments[place][1])
        for stored in (alone, together[place]):
            assert not isinstance(stored, VideoError), (made, segments[place], stored.reason)
            assert stored.frames == whole[begin:end], (made, segments[place])


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("v.mp4", "mpeg4"),
        ("v.mov", "msmpeg4"),
        ("v.mkv", "mpeg4"),
        ("v.mp4", "libx264"),
        ("v.webm", "libvpx"),
        ("v.mp4", "libvpx-vp9"),
    ],
)
def test_an_index_that_calls_every_picture_a_key_picture_is_not_believed(tmp_path, name, codec):
    """So it is of an MP4 file without a table of them (ISO/IEC 14496-12, 8.6.2)."""
    frames = list(scenes(np.random.default_rng(0), 48, 64, 60))
    path = write_video(tmp_path / name, range(60), frames=frames, codec=codec, encoder={"bf": "0"}, all_key=True)
    whole = store_clip(path, TEN_FPS).frames
    segments = [(2.9, 3.4), (0.5, 1.0), (5.3, 5.5)]
    parts = [whole[29:34], whole[5:10], whole[53:55]]
    assert [stored.frames for _, stored in sorted(store_segments(path, segments, TEN_FPS))] == parts
    assert [store_clip(path, TEN_FPS, start=start, end=end).frames for start, end in segments] == parts


def test_the_pictures_before_the_first_key_picture_of_an_edit_are_found(tmp_path):
    """In an open group of pictures the edit begins between the decoding of a key picture and its display."""
    form = "keyint=50:bframes=8:b-adapt=0:b-pyramid=normal:open-gop=1:scenecut=0"
    path = write_video(tmp_path / "v.mp4", range(200), tick=Fraction(1, 25), encoder={"x264-params": form})
    (tmp_path / "v.mp4").write_bytes(edited((tmp_path / "v.mp4").read_bytes(), ((96 / 200, 1.0),)))
    config = DecodeConfig(fps=25, short_side=48)
    for first in range(6):
        clip = store_clip(path, config, start=first / 25, end=(first + 5) / 25)
        assert numbers(clip) == list(range(96 + first, 101 + first))


@pytest.mark.parametrize(("share", "first"), [(0.2, 12), (0.21, 13), (0.5, 30)])
def test_an_edit_that_begins_at_what_is_no_key_picture_is_refused_up_to_the_first_one(tmp_path, share, first):
    """Its index lies: nothing says where the pictures are that the first ones refer to."""
    frames = list(scenes(np.random.default_rng(0), 48, 64, 60))
    forms = {"codec": "mpeg4", "encoder": {"bf": "0", "g": "50", "sc_threshold": "1000000000"}}
    path = write_video(tmp_path / "v.mp4", range(60), frames=frames, **forms, all_key=True)
    whole = store_clip(path, TEN_FPS).frames
    (tmp_path / "v.mp4").write_bytes(edited((tmp_path / "v.mp4").read_bytes(), ((share, 1.0),)))
    with pytest.raises(VideoError, match="its picture refers to one that is missing at 0.00 s"):
        store_clip(path, TEN_FPS)
    assert store_clip(path, TEN_FPS, start=(50 - first) / 10, end=(55 - first) / 10).frames == whole[50:55]


def test_an_index_that_is_right_is_used(tmp_path):
    """What lies before the key picture of a segment is not decoded: here it is damaged."""
    path = write_video(tmp_path / "v.mp4", range(60), encoder={"x264-params": "open-gop=1:scenecut=0"})
    content = bytearray((tmp_path / "v.mp4").read_bytes())
    media = content.index(b"mdat") + 4
    content[media + 900 : media + 1000] = bytes(100)
    (tmp_path / "v.mp4").write_bytes(content)
    assert numbers(store_clip(path, TEN_FPS, start=4.0, end=4.5)) == [40, 41, 42, 43, 44]
    with pytest.raises(VideoError, match="damaged"):
        store_clip(path, TEN_FPS)
