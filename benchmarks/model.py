"""Measures a network's speed and memory against the same network in stock Keras layers.

Both run in a process of their own, so that peak memory is measured apart, and take turns step by step, so that
other load on the machine affects both alike.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import resource
import statistics
import time
from collections.abc import Mapping
from typing import Literal

import tensorflow as tf

from benchmarks.stock_vivit import build_stock_vivit
from components.storage.memory import reuse_memory
from models.network.cost import measure_cost
from models.network.vivit import ViViTConfig, build_vivit

Mode = Literal["forward", "train"]

BUILDERS = {"ours": build_vivit, "stock": build_stock_vivit}
MATMUL_SIZE = 2048
# Backwards, a matrix product is two of its size.
PASSES = {"forward": 1, "train": 3}


@dataclasses.dataclass(frozen=True)
class Measurement:
    """Result of one implementation.

    Attributes:
      seconds: Of the fastest step.
      median_seconds: Of the median step.
      clips_per_second: At the fastest step.
      matmul_share: Multiply-adds that the network requires, over those that the machine's own matrix product would have
        done in the time of the fastest step.
      peak_rss_mib: Peak memory of the process.
    """

    seconds: float
    median_seconds: float
    clips_per_second: float
    matmul_share: float
    peak_rss_mib: float


def bench_model(
    config: ViViTConfig,
    *,
    clip_shape: tuple[int, int, int],
    heads: Mapping[str, int],
    batch: int,
    mode: Mode,
    rounds: int = 10,
    least_seconds: float = 20.0,
) -> dict:
    """Measures one network in one mode.

    Args:
      config, clip_shape, heads: As in `build_vivit`.
      batch: Clips a step.
      mode: "forward", or "train": forward, backward and a plain gradient step.
      rounds: Least number of steps of each implementation, after two for warm-up.
      least_seconds: Short steps are repeated for this many seconds.

    Returns:
      Values for JSON: "ours" and "stock" as `Measurement`, "speedup" of the fastest steps, "memory_ratio",
      "matmul_gflops" of the machine (a multiply-add counts as one, as in the paper), and what was measured.
    """
    context = multiprocessing.get_context("spawn")
    workers = {}
    for name in BUILDERS:
        here, there = context.Pipe()
        arguments = (there, name, config, clip_shape, dict(heads), batch, mode)
        process = context.Process(target=_work, args=arguments, daemon=True)
        process.start()
        workers[name] = (process, here)
        here.recv()
    seconds, rate = {name: [] for name in workers}, 0.0
    started = time.perf_counter()
    while len(seconds["ours"]) < rounds or time.perf_counter() - started < least_seconds:
        rate = max(rate, matmul_rate())
        for name, (_, connection) in workers.items():
            connection.send("step")
            seconds[name].append(connection.recv())
    peaks = {}
    for name, (process, connection) in workers.items():
        connection.send("stop")
        peaks[name] = connection.recv()
        process.join()
    wanted = measure_cost(config, clip_shape=clip_shape, heads=heads).multiply_adds * batch * PASSES[mode]
    measured = {
        name: Measurement(
            seconds=min(times),
            median_seconds=statistics.median(times),
            clips_per_second=batch / min(times),
            matmul_share=wanted / min(times) / rate,
            peak_rss_mib=peaks[name],
        )
        for name, times in seconds.items()
    }
    return {
        "mode": mode,
        "batch": batch,
        "clip_shape": list(clip_shape),
        "config": dataclasses.asdict(config),
        "matmul_gflops": rate / 1e9,
        "speedup": measured["stock"].seconds / measured["ours"].seconds,
        "memory_ratio": measured["ours"].peak_rss_mib / measured["stock"].peak_rss_mib,
        **{name: dataclasses.asdict(measurement) for name, measurement in measured.items()},
    }


def matmul_rate() -> float:
    """Multiply-adds a second of the machine's own float32 matrix product."""
    matrix = tf.ones((MATMUL_SIZE, MATMUL_SIZE))
    tf.matmul(matrix, matrix).numpy()
    start = time.perf_counter()
    tf.matmul(matrix, matrix).numpy()
    return MATMUL_SIZE**3 / (time.perf_counter() - start)


def _work(connection, name, config, clip_shape, heads, batch, mode):
    """A measured process: builds, warms up, then runs a step on each request, until it is stopped.

    Its memory is set up as that of training and scoring on a CPU is.
    """
    reuse_memory()
    step = _make_step(BUILDERS[name](config, clip_shape=clip_shape, heads=heads), clip_shape, batch, mode)
    step()
    step()
    connection.send("ready")
    while connection.recv() == "step":
        start = time.perf_counter()
        step()
        connection.send(time.perf_counter() - start)
    connection.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def _make_step(model, clip_shape, batch, mode):
    clip = tf.random.normal((batch, *clip_shape, 3))

    @tf.function
    def forward(clip):
        return model(clip, training=False)

    @tf.function
    def train(clip):
        variables = [variable.value for variable in model.trainable_variables]
        with tf.GradientTape() as tape:
            logits = model(clip, training=True).values()
            loss = tf.add_n([tf.reduce_mean(tf.nn.log_softmax(part)[:, 0]) for part in logits])
        for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
            variable.assign_sub(1e-3 * gradient)
        return loss

    run = {"forward": forward, "train": train}[mode]
    return lambda: tf.nest.map_structure(lambda tensor: tensor.numpy(), run(clip))


def describe(result: Mapping) -> str:
    """A result of `bench_model` for the terminal."""
    frames, height, width = result["clip_shape"]
    lines = [
        f"{result['mode']} {frames}x{height}x{width}, batch {result['batch']}; "
        f"this machine multiplies matrices at {result['matmul_gflops']:.0f} GFLOP/s (a multiply-add counts as one)"
    ]
    for name in BUILDERS:
        one = result[name]
        lines.append(
            f"  {name:5}  {one['clips_per_second']:8.2f} clips/s  {one['seconds'] * 1e3:9.1f} ms a step  "
            f"{one['matmul_share']:4.0%} of the matmul rate  {one['peak_rss_mib']:7.0f} MiB peak"
        )
    lines.append(f"  {result['speedup']:.2f}x as fast as stock Keras layers, {result['memory_ratio']:.2f}x the memory")
    return "\n".join(lines)
