"""Near duplicates: another size, another encoder or a cut is found; another clip of the same things is not."""

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw

from components.evaluation.duplicates.hashes import FLAT, FRAMES, clip_hash, near_duplicates


def clip(seed, *, scale=1.0, quality=90, start=0):
    """Twenty frames of coloured shapes that move."""
    rng = np.random.default_rng(seed)
    shapes = rng.integers(10, 150, (6, 4)), rng.integers(-3, 4, (6, 2)), rng.integers(0, 255, (6, 3))
    frames = []
    for time in range(start, 20):
        image = Image.new("RGB", (192, 144), "grey")
        draw = ImageDraw.Draw(image)
        for (x, y, width, height), (right, down), colour in zip(*shapes, strict=True):
            left, top = int(x + right * time), int(y + down * time)
            draw.rectangle((left, top, left + int(width) // 2, top + int(height) // 2), fill=tuple(map(int, colour)))
        image = image.resize((int(192 * scale), int(144 * scale)))
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality)
        frames.append(buffer.getvalue())
    return frames


CLIPS = np.array([clip_hash(clip(seed)) for seed in range(40)])


@pytest.mark.parametrize("change", [{"quality": 40}, {"scale": 0.5}, {"scale": 2.0}, {"start": 1}], ids=str)
def test_the_same_clip_is_found(change):
    changed = np.array([clip_hash(clip(seed, **change)) for seed in range(40)])
    assert (near_duplicates(changed, CLIPS) == np.arange(40)).mean() >= 0.9


def test_other_clips_are_not():
    others = np.array([clip_hash(clip(seed)) for seed in range(100, 140)])
    assert (near_duplicates(others, CLIPS) == -1).all()


def fixed_camera(seed, side):
    """Twenty frames of one scene, in which a square goes its own way."""
    rng = np.random.default_rng(seed)
    x, y, right, down = rng.uniform(20, 160), rng.uniform(20, 100), *rng.uniform(-6, 6, 2)
    scene = np.random.default_rng(0).integers(60, 200, (8, 12, 3), np.uint8)
    frames = []
    for _ in range(20):
        x, y = x + right, y + down
        right, down = (-right if not 10 < x < 180 else right), (-down if not 10 < y < 120 else down)
        image = Image.fromarray(scene).resize((192, 128), Image.Resampling.BICUBIC)
        ImageDraw.Draw(image).rectangle((x, y, x + side, y + side), fill="white")
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=90)
        frames.append(buffer.getvalue())
    return frames


@pytest.mark.parametrize("side", [14, 24])
def test_clips_of_one_fixed_camera_are_not(side):
    clips, others = (np.array([clip_hash(fixed_camera(s, side)) for s in range(f, f + 30)]) for f in (0, 100))
    assert (near_duplicates(others, clips) >= 0).mean() <= 0.1
    assert (near_duplicates(clips, clips) == np.arange(30)).all()


def test_black_clips_are_no_duplicates_of_each_other():
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48)).save(buffer, "JPEG")
    black = np.array([clip_hash([buffer.getvalue()] * 8)])
    assert (black == FLAT).all()
    assert near_duplicates(black, black).tolist() == [-1]


def test_what_cannot_be_read_has_no_hash():
    assert (clip_hash([b"no picture"] * 3) == FLAT).all()


def test_none_is_found_among_none():
    nothing = np.zeros((0, 1 + FRAMES), np.uint64)
    assert near_duplicates(CLIPS, nothing).tolist() == [-1] * 40
    assert len(near_duplicates(nothing, CLIPS)) == 0
