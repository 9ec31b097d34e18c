"""Measures the speed and memory of ingest against the bare loop that it cannot beat: decode, resize, encode as JPEG.

Each runs in a process of its own, so that peak memory is measured apart, and they take turns, so that other load on
the machine affects all alike.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import multiprocessing
import os
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import av
import numpy as np
import psutil
from av.video.reformatter import VideoReformatter
from PIL import Image

from components.ingest.config import IngestConfig
from components.manifest.reader import Clip
from components.storage.cores import cores

FPS, SECONDS, SIZE = 25, 10, (256, 340)
# Number of distinct videos; the clips are copies of them.
_DISTINCT = 6
SPLIT = "train"


@dataclasses.dataclass(frozen=True)
class Measurement:
    """Result of one measured process.

    Attributes:
      videos_per_second: Median over the rounds.
      frames_per_second: The same in frames.
      share: Median over the rounds of its rate over the bare loop's.
      peak_rss_mib: Peak memory of the process and its children.
      memory_growth: Peak memory divided by peak memory after a tenth of the clips.
    """

    videos_per_second: float
    frames_per_second: float
    share: float
    peak_rss_mib: float
    memory_growth: float


def bench_ingest(config: IngestConfig, *, clips: int, workers: int, rounds: int = 3, seconds: int = SECONDS) -> dict:
    """Measures the bare loop in one process, and ingest with one worker and with `workers`.

    Args:
      config: How frames are stored.
      clips: Clips of a turn.
      workers: Beam workers, threads of one process that decode in parallel.
      rounds: Turns of each.
      seconds: Length of a clip; its picture is 340x256 at 25 frames per second.

    Returns:
      Values for JSON: `Measurement` by name ("bare", "1 worker", "2 workers"), and what was measured.
    """
    context = multiprocessing.get_context("spawn")
    names = {"bare": 0, "1 worker": 1} | ({f"{workers} workers": workers} if workers > 1 else {})
    with tempfile.TemporaryDirectory() as folder:
        videos = write_videos(Path(folder), clips, seconds)
        measured = {}
        for name, count in names.items():
            here, there = context.Pipe()
            process = context.Process(target=_work, args=(there, count, folder, config), daemon=True)
            process.start()
            measured[name] = (process, here)
        tenth = videos[: max(1, clips // 10)]
        first = {name: _turn(here, tenth)[1] for name, (_, here) in measured.items()}
        turns = {name: [] for name in names}
        for _ in range(rounds):
            for name, (_, here) in measured.items():
                turns[name].append(_turn(here, videos))
        for process, here in measured.values():
            here.send(None)
            process.join()
    rates = {name: [clips / elapsed for elapsed, _ in found] for name, found in turns.items()}
    results = {}
    for name, found in turns.items():
        rate, peak = statistics.median(rates[name]), found[-1][1]
        share = statistics.median(ours / bare for ours, bare in zip(rates[name], rates["bare"], strict=True))
        results[name] = dataclasses.asdict(Measurement(rate, rate * seconds * FPS, share, peak, peak / first[name]))
    return {
        "clips": clips,
        "rounds": rounds,
        "seconds": seconds,
        "size": list(SIZE),
        "fps": FPS,
        "cores": cores(),
        "ingest": dataclasses.asdict(config),
        "measured": results,
    }


def describe(result: Mapping) -> str:
    """A result of `bench_ingest` for the terminal."""
    height, width = result["size"]
    lines = [
        f"{result['clips']} clips of {result['seconds']} s {width}x{height}, {result['rounds']} times in turns, on "
        f"{result['cores']} cores; bare: decode, resize and JPEG-encode in one process"
    ]
    for name, one in result["measured"].items():
        lines.append(
            f"  {name:9}  {one['videos_per_second']:6.2f} videos/s  {one['frames_per_second']:7.0f} frames/s  "
            f"{one['share']:5.2f} of bare  {one['peak_rss_mib']:6.0f} MiB peak, {one['memory_growth']:.2f}x that of a "
            "tenth of the clips"
        )
    return "\n".join(lines)


def write_videos(folder: Path, count: int, seconds: int) -> list[str]:
    """Writes H.264 videos of moving pictures about as detailed as photographs; returns their paths."""
    from benchmarks.input import natural_noise

    rng = np.random.default_rng(0)
    paths = [folder / f"{number:05d}.mp4" for number in range(count)]
    for path in paths[:_DISTINCT]:
        picture = natural_noise(rng, SIZE)
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=FPS, options={"preset": "superfast"})
            stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
            for number in range(seconds * FPS):
                grain = rng.normal(0, 2, SIZE)[..., None]
                pixels = np.clip(np.roll(picture, 2 * number, axis=1) + grain, 0, 255).astype(np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels)))
            container.mux(stream.encode(None))
    for number, path in enumerate(paths[_DISTINCT:]):
        shutil.copyfile(paths[number % _DISTINCT], path)
    return [str(path) for path in paths]


def _turn(connection, videos: Sequence[str]) -> tuple[float, float]:
    """Seconds that a measured process takes for some videos, and its peak memory in MiB so far."""
    connection.send(videos)
    return connection.recv()


def _work(connection, workers: int, folder: str, config: IngestConfig) -> None:
    """A measured process: the bare loop where `workers` is 0, else ingest."""
    if workers:
        # Loaded before the first turn: it takes longer than a round.
        import components.ingest.example_gen  # noqa: F401
    memory = [resident_mib()]
    threading.Thread(target=_watch, args=(memory,), daemon=True).start()
    while (videos := connection.recv()) is not None:
        start = time.perf_counter()
        if workers:
            clips = [Clip(v, v, v, SPLIT, {"label": "any"}, {}, size=os.path.getsize(v)) for v in videos]
            ingest(clips, os.path.join(folder, f"{workers}-workers"), config, workers)
        else:
            for video in videos:
                bare_loop(video, config)
        connection.send((time.perf_counter() - start, max(memory)))


def _watch(memory: list[float]) -> None:
    while True:
        memory.append(resident_mib())
        time.sleep(0.2)


def resident_mib() -> float:
    """Memory of this process and of its children, in MiB."""
    own = psutil.Process()
    total = 0
    for process in (own, *own.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += process.memory_info().rss
    return total / 2**20


def bare_loop(video: str, config: IngestConfig) -> list[bytes]:
    """Every frame of a video as JPEG, its short side resized: what ingest does to a plain video."""
    frames, reformatter = [], VideoReformatter()
    with av.open(video) as container:
        container.streams.video[0].codec_context.thread_count = 1
        for frame in container.decode(video=0):
            scale = config.short_side / min(frame.width, frame.height)
            width, height = round(frame.width * scale), round(frame.height * scale)
            # One thread: more of them make small pictures slower.
            resized = reformatter.reformat(frame, width=width, height=height, format="rgb24", threads=1)
            buffer = io.BytesIO()
            Image.fromarray(np.ascontiguousarray(resized.to_ndarray())).save(
                buffer, "JPEG", quality=config.jpeg_quality
            )
            frames.append(buffer.getvalue())
    return frames


def ingest(clips: Sequence[Clip], folder: str, config: IngestConfig, workers: int) -> None:
    """Runs VideoExampleGen's own executor on clips of the split `SPLIT`, into a folder that is emptied first."""
    from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
    from tfx.types import standard_artifacts

    from components.ingest.example_gen import QUARANTINE_KEY, Quarantine, VideoExampleGen, VideoExampleGenExecutor
    from pipeline.beam import ingest_args

    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    Path(folder, f"{SPLIT}.jsonl").write_text("".join(clip.to_json() + "\n" for clip in clips))
    examples, quarantine = standard_artifacts.Examples(), Quarantine()
    examples.uri, quarantine.uri = (os.path.join(folder, name) for name in ("examples", "quarantine"))
    context = BaseBeamExecutor.Context(beam_pipeline_args=ingest_args(workers))
    properties = VideoExampleGen(folder, (SPLIT,), config, kept=os.path.join(folder, "kept")).exec_properties
    VideoExampleGenExecutor(context).Do({}, {"examples": [examples], QUARANTINE_KEY: [quarantine]}, dict(properties))
