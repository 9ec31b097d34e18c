"""The demo's data set: real H.264 videos of handwritten digits in motion, written in seconds.

Every clip shows one handwritten digit (scikit-learn's copy of the UCI "Optical Recognition of Handwritten Digits") over
a still background, and has two labels: the *verb* is how the digit moves, the *noun* is which digit it is. Like found
video, the clips differ in frame rate, length, size and orientation.

Naming the verb takes time. The pose at mid-clip (position, size and angle) is drawn from one distribution, whatever the
verb, and the digit moves through it at constant speed: a middle frame says nothing about the verb.
"""

from __future__ import annotations

import csv
import itertools
import json
import logging
import math
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

logger = logging.getLogger("vivit.demo")

# Increase it with every change of the written data, so that older copies are replaced.
VERSION = 1

# A pose is (x, y, size, angle). x (right) and y (down) go from the centre of the frame to that of the digit, in short
# sides of the frame; the size is the log2 of short sides; the angle is in degrees, clockwise. A verb is a change of
# pose per second.
VERBS = {
    "left": (-0.18, 0, 0, 0),
    "right": (0.18, 0, 0, 0),
    "up": (0, -0.18, 0, 0),
    "down": (0, 0.18, 0, 0),
    "clockwise": (0, 0, 0, 60),
    "anticlockwise": (0, 0, 0, -60),
    "growing": (0, 0, 0.45, 0),
    "shrinking": (0, 0, -0.45, 0),
}
NOUNS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

# The pose at mid-clip, and the factor on the verb's speed, are uniform in centre +- spread.
MID_POSE, MID_POSE_SPREAD = np.array([0, 0, -0.75, 0]), np.array([0.03, 0.03, 0.1, 5])
SPEED_SPREAD = 0.15

FRAME_RATES = tuple(map(Fraction, ("10", "12.5", "15", "25", "30")))
SECONDS = (1.6, 3.0)
SHORT_SIDES = (48, 52, 56, 60, 64)
SHAPES = ("landscape", "portrait", "square")
BACKGROUNDS = ("plain", "gradient", "stripes", "clouds")

# One digit image out of this many is kept for the eval split.
EVAL_SHARE = 8


@dataclass(frozen=True)
class Clip:
    """What is drawn in one clip, and how."""

    id: str
    split: str
    verb: str
    noun: str
    digit: int  # Index of the digit image in `load_digits`.
    background: str
    shape: str
    size: tuple[int, int]  # (width, height) in pixels, even, as 4:2:0 chroma requires.
    fps: Fraction
    num_frames: int
    seed: tuple[int, ...]  # Seed of the pose, the speed and the colours.

    @property
    def path(self) -> str:
        """Path of the video, relative to the manifest."""
        return f"videos/{self.id}.mp4"

    def row(self) -> dict[str, str]:
        """The clip's row of the manifest."""
        return {
            "path": self.path,
            "label/verb": self.verb,
            "label/noun": self.noun,
            "split": self.split,
            "group": f"digit-{self.digit:04d}",
            "id": self.id,
            "background": self.background,
            "fps": f"{float(self.fps):g}",
            "shape": self.shape,
        }


def write_demo_data(directory: str | Path, *, train: int = 1600, eval: int = 240, seed: int = 0) -> Path:
    """Writes the videos and their manifest, unless the same call has done so before.

    The labels are balanced: the first 8 clips of a split have all the verbs, the first 80 each verb with each noun. The
    same arguments give the same bytes (by the same build of x264).

    Args:
      directory: Where to write; made where it is missing. Overwrites a data set of other arguments.
      train: Number of clips in the train split.
      eval: Number of clips in the eval split.
      seed: Seed of all that is drawn.

    Returns:
      Path of ``manifest.csv``: ``path`` (relative to it), ``label/verb``, ``label/noun``, ``split``, ``group`` (the
      digit image; none is in both splits), ``id``, and the slices ``background``, ``fps`` and ``shape``.

    Raises:
      ValueError: If a split would have no clips.
    """
    if min(train, eval) < 1:
        raise ValueError(f"train and eval must be 1 clip or more; got {train} and {eval}")
    from sklearn.datasets import load_digits  # Saves the writing processes half a second.

    digits = load_digits()
    clips = plan_split("train", train, digits.target, seed=seed) + plan_split("eval", eval, digits.target, seed=seed)
    directory = Path(directory)
    manifest, stamp = directory / "manifest.csv", directory / "demo_data.json"
    arguments = json.dumps({"version": VERSION, "train": train, "eval": eval, "seed": seed})
    paths = [directory / clip.path for clip in clips]
    if all(path.is_file() for path in (stamp, manifest, *paths)) and stamp.read_text() == arguments:
        logger.info("%s is up to date", manifest)
        return manifest

    logger.info("Writing %d train and %d eval clips to %s", train, eval, directory)
    stamp.unlink(missing_ok=True)
    (directory / "videos").mkdir(parents=True, exist_ok=True)
    # Spawned, since a process in which TensorFlow's threads run is not safe to fork.
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        images = [digits.images[clip.digit] for clip in clips]
        for written, _ in enumerate(pool.map(write_video, paths, clips, images, chunksize=20), start=1):
            if written % 400 == 0:
                logger.info("%d of %d clips", written, len(clips))

    with manifest.open("w", newline="") as file:
        writer = csv.DictWriter(file, clips[0].row())
        writer.writeheader()
        writer.writerows(clip.row() for clip in clips)
    stamp.write_text(arguments)
    return manifest


def plan_split(split: str, count: int, targets: np.ndarray, *, seed: int) -> list[Clip]:
    """Draws the `count` clips of the split "train" or "eval" from the digit images of classes `targets` ([N], 0-9)."""
    rng = np.random.default_rng(seed)
    next_image = []
    for noun in range(len(NOUNS)):
        images = rng.permutation(np.flatnonzero(targets == noun)).tolist()
        held_out = len(images) // EVAL_SHARE
        next_image.append(itertools.cycle(images[:held_out] if split == "eval" else images[held_out:]))

    clips = []
    for number in range(count):
        # Every 8 clips the nouns move on by one verb: 80 clips have all the pairs.
        turn, verb = divmod(number, len(VERBS))
        noun = (turn + verb) % len(NOUNS)
        clip_seed = (seed, split == "eval", number)
        rng = np.random.default_rng(clip_seed)
        fps = FRAME_RATES[rng.integers(len(FRAME_RATES))]
        shape = SHAPES[rng.integers(len(SHAPES))]
        short = int(rng.choice(SHORT_SIDES))
        long = round(short * 5 / 8) * 2
        clips.append(
            Clip(
                id=f"{split}-{number:05d}",
                split=split,
                verb=list(VERBS)[verb],
                noun=NOUNS[noun],
                digit=next(next_image[noun]),
                background=BACKGROUNDS[rng.integers(len(BACKGROUNDS))],
                shape=shape,
                size={"landscape": (long, short), "portrait": (short, long), "square": (short, short)}[shape],
                fps=fps,
                num_frames=math.ceil(rng.uniform(*SECONDS) * fps),
                seed=clip_seed,
            )
        )
    return clips


def write_video(path: Path, clip: Clip, image: np.ndarray) -> None:
    """Writes the clip of a digit image ([8, 8], 0-16) as H.264 in MP4."""
    with av.open(str(path), "w", format="mp4") as container:
        # One thread, for one result on every machine.
        options = {"preset": "superfast", "crf": "18", "threads": "1"}
        stream = container.add_stream("libx264", rate=clip.fps, options=options)
        stream.width, stream.height = clip.size
        stream.pix_fmt = "yuv420p"
        for frame in draw_frames(clip, image):
            container.mux(stream.encode(av.VideoFrame.from_image(frame)))
        container.mux(stream.encode(None))


def draw_frames(clip: Clip, image: np.ndarray) -> Iterator[Image.Image]:
    """Draws the RGB frames of the clip of a digit image ([8, 8], 0-16): light ink on a darker background."""
    rng = np.random.default_rng((*clip.seed, 1))
    background = draw_background(clip.background, clip.size, rng)
    ink = Image.new("RGB", clip.size, tuple(rng.integers(200, 256, 3)))
    middle = MID_POSE + MID_POSE_SPREAD * rng.uniform(-1, 1, 4)
    speed = np.array(VERBS[clip.verb]) * (1 + SPEED_SPREAD * rng.uniform(-1, 1))
    for frame in range(clip.num_frames):
        seconds = (frame - clip.num_frames // 2) / float(clip.fps)
        mask = draw_digit(image, clip.size, middle + speed * seconds)
        yield Image.composite(ink, background, mask)


def draw_digit(image: np.ndarray, size: tuple[int, int], pose: np.ndarray) -> Image.Image:
    """Draws a digit image ([8, 8], 0-16) in a pose, as a grey picture of (width, height): 255 is ink."""
    x, y, log_size, angle = pose
    width, height = size
    short = min(size)
    # Pillow requires the inverse map, from the pixels of the frame to those of the digit image.
    scale = image.shape[0] / (short * 2**log_size)
    cos, sin = scale * math.cos(math.radians(angle)), scale * math.sin(math.radians(angle))
    centre_x, centre_y = width / 2 + x * short, height / 2 + y * short
    margin = 2  # Bicubic interpolation reads beyond the digit image.
    digit = Image.fromarray(np.pad(image * (255 / 16), margin).astype(np.uint8))
    middle = digit.width / 2
    matrix = (
        *(cos, sin, middle - cos * centre_x - sin * centre_y),
        *(-sin, cos, middle + sin * centre_x - cos * centre_y),
    )
    return digit.transform(size, Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)


def draw_background(kind: str, size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Draws one of BACKGROUNDS as an RGB picture of (width, height): a blend of two colours, all of 0-110."""
    width, height = size
    y, x = np.mgrid[:height, :width] / min(size)
    angle, cycles = rng.uniform(0, 2 * math.pi), rng.uniform(2, 4)
    along = x * math.cos(angle) + y * math.sin(angle)
    if kind == "plain":
        blend = np.zeros_like(along)
    elif kind == "gradient":
        blend = (along - along.min()) / np.ptp(along)
    elif kind == "stripes":
        blend = 0.5 + 0.5 * np.sin(2 * math.pi * cycles * along)
    else:
        coarse = Image.fromarray(rng.uniform(0, 1, (5, 5)).astype(np.float32))
        blend = np.clip(coarse.resize(size, Image.Resampling.BICUBIC), 0, 1)
    dark, light = rng.integers(0, 60, 3), rng.integers(30, 110, 3)
    return Image.fromarray((dark + blend[..., None] * (light - dark)).astype(np.uint8))
