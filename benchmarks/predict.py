"""Speed and memory of `vivit predict --output`, against the bare loops that it cannot beat: decoding, and the network.

Each runs in a process of its own, so that peak memory is measured apart, and they take turns.
"""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import os
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.ingest import bare_loop, resident_mib, write_videos
from benchmarks.score import write_model
from components.ingest.config import IngestConfig
from components.storage.cores import cores
from pipeline.recipe import Recipe


@dataclasses.dataclass(frozen=True)
class PredictRates:
    """Result of `bench_predict`, medians over the turns.

    Attributes:
      videos: Videos of a turn.
      views: Views of each.
      job: Videos per second of the job: plan, decode, views, network, tables. The model is loaded in each turn.
      decode: The same of decoding, resizing and encoding as JPEG, in as many processes as the job decodes with.
      network: The same of the SavedModel's network on batches that stay in place.
      share: job / the slower of the two others.
      memory_mib: Peak memory of the job's process and its children, in the first turn.
      memory_growth: Divided by that of a job of a tenth of the videos.
    """

    videos: int
    views: int
    job: float
    decode: float
    network: float
    share: float
    memory_mib: float
    memory_growth: float


def bench_predict(recipe: Recipe, *, videos: int, rounds: int = 3, seconds: int = 10) -> PredictRates:
    """Predicts videos of 340x256 at 25 frames per second, and runs both bare loops over as many, in turns.

    Args:
      recipe: Gives network, clip, views and how frames are stored.
      videos: Videos of a turn.
      rounds: Turns of each.
      seconds: Length of a video.
    """
    context, decoders = multiprocessing.get_context("spawn"), cores()
    views = recipe.views.count
    with tempfile.TemporaryDirectory() as folder:
        paths = write_videos(Path(folder), videos, seconds)
        model = write_model(recipe, os.path.join(folder, "model"))
        # The tenth has a process of its own: TensorFlow keeps some of each model that a process has loaded.
        loops = {"tenth": [_job], "job": [_job], "decode": [_decode] * decoders, "network": [_network]}
        measured = {name: [] for name in loops}
        for name, loop in ((name, loop) for name, parallel in loops.items() for loop in parallel):
            here, there = context.Pipe()
            arguments = (there, loop, folder, model, recipe.ingest, decoders, views)
            context.Process(target=_work, args=arguments, daemon=True).start()
            measured[name].append(here)
        _, tenth = _turn(measured.pop("tenth"), paths[: max(1, videos // 10)])
        turns = [{name: _turn(parallel, paths) for name, parallel in measured.items()} for _ in range(rounds)]
    slower = [max(turn["decode"][0], turn["network"][0]) / turn["job"][0] for turn in turns]
    peak = turns[0]["job"][1]
    return PredictRates(
        videos=videos,
        views=views,
        **{name: videos / statistics.median(turn[name][0] for turn in turns) for name in measured},
        share=statistics.median(slower),
        memory_mib=peak,
        memory_growth=peak / tenth,
    )


def _turn(connections: Sequence[Any], videos: Sequence[str]) -> tuple[float, float]:
    """Seconds that measured processes take for some videos, and the peak memory of the first in MiB so far."""
    start = time.perf_counter()
    for number, connection in enumerate(connections):
        connection.send(videos[number :: len(connections)])
    peaks = [connection.recv() for connection in connections]
    return time.perf_counter() - start, peaks[0]


def _work(connection, loop: Callable, folder: str, model: str, ingest: IngestConfig, decoders: int, views: int) -> None:
    run, memory = loop(folder, model, ingest, decoders, views), [resident_mib()]

    def watch() -> None:
        while True:
            memory.append(resident_mib())
            time.sleep(0.2)

    threading.Thread(target=watch, daemon=True).start()
    # Until the other end is closed.
    with contextlib.suppress(EOFError):
        while True:
            run(connection.recv())
            connection.send(max(memory))


def _job(folder: str, model: str, _, decoders: int, __) -> Callable[[Sequence[str]], None]:
    from components.manifest.listing import ListedClip
    from pipeline.beam import step_args
    from pipeline.inference.job import JobConfig, run_job

    def run(videos: Sequence[str]) -> None:
        output = os.path.join(folder, "predictions")
        clips = [ListedClip(video, video, id=video) for video in videos]
        summary = run_job(clips, JobConfig(model, output, decoders=decoders), step_args())
        if summary["predicted"] != len(videos):
            raise RuntimeError(f"{summary['lost']} videos were lost: {summary['reasons']}")
        shutil.rmtree(output)

    return run


def _decode(_, __, ingest: IngestConfig, ___, ____) -> Callable[[Sequence[str]], None]:
    def run(videos: Sequence[str]) -> None:
        for video in videos:
            bare_loop(video, ingest)

    return run


def _network(_, model: str, __, ___, views: int) -> Callable[[Sequence[str]], None]:
    import tensorflow as tf

    from components.evaluation.scoring import fitting_views
    from schemas import serving

    network = tf.saved_model.load(model).signatures[serving.NETWORK_SIGNATURE]
    shape = network.structured_input_signature[1][serving.CLIPS].shape[1:]
    size = fitting_views(shape)
    pixels = tf.random.stateless_uniform([size, *shape], (0, 0), 0, 256, tf.int32)
    batch = tf.cast(pixels, tf.uint8)

    def run(videos: Sequence[str]) -> None:
        for start in range(0, len(videos) * views, size):
            found = network(**{serving.CLIPS: batch[: len(videos) * views - start]})
            _ = [value.numpy() for value in found.values()]

    return run
