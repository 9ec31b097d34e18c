"""A probe: heads on features that are computed once and do not change.

Each training clip goes through the network once per view; the features before the head are kept, or with an attentive
classifier the tokens before its pool. On them, standardised, a grid of heads is fitted in one pass, and the best one on
a part of the training groups, never on evaluation clips, is fitted anew on all. The moments of the features go into its
weights, so that the network is one like any other.
"""

from __future__ import annotations

import functools
import io
import itertools
import logging
import os
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from models.network.vivit import ATTENTIVE, HEAD
from models.training.config import LearningConfig, WeightsConfig
from models.training.loop import Split, TrainingError
from models.training.probing.attentive import AttentiveHeads, fit_attentive
from models.training.probing.features import Features, Tokens, features_of, tokens_of
from models.training.probing.heads import Fitting, Heads, Pair, fit_heads
from models.training.selection.holdout import OneGroupError, held_out
from models.training.standardise import Moments
from models.training.strategies import is_chief, of_first

# Epochs and clips per step, where the settings have none.
_LINEAR, _ATTENTIVE = (100, 128), (12, 8)
_logger = logging.getLogger("vivit.train")

# Features and a grid to heads.
Fit = Callable[[Features | Tokens, Sequence[Pair], Fitting], Heads | AttentiveHeads]


class Probed(NamedTuple):
    """What a probe leaves besides the head: the moments of the features, and whether it had to compute anything."""

    moments: Moments
    computed: bool


def probe(
    model: keras.Model,
    config: WeightsConfig,
    clips: Split,
    *,
    folder: str,
    strategy: tf.distribute.Strategy | None = None,
) -> Probed:
    """Fits the head of `model` to its features of the training clips; all other weights stay as they are.

    The pool of classifier "attentive" is part of the head.

    Args:
      model: From `build_vivit`.
      config: What the weights depend on; `config.train.probe` has the grid, and how the best of it is chosen.
      clips: The training clips.
      folder: Where the fitted head is kept (any URI): a second call computes nothing.
      strategy: Of several machines all take the head that the first one fitted: rounding may choose another one of the
        grid on another processor. None for one machine.

    Raises:
      TrainingError: If the training clips are of one group alone, or what is kept of them does not fit in memory.
    """
    kept = os.path.join(folder, "probe.npz")
    if tf.io.gfile.exists(kept):
        with tf.io.gfile.GFile(kept, "rb") as file:
            weights = dict(np.load(io.BytesIO(file.read())))
        _assign(model, weights)
        return Probed(Moments(weights["mean"], weights["variance"]), computed=False)
    pool = next((layer for layer in model.layers if layer.name == ATTENTIVE), None)
    compute, fit = features_of, fit_heads
    if pool is not None:
        compute, fit = tokens_of, functools.partial(fit_attentive, num_heads=pool.num_heads, frames=pool.frames)
    found = compute(model, clips, config.clip, config.train.probe.views, config.train.batch_size)
    sizes = {head: len(names) for head, names in clips.classes.items()}
    chosen = choose(found, config.train, sizes, fit)
    weights = chosen.weights(0) | chosen.moments(found)._asdict()
    if strategy:
        weights = dict(zip(weights, of_first(strategy, list(weights.values())), strict=True))
    _assign(model, weights)
    if strategy is None or is_chief(strategy):
        _keep(weights, kept)
    return Probed(Moments(weights["mean"], weights["variance"]), computed=True)


def _keep(weights: Mapping[str, np.ndarray], path: str) -> None:
    tf.io.gfile.makedirs(os.path.dirname(path))
    data = io.BytesIO()
    np.savez(data, **weights)
    # Another machine may look for it meanwhile.
    part = f"{path}.{uuid.uuid4().hex}"
    with tf.io.gfile.GFile(part, "wb") as file:
        file.write(data.getvalue())
    tf.io.gfile.rename(part, path, overwrite=True)


def choose(
    found: Features | Tokens, train: LearningConfig, sizes: Mapping[str, int], fit: Fit
) -> Heads | AttentiveHeads:
    """Fits the grid of `train.probe`, and the best of it on held-out groups anew on all.

    Args:
      found: What the heads see of the training clips.
      train: The settings.
      sizes: Classes by label head.
      fit: `fit_heads`, or `fit_attentive` with its sizes.

    Raises:
      TrainingError: If the training clips are of one group alone.
    """
    settings = train.probe
    epochs, batch_size = _LINEAR if isinstance(found, Features) else _ATTENTIVE
    fitting = Fitting(
        sizes, settings.epochs or epochs, settings.batch_size or batch_size, train.label_smoothing, train.seed
    )
    grid = list(itertools.product(settings.rates, settings.decays))
    try:
        held = held_out(found.groups, settings.holdout)
    except OneGroupError as error:
        raise TrainingError(f"train.probe.holdout: {error}") from error
    started = time.monotonic()
    scores = fit(found.part(~held), grid, fitting).scores(found.part(held), sizes)
    best = max(range(len(grid)), key=lambda number: scores[number])
    (rate, decay), (accuracy, _) = grid[best], scores[best]
    chosen = fit(found, [grid[best]], fitting)
    _logger.info(
        "probe: %d heads fitted to %d clips in %.0f s; best on the other %d: top-1 %.3f with rate %g, decay %g",
        len(grid), int((~held).sum()), time.monotonic() - started, int(held.sum()), accuracy, rate, decay,
    )  # fmt: skip
    return chosen


def _assign(model: keras.Model, weights: Mapping[str, np.ndarray]) -> None:
    model.get_layer(HEAD).set_weights([weights["kernel"], weights["bias"]])
    if "query" in weights:
        model.get_layer(ATTENTIVE).set_weights([weights["query"], weights["position"]])
