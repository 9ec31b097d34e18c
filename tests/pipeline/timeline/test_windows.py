"""Windows: to the last bit what `views` makes of their frames, over the whole video, each frame decoded once."""

import collections
import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from components.media.decoder import Decoder
from models.clips import images
from models.clips.sampling import CENTRE_VIEW, ClipConfig
from pipeline.inference.model import open_model
from pipeline.timeline import windows as module
from pipeline.timeline.scores import score_windows
from pipeline.timeline.windows import WindowConfig, WindowError, window_config, windows
from schemas import serving
from tests.videos import write_video


def jpegs(count):
    """Frames of noise: each pixel of a window tells where it comes from."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(count):
        file = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (24, 30, 3), np.uint8)).save(file, "JPEG")
        found.append(file.getvalue())
    return found


def parts_of(frames, size):
    return [frames[begin : begin + size] for begin in range(0, len(frames), size)]


CLIPS = {
    "resized": ClipConfig(num_frames=4, stride=2, min_resize=20, crop_size=16),
    "as it is": ClipConfig(num_frames=4, stride=1, min_resize=24, crop_size=24),
    "segments": ClipConfig(num_frames=3, stride=1, min_resize=20, crop_size=16, sampling="segments"),
}


@pytest.mark.parametrize(
    ("kind", "length", "hop", "part", "every"),
    [
        ("resized", 8, 4, 10, 2),
        ("resized", 8, 3, 1, 1),
        ("as it is", 4, 2, 50, 1),
        ("segments", 9, 4, 10, 1),
    ],
)
def test_windows_are_the_centre_views_of_their_frames(kind, length, hop, part, every):
    frames, clip = jpegs(31), CLIPS[kind]
    config = WindowConfig(clip, 10, length, hop)
    found = list(windows(parts_of(frames, part), config))
    regular, last = list(range(0, 31 - length + 1, hop)), (31 - length) // every * every
    assert [one.start for one in found] == regular + [last] * (last > regular[-1])
    assert config.every == every
    for one in found:
        (view,) = images.make_views(tf.constant(frames[one.start : one.start + length]), clip, CENTRE_VIEW)
        np.testing.assert_array_equal(one.clip, view)


def test_a_video_shorter_than_a_window_is_one_that_repeats_it():
    frames = jpegs(5)
    (found,) = windows(parts_of(frames, 2), WindowConfig(CLIPS["resized"], 10, 8, 4))
    (view,) = images.make_views(tf.constant(frames), CLIPS["resized"], CENTRE_VIEW)
    np.testing.assert_array_equal(found.clip, view)
    assert found.start == 0
    assert not list(windows([], WindowConfig(CLIPS["resized"], 10, 8, 4)))


@pytest.mark.parametrize(("hop", "decoded"), [(4, 20), (3, 36)])
def test_a_frame_is_decoded_once_and_only_if_a_window_shows_it(monkeypatch, hop, decoded):
    seen = collections.Counter()
    make = module._decoder

    def counting(clip):
        decode = make(clip)

        def counted(frames):
            seen.update(frames.numpy().tolist())
            return decode(frames)

        return counted

    monkeypatch.setattr(module, "_decoder", counting)
    # With a stride of 2, windows 4 frames apart share frames, and show every other one.
    assert list(windows(parts_of(jpegs(40), 7), WindowConfig(CLIPS["resized"], 10, 8, hop)))
    assert set(seen.values()) == {1}
    assert len(seen) == pytest.approx(decoded, abs=3)


def test_the_logits_of_a_window_are_those_of_the_same_part_of_the_video(colour_model, tmp_path):
    """The reference is what `vivit predict --start --end` does, of the centre view alone."""
    video = str(write_video(tmp_path / "v.mp4", np.random.default_rng(0).integers(0, 256, (47, 48, 64, 3), np.uint8)))
    model = open_model(colour_model)
    config = window_config(model.card)
    assert (config.frames, config.hop) == (8, 4)
    with Decoder(model.decode_config) as decoder:
        parts = decoder.store_stream(video, 10, config.every)
        scored = list(score_windows(model, (part.frames for part in parts), config))
        segments = [(one.start / config.fps, (one.start + config.frames) / config.fps) for one in scored]
        stored = dict(decoder.store_segments(video, segments))
    assert [one.start for one in scored] == [*range(0, 40, 4), 38]
    for place, one in enumerate(scored):
        example = serving_example(stored[place].frames)
        clips = model.signatures[serving.VIEWS_SIGNATURE](examples=tf.constant([example]))[serving.CLIPS]
        expected = model.signatures[serving.NETWORK_SIGNATURE](clips=clips[0, -1:])
        for head in model.card.classes:
            np.testing.assert_allclose(one.logits[head], expected[serving.logits_key(head)][0], atol=1e-5)


def serving_example(frames):
    from schemas import features

    feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=frames))
    return tf.train.Example(features=tf.train.Features(feature={features.CLIP_FRAMES: feature})).SerializeToString()


def card(**clip):
    return serving.ModelCard({"label": ["a"]}, (1, 1), ingest={"fps": 25.0}, config={"clip": clip} if clip else {})


def test_the_window_is_that_of_the_training_or_as_asked_for():
    assert window_config(card(num_frames=32, stride=2)).frames == 64
    asked = window_config(card(num_frames=32, stride=2), window=1.0, hop=0.1)
    assert (asked.frames, asked.hop, asked.seconds, asked.hop_seconds) == (25, 2, 1.0, 0.08)
    assert window_config(card(num_frames=8, sampling="segments"), window=4.0).frames == 100


@pytest.mark.parametrize(
    ("clip", "asked", "error"),
    [
        ({"num_frames": 8, "sampling": "segments"}, {}, "give --window"),
        ({}, {}, "states no clip"),
        ({"num_frames": 8}, {"hop": 5.0}, "--hop 5 s with --window 0.64 s"),
        ({"num_frames": 8}, {"window": 0.01}, "a hop is a frame or more"),
        ({"num_frames": 8}, {"hop": 0.0}, "a hop is a frame or more"),
    ],
)
def test_windows_that_cannot_be_are_refused(clip, asked, error):
    with pytest.raises(WindowError, match=error):
        window_config(card(**clip), **asked)
