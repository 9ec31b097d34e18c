"""The scores of a model for the windows of a video, batch after batch, decoding ahead of the network."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import numpy as np
import tensorflow as tf

from components.evaluation.scoring import fitting_views
from pipeline.inference.model import OpenModel
from pipeline.timeline.windows import WindowConfig, windows
from schemas import serving

T = TypeVar("T")


class Scored(NamedTuple):
    """The first frame of a window, and its logits by head, float32 [K]."""

    start: int
    logits: Mapping[str, np.ndarray]


def score_windows(model: OpenModel, parts: Iterable[Sequence[bytes]], config: WindowConfig) -> Iterator[Scored]:
    """The logits of each window of a video, in time order.

    Args:
      model: A model with the signature `network`.
      parts: JPEG frames of the video, part after part.
      config: How windows lie.
    """
    network = model.signatures[serving.NETWORK_SIGNATURE]
    size = fitting_views((*config.clip.shape, 3))
    for batch in _ahead(_batches(windows(parts, config), size)):
        found = network(**{serving.CLIPS: tf.constant(np.stack([window.clip for window in batch]))})
        logits = {head: found[serving.logits_key(head)].numpy() for head in model.card.classes}
        for row, window in enumerate(batch):
            yield Scored(window.start, {head: values[row] for head, values in logits.items()})


def _batches(items: Iterator[T], size: int) -> Iterator[list[T]]:
    while batch := list(itertools.islice(items, size)):
        yield batch


def _ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items, each made while the one before it is used."""
    with ThreadPoolExecutor(1) as thread:
        upcoming = thread.submit(next, items, None)
        while (item := upcoming.result()) is not None:
            upcoming = thread.submit(next, items, None)
            yield item
