"""Decoding: the frames a player would show at each time, upright, square and sized; whatever is wrong, in words."""

import dataclasses
import io
import os
from fractions import Fraction

import av
import numpy as np
import pytest
from av.stream import Disposition
from PIL import Image

from components.media.config import DecodeConfig
from components.media.probe import probe
from components.media.video import VideoError, store_clip
from tests.components.media.videos import counter, join, numbers, pixels_of, write_video

TEN_FPS = DecodeConfig(fps=10, short_side=48)


def reason(path, **segment):
    with pytest.raises(VideoError) as caught:
        store_clip(str(path), TEN_FPS, **segment)
    assert str(path) in str(caught.value)
    return f"{caught.value.stage}: {caught.value.reason}"


# Which frames.


@pytest.mark.parametrize(
    ("fps", "shown"),
    [
        (10, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        (5, [0, 2, 4, 6, 8]),
        (4, [0, 2, 5, 7]),
        (25, [0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 4, 4, 4, 5, 5, 6, 6, 6, 7, 7, 8, 8, 8, 9, 9]),
    ],
)
def test_each_stored_frame_is_the_one_shown_at_its_time(tmp_path, fps, shown):
    clip = store_clip(write_video(tmp_path / "v.mp4", range(10)), DecodeConfig(fps=fps, short_side=48))
    assert numbers(clip) == shown
    assert (clip.fps, clip.duration) == (fps, len(shown) / fps)


def test_a_variable_frame_rate_is_followed_by_timestamp(tmp_path):
    times = [0, 40, 80, 500, 540, 1500, 1540, 1560]
    clip = store_clip(write_video(tmp_path / "v.mkv", times, tick=Fraction(1, 1000)), TEN_FPS)
    assert numbers(clip) == [0, 2, 2, 2, 2, 3, *[4] * 9, 5]


def test_timestamps_rounded_by_the_container_skip_and_repeat_nothing(tmp_path):
    """Matroska's clock ticks once in a millisecond; 30000/1001 fps does not fit it."""
    ntsc = Fraction(1001, 30000)
    path = write_video(tmp_path / "v.mkv", range(90), tick=ntsc)
    assert numbers(store_clip(path, DecodeConfig(fps=float(1 / ntsc), short_side=48))) == list(range(90))


def test_time_counts_from_the_first_frame(tmp_path):
    clip = store_clip(write_video(tmp_path / "v.mkv", range(20, 30)), TEN_FPS, start=0.2, end=0.5)
    assert numbers(clip) == [2, 3, 4]
    assert (clip.start, clip.duration) == (0.2, 0.3)


CONTAINERS = [
    ("v.mp4", "libx264", {}),
    ("fragmented.mp4", "libx264", {"movflags": "frag_keyframe+empty_moov"}),
    ("v.mov", "libx264", {}),
    ("v.mkv", "libx264", {}),
    ("v.webm", "libvpx-vp9", {}),
    ("v.ts", "libx264", {}),
    ("v.avi", "mpeg4", {}),
    ("v.flv", "libx264", {}),
    ("v.h264", "libx264", {}),
]


@pytest.mark.parametrize(("name", "codec", "muxer"), CONTAINERS, ids=[name for name, *_ in CONTAINERS])
def test_a_segment_has_the_frames_from_its_start_to_before_its_end(tmp_path, name, codec, muxer):
    path = write_video(tmp_path / name, range(40), codec=codec, muxer=muxer)
    assert numbers(store_clip(path, TEN_FPS)) == list(range(40))
    for first in (0, 3, 11, 12, 13, 25, 36):
        clip = store_clip(path, TEN_FPS, start=first / 10, end=(first + 4) / 10)
        assert numbers(clip) == list(range(first, first + 4))


def test_a_segment_may_start_and_end_between_frames(tmp_path):
    path = write_video(tmp_path / "v.mp4", range(30))
    assert numbers(store_clip(path, TEN_FPS, start=1.05, end=1.31)) == [10, 11, 12]
    assert numbers(store_clip(path, TEN_FPS, start=2.75)) == [27, 28, 29]
    assert numbers(store_clip(path, TEN_FPS, start=2.8, end=3.5)) == [28, 29]


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv"])
def test_a_video_of_one_frame_is_a_clip_of_one_frame(tmp_path, name):
    assert numbers(store_clip(write_video(tmp_path / name, [0]), TEN_FPS)) == [0]


@pytest.mark.parametrize("name", ["pipe:0.mp4", "file:v.mp4", "con:cat.mp4"])
def test_a_name_is_no_protocol(tmp_path, monkeypatch, name):
    write_video(tmp_path / name, range(3))
    monkeypatch.chdir(tmp_path)
    assert numbers(store_clip(name, TEN_FPS)) == [0, 1, 2]
    assert probe(name, 1 << 20).codec == "h264"


# Which pixels.


def test_frames_are_jpeg_of_the_reported_size(tmp_path):
    clip = store_clip(write_video(tmp_path / "v.mp4", range(3)), DecodeConfig(fps=10, short_side=24))
    image = Image.open(io.BytesIO(clip.frames[0]))
    assert (image.format, image.mode, image.size[::-1]) == ("JPEG", "RGB", clip.size)


@pytest.mark.parametrize(
    ("size", "short_side", "stored"),
    [
        ((48, 64), 24, (24, 32)),
        ((64, 48), 24, (32, 24)),
        ((48, 64), 96, (96, 128)),
        ((46, 62), 31, (31, 42)),
        ((45, 63), 48, (48, 67)),
        ((48, 48), 33, (33, 33)),
        ((16, 200), 48, (48, 600)),
    ],
)
def test_the_short_side_is_exact_and_the_long_side_follows(tmp_path, size, short_side, stored):
    path = write_video(tmp_path / "v.mp4", range(3), size=size)
    clip = store_clip(path, DecodeConfig(fps=10, short_side=short_side))
    assert clip.size == stored
    assert pixels_of(clip.frames[0]).shape == stored


@pytest.mark.parametrize(
    ("aspect", "stored"), [(Fraction(2), (48, 128)), (Fraction(1, 2), (72, 48)), (Fraction(16, 15), (48, 68))]
)
def test_pixels_become_square(tmp_path, aspect, stored):
    path = write_video(tmp_path / "v.mp4", range(3), aspect=aspect)
    clip = store_clip(path, TEN_FPS)
    assert clip.size == stored
    assert numbers(clip) == [0, 1, 2]


# What is wrong.


def test_a_file_that_is_no_video_is_refused(tmp_path):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("not a video, but long enough to be looked at. " * 50)
    assert reason(tmp_path / "gone.mp4") == "open: cannot open it: No such file or directory"
    assert reason(tmp_path / "empty.mp4") == "open: it is empty: zero bytes"
    assert reason(tmp_path / "text.mp4") == "open: cannot open it: it is no video, or its header or index is lost"
    assert reason(tmp_path) == "open: cannot open it: Is a directory"
    # FFmpeg has a parser for it.
    film = write_video(tmp_path / "film.swf", range(3), codec="mjpeg", tick=Fraction(1, 25))
    assert "or a video of a rare format" in reason(film)


def write_sound(path, *, cover):
    with av.open(str(path), "w") as container:
        sound = container.add_stream("aac", rate=16000)
        if cover:
            picture = container.add_stream("mjpeg", rate=1)
            picture.width, picture.height, picture.pix_fmt = 64, 48, "yuvj420p"
            picture.disposition = Disposition.attached_pic
            container.mux(picture.encode(av.VideoFrame.from_ndarray(counter(1))))
            container.mux(picture.encode(None))
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
        silence.sample_rate = 16000
        container.mux(sound.encode(silence))
        container.mux(sound.encode(None))
    return path


@pytest.mark.parametrize("cover", [False, True], ids=["no cover", "cover"])
def test_sound_alone_is_refused(tmp_path, cover):
    assert reason(write_sound(tmp_path / "sound.mp4", cover=cover)) == "open: it has no video stream"


def test_a_segment_past_the_end_is_refused(tmp_path):
    for name in ("v.mp4", "v.mkv", "v.ts"):
        path = write_video(tmp_path / name, range(10))
        ends = "its video ends at 1.00 s; start and end are seconds, not frames"
        assert reason(path, start=1.0) == f"segment: no frame between 1 s and its end: {ends}"
        assert reason(path, start=7.0, end=9.0) == f"segment: no frame between 7 s and 9 s: {ends}"


def test_a_segment_of_which_more_lies_beyond_the_end_than_publishers_round_is_refused(tmp_path):
    path = write_video(tmp_path / "v.mp4", range(7))
    assert reason(path, start=0.0, end=112.0) == (
        "segment: the last 111.30 s are missing between 0 s and 112 s: its video ends at 0.70 s; start and end are "
        "seconds, not frames; correct them, or raise ingest.max_missing = 0.1"
    )
    assert numbers(store_clip(path, DecodeConfig(fps=10, short_side=48, max_missing=1), end=112.0)) == [*range(7)]


def test_a_segment_whose_end_is_rounded_is_stored_as_far_as_its_video_goes(tmp_path):
    path = write_video(tmp_path / "v.mp4", range(190))
    assert numbers(store_clip(path, TEN_FPS, start=10.0, end=20.0)) == [*range(100, 190)]
    assert numbers(store_clip(path, TEN_FPS, start=18.5, end=19.5)) == [*range(185, 190)]
    # A tenth of the segment.
    assert numbers(store_clip(path, TEN_FPS, start=0.5, end=21.0)) == [*range(5, 190)]
    assert "the last 2.20 s are missing" in reason(path, start=0.5, end=21.2)
    dropped = DecodeConfig(fps=10, short_side=48, min_frames=100, short_clips="drop")
    with pytest.raises(VideoError, match="it is short: 90 frames"):
        store_clip(path, dropped, start=10.0, end=20.0)


def test_a_segment_before_the_beginning_is_refused(tmp_path):
    path = write_video(tmp_path / "v.mp4", range(10))
    assert reason(path, start=-0.5, end=0.5) == "segment: it starts at -0.5 s, before the video"


@pytest.mark.parametrize(
    ("name", "muxer"), [("v.mp4", {"movflags": "faststart"}), ("v.mkv", {})], ids=["index first", "matroska"]
)
def test_a_video_cut_off_is_refused_wherever_the_cut_is(tmp_path, name, muxer):
    """Half a download is not half as good a clip: what its label names may be in the other half."""
    path = write_video(tmp_path / name, range(100), muxer=muxer)
    whole = (tmp_path / name).read_bytes()
    for share in np.linspace(0.5, 0.85, 40):
        (tmp_path / name).write_bytes(whole[: int(share * len(whole))])
        said = reason(path)
        assert "cut off" in said or "it is no video" in said or "damaged" in said


def test_a_segment_before_the_cut_is_whole(tmp_path):
    path = write_video(tmp_path / "v.mkv", range(100))
    whole = (tmp_path / "v.mkv").read_bytes()
    (tmp_path / "v.mkv").write_bytes(whole[: len(whole) // 2])
    assert numbers(store_clip(path, TEN_FPS, start=1.0, end=1.3)) == [10, 11, 12]
    assert "cut off" in reason(path, start=1.0, end=8.0)


def test_a_picture_that_changes_its_shape_is_refused(tmp_path):
    """A transport stream may change its size midway, as two such files one after the other do."""
    write_video(tmp_path / "wide.ts", range(10), size=(48, 64))
    write_video(tmp_path / "tall.ts", range(10, 20), size=(64, 48))
    joined = join(tmp_path / "joined.ts", tmp_path / "wide.ts", tmp_path / "tall.ts")
    assert reason(joined) == "decode: its picture changes its shape midway, from 64x48 to 48x64"


def test_a_picture_that_outgrows_the_limit_midway_is_refused_with_the_setting(tmp_path):
    write_video(tmp_path / "small.ts", range(10), size=(48, 64))
    write_video(tmp_path / "large.ts", range(10, 20), size=(96, 128))
    grown = join(tmp_path / "grown.ts", tmp_path / "small.ts", tmp_path / "large.ts")
    with pytest.raises(VideoError, match="it: it is damaged, .*, or its frames are larger than ingest.max_pixels"):
        store_clip(grown, DecodeConfig(fps=10, short_side=48, max_pixels=64 * 48))


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("fps", 0, "0.1 and 1000"),
        ("short_side", 4, "8 and 4096"),
        ("jpeg_quality", 101, "1 and 100"),
        ("min_frames", 0, "1 and 30000"),
        ("max_frames", 0, "1 and 1000000"),
        ("max_pixels", 1, "64 and 268435456"),
        ("max_seconds", 0, "0.1 and 86400"),
        ("max_missing", 1.1, "0 and 1"),
        ("max_upscale", 0.5, "1 and 512"),
        ("max_clip_mb", 2001, "1 and 2000"),
        ("max_memory_mb", 0, "128 and 16777216"),
    ],
)
def test_a_setting_out_of_range_is_refused(field, value, allowed):
    with pytest.raises(ValueError, match=f"ingest.{field} is {value}; it must be between {allowed}"):
        DecodeConfig(**{field: value})


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"max_frames": 9}, "segment: it has more frames than ingest.max_frames = 9; give its start and end"),
        ({"max_pixels": 3000}, "open: its frames are 64x48 pixels, more than ingest.max_pixels = 3000"),
        ({"max_bytes": 100}, "more than ingest.max_bytes = 100"),
        ({"short_side": 96, "max_upscale": 1.9}, "pixels with ingest.short_side = 96 they would be enlarged 2 times"),
        (
            {"min_frames": 11, "short_clips": "drop"},
            "segment: it is short: 10 frames, fewer than ingest.min_frames = 11",
        ),
    ],
)
def test_a_video_over_a_limit_is_refused_with_the_setting(tmp_path, limits, said):
    path = write_video(tmp_path / "v.mp4", range(10))
    with pytest.raises(VideoError) as caught:
        store_clip(path, DecodeConfig(**{"fps": 10, "short_side": 48, **limits}))
    assert said in f"{caught.value.stage}: {caught.value.reason}"


def test_a_clip_of_more_bytes_than_an_example_holds_is_refused_with_the_settings_that_make_it_smaller(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (4, 240, 320, 3), dtype=np.uint8)
    path = write_video(tmp_path / "v.mkv", range(4), frames=noise, size=(240, 320), codec="mjpeg")
    whole = DecodeConfig(fps=10, short_side=1400)
    size = sum(map(len, store_clip(path, whole).frames))
    assert size > 3_000_000
    for config in (
        dataclasses.replace(whole, max_clip_mb=1),
        # Its frames are few, but each is repeated.
        dataclasses.replace(whole, max_clip_mb=size // 1_000_000 + 1, min_frames=8, short_clips="hold"),
    ):
        with pytest.raises(VideoError) as caught:
            store_clip(path, config)
        assert caught.value.stage == "segment"
        assert caught.value.reason == (
            f"its frames take more than ingest.max_clip_mb = {config.max_clip_mb} megabytes; give it a start and an "
            "end, or lower ingest.fps, ingest.short_side or ingest.jpeg_quality"
        )


@pytest.mark.parametrize("share", [0.6, 0.65, 0.7, 0.75, 0.8, 0.85])
def test_half_a_gif_is_refused_whatever_its_pictures_hold(tmp_path, share):
    frames = np.random.default_rng(0).integers(0, 256, (4, 150, 200, 3), dtype=np.uint8)
    path = write_video(tmp_path / "v.gif", range(4), frames=frames, size=(150, 200), codec="gif")
    os.truncate(path, int(share * os.path.getsize(path)))
    with pytest.raises(VideoError):
        store_clip(path, TEN_FPS)
