"""Measures `vivit timeline` on a long generated video: memory, cost, and whether it finds what was planted.

The video shows the motions of the demo between stretches of still background. A part of it is drawn and encoded; the
whole repeats that part without encoding it again.
"""

from __future__ import annotations

import csv
import dataclasses
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import psutil
from PIL import Image

from benchmarks.long_videos.making import decode, repeat_video
from pipeline.demo_data import BACKGROUNDS, NOUNS, VERBS, Clip, draw_background, draw_frames

# The defaults of segments were chosen with the seeds 2, 3, 6, 7 and 8.
_FPS, _SIZE, _SEED = 25, (640, 360), 9
# Seconds that are drawn, of a motion, and of nothing between two. In longer ones the digit leaves the picture.
_DRAWN_SECONDS, _MOTION_SECONDS, _NOTHING_SECONDS = 600, (2.4, 4.0), (3.0, 10.0)
# Standard deviation of the sensor's noise, in grey levels, and how many pictures of it there are; with this quality the
# video has about 1 Mbit/s. Without noise, nothing moves, and to decode it is to copy.
_NOISE, _NOISES, _QUALITY = 5.5, 25, "26"
_LOOK_SECONDS = 0.2


class Cost(NamedTuple):
    """Seconds that passed, and seconds of work on all cores: the second depends less on what else runs."""

    seconds: float
    cpu_seconds: float


@dataclasses.dataclass(frozen=True)
class TimelineCosts:
    """What was measured.

    Attributes:
      hours: Length of the video, 640x360 at 25 frames per second.
      windows: Windows that were scored.
      command: `vivit timeline`, start and outputs included, all its processes.
      decode: One bare decode of the video on one thread.
      network: The network's passes over as many windows, in the same batches, and nothing else.
      memory: Most resident bytes of each of its processes, added up.
      precision: mAP at tIoU 0.5, and the mean of 0.5:0.05:0.95.
      segments: That were planted.
    """

    hours: float
    windows: int
    command: Cost
    decode: Cost
    network: Cost
    memory: int
    precision: tuple[float, float]
    segments: int

    @property
    def ratio(self) -> Cost:
        """The command's cost as a share of decode and network together."""
        bare = [sum(pair) for pair in zip(self.decode, self.network, strict=True)]
        return Cost(self.command.seconds / bare[0], self.command.cpu_seconds / bare[1])


def bench_timeline(model: str, *, hours: float = 3.0, hop: float = 0.4) -> TimelineCosts:
    """Runs `vivit timeline` on a generated video.

    Args:
      model: The demo's model.
      hours: Length of the video.
      hop: Of the command, seconds: a quarter of a window of the demo, of which a motion lasts two.
    """
    with tempfile.TemporaryDirectory() as folder:
        video, manifest, segments = write_planted_video(Path(folder), hours)
        output = os.path.join(folder, "output")
        command = [sys.executable, "-m", "pipeline.cli", "timeline", video, "--model", model, "--output", output]
        memory, command_cost = _watch([*command, "--truth", manifest, "--hop", str(hop)])
        with open(os.path.join(output, "scores.json"), encoding="utf-8") as file:
            scores = json.load(file)["verb"]
        with open(os.path.join(output, os.path.basename(video) + ".json"), encoding="utf-8") as file:
            windows = len(json.load(file)["windows"])
        decode_cost = _timed(lambda: decode(video))
    return TimelineCosts(
        hours=hours,
        windows=windows,
        command=command_cost,
        decode=decode_cost,
        network=_network_cost(model, windows),
        memory=memory,
        precision=(scores["mean_average_precision"]["0.5"], scores["average"]),
        segments=segments,
    )


def describe(costs: TimelineCosts) -> str:
    """What was measured, for the terminal."""
    at_half, average = costs.precision
    return (
        f"{costs.hours:g} h, {costs.windows} windows: {_words(costs.command)}; a bare decode {_words(costs.decode)}, "
        f"the network alone {_words(costs.network)}: {costs.ratio.seconds:.2f} ({costs.ratio.cpu_seconds:.2f} of CPU)\n"
        f"memory {costs.memory / 1e9:.2f} GB, all processes\n"
        f"{costs.segments} planted segments: mAP@0.5 {at_half:.3f}, mean of 0.5:0.05:0.95 {average:.3f}"
    )


def _words(cost: Cost) -> str:
    return f"{cost.seconds:.0f} s ({cost.cpu_seconds:.0f} s of CPU)"


def write_planted_video(folder: Path, hours: float) -> tuple[str, str, int]:
    """Writes a video and the manifest of what it shows; returns their paths and the number of segments."""
    seconds = round(3600 * hours)
    drawn = min(seconds, _DRAWN_SECONDS)
    frames, planted = _plan(drawn)
    part = folder / "part.mp4"
    with av.open(str(part), "w") as container:
        stream = container.add_stream("libx264", rate=_FPS, options={"preset": "superfast", "crf": _QUALITY})
        (stream.width, stream.height), stream.pix_fmt = _SIZE, "yuv420p"
        rng = np.random.default_rng(_SEED)
        noises = [rng.normal(0, _NOISE, (*_SIZE[::-1], 3)).astype(np.int16) for _ in range(_NOISES)]
        for frame, noise in zip(frames, itertools.cycle(noises), strict=False):
            noisy = np.clip(np.asarray(frame, np.int16) + noise, 0, 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(noisy, format="rgb24")))
        container.mux(stream.encode(None))
    video, manifest = folder / "planted.mp4", folder / "planted.csv"
    repeats = max(1, seconds // drawn)
    repeat_video(str(part), str(video), times=repeats, seconds=drawn)
    with manifest.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "label/verb", "start", "end"))
        for shift in range(0, repeats * drawn, drawn):
            writer.writerows((video.name, verb, start + shift, end + shift) for verb, start, end in planted)
    return str(video), str(manifest), repeats * len(planted)


def _plan(seconds: int) -> tuple[Iterator[Image.Image], list[tuple[str, float, float]]]:
    """The frames of so many seconds, and the motions in them: verb, start and end in seconds."""
    from sklearn.datasets import load_digits

    digits, rng = load_digits(), np.random.default_rng(_SEED)
    planted, clips, at, number = [], [], 0, 0
    while True:
        nothing = round(rng.uniform(*_NOTHING_SECONDS) * _FPS)
        motion = round(rng.uniform(*_MOTION_SECONDS) * _FPS)
        length = nothing + motion
        if at + length > seconds * _FPS:
            break
        verb, digit = list(VERBS)[number % len(VERBS)], int(rng.integers(len(digits.images)))
        seed, background = (_SEED, number), BACKGROUNDS[rng.integers(len(BACKGROUNDS))]
        noun = NOUNS[digits.target[digit]]
        clip = Clip("", "", verb, noun, digit, background, "landscape", _SIZE, Fraction(_FPS), motion, seed)
        clips.append((nothing, clip))
        planted.append((verb, (at + nothing) / _FPS, (at + length) / _FPS))
        at, number = at + length, number + 1
    rest = seconds * _FPS - at

    def frames() -> Iterator[Image.Image]:
        for nothing, clip in clips:
            yield from _still(clip.background, clip.seed, nothing)
            yield from draw_frames(clip, digits.images[clip.digit])
        yield from _still(BACKGROUNDS[0], (_SEED, number), rest)

    return frames(), planted


def _still(background: str, seed: tuple[int, ...], count: int) -> Iterator[Image.Image]:
    picture = draw_background(background, _SIZE, np.random.default_rng((*seed, 0)))
    for _ in range(count):
        yield picture


def _watch(command: list[str]) -> tuple[int, Cost]:
    """Runs a command; the most memory of each of its processes, added up, and its cost."""
    begin = time.perf_counter()
    process = psutil.Popen(command, stdout=subprocess.DEVNULL)
    peaks: dict[int, int] = {}
    cpu: dict[int, float] = {}
    while process.poll() is None:
        for one in [process, *process.children(recursive=True)]:
            try:
                times = one.cpu_times()
                peaks[one.pid], cpu[one.pid] = _peak(one.pid), times.user + times.system
            except (psutil.Error, OSError, ValueError):
                # It has just ended.
                continue
        time.sleep(_LOOK_SECONDS)
    if process.returncode:
        raise RuntimeError(f"vivit timeline ended with {process.returncode}")
    return sum(peaks.values()), Cost(time.perf_counter() - begin, sum(cpu.values()))


def _timed(work: Callable[[], object]) -> Cost:
    begin, worked = time.perf_counter(), time.process_time()
    work()
    return Cost(time.perf_counter() - begin, time.process_time() - worked)


def _peak(pid: int) -> int:
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        (line,) = (line for line in file if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def _network_cost(path: str, windows: int) -> Cost:
    import tensorflow as tf

    from components.evaluation.scoring import fitting_views
    from pipeline.inference.model import open_model
    from pipeline.timeline.windows import window_config
    from schemas import serving

    model = open_model(path)
    shape = (*window_config(model.card).clip.shape, 3)
    size = fitting_views(shape)
    clips = tf.zeros([size, *shape], tf.uint8)
    network = model.signatures[serving.NETWORK_SIGNATURE]
    network(**{serving.CLIPS: clips})
    return _timed(lambda: [network(**{serving.CLIPS: clips}) for _ in range(-(-windows // size))])
