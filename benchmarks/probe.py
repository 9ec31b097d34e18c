"""What a probe's grid of heads costs, against the pass of the backbone over its clips."""

from __future__ import annotations

import dataclasses
import functools
import math
import time

import keras
import numpy as np
import tensorflow as tf

from benchmarks.quiet import quiet
from models.clips import images
from models.network.vivit import ATTENTIVE, build_vivit
from models.training.config import WeightsConfig
from models.training.probing.attentive import fit_attentive
from models.training.probing.features import Features, Tokens
from models.training.probing.heads import fit_heads
from models.training.probing.probe import choose

_CLASSES = 10


@dataclasses.dataclass(frozen=True)
class ProbeTimes:
    """Result of `bench_probe`, in seconds.

    Attributes:
      clips: Clips of one view.
      heads: Heads of each grid.
      backbone: The compiled pass over all clips, which are in memory.
      linear: The grid of linear heads on held-out groups, the choice, and the fit of the best head on all.
      attentive: The same of attentive ones, on all tokens.
    """

    clips: int
    heads: int
    backbone: float
    linear: float
    attentive: float

    @property
    def ratios(self) -> dict[str, float]:
        """(pass + grid) / pass of each grid."""
        return {f"{kind}_ratio": 1 + getattr(self, kind) / self.backbone for kind in ("linear", "attentive")}


def bench_probe(config: WeightsConfig, *, clips: int = 60) -> ProbeTimes:
    """Times the backbone, then both grids on what came out of it; weights and clips are random.

    Args:
      config: Network, clip and grid; a network of frames, whose class tokens and mean tokens linear heads see.
      clips: How many.
    """
    network = dataclasses.replace(config.model, classifier="attentive")
    model = build_vivit(network, clip_shape=config.clip.shape, heads={"label": _CLASSES})
    pool = model.get_layer(ATTENTIVE)
    backbone = keras.Model(model.input, pool.input)
    compute = tf.function(lambda pixels: tf.cast(backbone(images.normalise(pixels), training=False), tf.float16))
    rng, at_a_time = np.random.default_rng(0), math.gcd(config.train.batch_size, clips)
    pixels = tf.constant(rng.integers(0, 256, (clips, *config.clip.shape, 3), np.uint8))
    compute(pixels[:at_a_time])
    started = time.perf_counter()
    values = [compute(pixels[start : start + at_a_time]).numpy() for start in range(0, clips, at_a_time)]
    seconds = time.perf_counter() - started
    values = np.concatenate(values)[:, np.newaxis]
    labels = {"label": rng.integers(0, _CLASSES, clips).astype(np.int32)}
    groups = [f"video{number}" for number in range(clips)]
    tokens = Tokens(values, np.arange(clips), labels, groups)
    fit = functools.partial(fit_attentive, num_heads=pool.num_heads, frames=pool.frames)
    sizes = {"label": _CLASSES}
    features = Features(_token_and_mean(values, pool.frames), labels, groups)
    with quiet("vivit.train"):
        linear = _seconds(choose, features, config, sizes, fit_heads)
        attentive = _seconds(choose, tokens, config, sizes, fit)
    heads = len(config.train.probe.rates) * len(config.train.probe.decays)
    return ProbeTimes(clips, heads, backbone=seconds, linear=linear, attentive=attentive)


def describe(times: ProbeTimes) -> str:
    """The times for the terminal."""
    lines = [
        f"the backbone's pass over {times.clips} clips: {times.backbone:.1f} s; {times.heads} heads and the choice:"
    ]
    lines += [
        f"  {kind:9}  {getattr(times, kind):6.1f} s, {times.ratios[f'{kind}_ratio']:.2f}x the pass in all"
        for kind in ("linear", "attentive")
    ]
    return "\n".join(lines)


def _token_and_mean(tokens: np.ndarray, frames: int) -> np.ndarray:
    """[N, V, T * N, D] to what classifier "token_and_mean" with temporal_pool "concat" gives, [N, V, T * 2 * D]."""
    by_frame = tokens.reshape(*tokens.shape[:2], frames, -1, tokens.shape[-1]).astype(np.float32)
    parts = [by_frame[..., 0, :], by_frame[..., 1:, :].mean(axis=-2)]
    return np.concatenate(parts, axis=-1).reshape(*tokens.shape[:2], -1)


def _seconds(choose, found, config: WeightsConfig, sizes, fit) -> float:
    started = time.perf_counter()
    choose(found, config.train, sizes, fit)
    return time.perf_counter() - started
