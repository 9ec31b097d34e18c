"""The parts of a stream: together they are the whole clip, and what is wrong with a video ends them where it is."""

import dataclasses
import itertools
import os

import av
import numpy as np
import pytest

from components.media.config import DecodeConfig
from components.media.decoder import Decoder, LostDecoderError
from components.media.frames import Video
from components.media.video import VideoError, store_clip, store_stream
from tests.components.media.forms import form, write_form
from tests.components.media.videos import numbers, write_video

TEN_FPS = DecodeConfig(fps=10, short_side=48)


def stored(path, frames, config=TEN_FPS):
    """The parts, and the error that ends them or None."""
    parts = []
    try:
        for part in store_stream(path, frames, config):
            parts.append(part)
    except VideoError as error:
        return parts, error
    return parts, None


@pytest.mark.parametrize("number", range(12))
def test_the_parts_of_any_form_are_the_whole_clip(tmp_path, number):
    path, config = write_form(tmp_path, number), DecodeConfig(fps=(50, 30000 / 1001, 7.5)[number % 3], short_side=48)
    try:
        whole = store_clip(path, config)
    except VideoError as error:
        assert stored(path, 7, config)[1].reason == error.reason, form(number)
        return
    parts, error = stored(path, 7, config)
    assert error is None
    assert tuple(itertools.chain(*(part.frames for part in parts))) == whole.frames
    assert {len(part.frames) for part in parts[:-1]} <= {7}
    assert 1 <= len(parts[-1].frames) <= 7
    assert [part.start for part in parts] == pytest.approx([7 * n / part.fps for n, part in enumerate(parts)])


def test_a_picture_that_stays_for_hours_ends_the_video(tmp_path):
    path = str(tmp_path / "clock.mkv")
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height = 64, 48
        for number in range(20):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 10 * number, np.uint8))
            # Behind the tenth, the clock is set by seven hours.
            frame.pts = number + (number >= 10) * 7 * 3600 * 25
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    parts, error = stored(path, 2)
    assert [len(part.frames) for part in parts] == [2, 2]
    assert error.stage == "decode" and error.reason == "its picture at 0.36 s stays for 7 hours"


def test_only_the_frames_that_are_wanted_are_stored_behind_the_first_part(tmp_path):
    path = write_video(tmp_path / "v.mp4", range(60))
    whole = store_clip(path, TEN_FPS).frames
    with Decoder(TEN_FPS) as decoder:
        parts = list(decoder.store_stream(path, 5, every=3))
    found = list(itertools.chain(*(part.frames for part in parts)))
    assert found == [frame if place < 5 or place % 3 == 0 else b"" for place, frame in enumerate(whole)]


def test_a_rule_for_short_clips_concerns_no_part(tmp_path):
    path = write_video(tmp_path / "v.mp4", range(25))
    config = dataclasses.replace(TEN_FPS, min_frames=20, short_clips="hold")
    assert [len(part.frames) for part in stored(path, 10, config)[0]] == [10, 10, 5]


def test_a_part_may_be_as_long_as_a_clip_and_the_video_longer(tmp_path):
    path = write_video(tmp_path / "v.mp4", range(25))
    parts, error = stored(path, 10, dataclasses.replace(TEN_FPS, max_frames=10))
    assert (len(parts), error) == (3, None)


def test_damage_ends_the_parts_behind_those_before_it(tmp_path):
    path = write_video(tmp_path / "v.mp4", range(60))
    content = bytearray((tmp_path / "v.mp4").read_bytes())
    media = content.index(b"mdat")
    middle = media + int.from_bytes(content[media - 4 : media], "big") * 2 // 3
    content[middle : middle + 100] = bytes(100)
    (tmp_path / "v.mp4").write_bytes(content)
    parts, error = stored(path, 5)
    assert "damaged" in error.reason
    assert parts
    assert numbers(parts[0]) == [0, 1, 2, 3, 4]


def test_of_a_video_that_is_cut_off_all_that_is_there_is_stored(tmp_path):
    path = write_video(tmp_path / "v.mkv", range(60), codec="mjpeg")
    content = (tmp_path / "v.mkv").read_bytes()
    (tmp_path / "v.mkv").write_bytes(content[: len(content) // 2])
    parts, error = stored(path, 10)
    assert "cut off" in error.reason or "damaged" in error.reason
    assert len(list(itertools.chain(*map(numbers, parts)))) >= 20


def test_a_picture_that_changes_its_shape_between_two_parts_ends_them(tmp_path):
    write_video(tmp_path / "a.ts", range(12), size=(48, 64))
    write_video(tmp_path / "b.ts", range(12), size=(64, 48))
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join((tmp_path / name).read_bytes() for name in ("a.ts", "b.ts")))
    parts, error = stored(str(joined), 4)
    assert "changes its shape midway" in error.reason
    assert len(parts) == 3


def test_the_child_process_gives_the_same_parts_and_serves_the_next_video(tmp_path):
    path = write_video(tmp_path / "v.mp4", range(33))
    with Decoder(TEN_FPS) as decoder:
        assert list(decoder.store_stream(path, 10)) == stored(path, 10)[0]
        ((_, clip),) = decoder.store_segments(path, [(0.0, None)])
        assert clip == store_clip(path, TEN_FPS)
        # One that is left in the middle leaves nothing of itself to the next.
        next(decoder.store_stream(path, 2))
        assert [len(part.frames) for part in decoder.store_stream(path, 20)] == [20, 13]


def test_a_stream_that_hangs_its_decoder_ends_with_an_error(tmp_path):
    os.mkfifo(tmp_path / "hangs.mp4")
    with Decoder(dataclasses.replace(TEN_FPS, max_seconds=1)) as decoder, pytest.raises(LostDecoderError, match="took"):
        list(decoder.store_stream(str(tmp_path / "hangs.mp4"), 10))


def test_each_frame_is_decoded_once(tmp_path, monkeypatch):
    decoded, frames = [], Video.frames
    monkeypatch.setattr(Video, "frames", lambda *given: (decoded.append(one.time) or one for one in frames(*given)))
    stored(write_video(tmp_path / "v.mp4", range(33)), 5)
    assert decoded == sorted(set(decoded))
    assert len(decoded) == 33
