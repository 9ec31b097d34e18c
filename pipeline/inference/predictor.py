"""Clips in, predictions out: decoded ahead on threads, all views, the network on batches that clips share.

Contract: a clip's prediction follows from the clip and its group alone, whatever was predicted before, on how many
threads, or in how many processes; one that cannot be decoded loses itself only.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
import math
import os
import queue
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import tensorflow as tf

from components.evaluation.scoring import fitting_views
from components.manifest.listing import ListedClip
from components.media.decoder import Decoder
from components.media.video import StoredClip, VideoError
from components.storage import files
from components.storage.cores import cores
from pipeline.inference.model import ModelError, OpenModel, decode_config, open_model
from pipeline.inference.prediction import Classes, Prediction
from schemas import features, serving

# Clips of one video whose views wait for the network.
_AHEAD = 2
# Seconds after which a thread that waits looks whether anybody still wants its clips.
_LOOK_UP = 1.0
Group = Sequence[ListedClip]
T = TypeVar("T")


class Predictor:
    """Predicts clips with one model, which threads may share."""

    def __init__(
        self,
        model: OpenModel,
        *,
        decoders: int | None = None,
        one_view: bool = False,
        embedding: bool = False,
        decoder: Decoder | None = None,
    ):
        """Prepares.

        Args:
          model: The model.
          decoders: Videos that are decoded at a time, by a process each; None for one per core.
          one_view: Whether the centre view alone is seen, in place of all.
          embedding: Whether predictions have the features before the head.
          decoder: What decodes, and is closed with this; None for one that starts with the first clips.

        Raises:
          ModelError: If an older release exported the model, without what is asked of it.
        """
        self._model, self._one_view = model, one_view
        self._threads = decoders or cores()
        self._decoder = decoder or Decoder(model.decode_config)
        names = (serving.VIEWS_SIGNATURE, serving.NETWORK_SIGNATURE)
        if missing := [name for name in names if name not in model.signatures]:
            raise ModelError(f"{model.path} has no signature {', '.join(missing)}: an older release exported it")
        self._views, self._network = (model.signatures[name] for name in names)
        self._outputs = {serving.logits_key(head) for head in model.card.classes}
        if embedding:
            if serving.EMBEDDING not in self._network.structured_outputs:
                raise ModelError(f"{model.path} gives no embedding: an older release exported it, or it is no ViViT")
            self._outputs.add(serving.EMBEDDING)

    @classmethod
    def load(
        cls, model_dir: str, *, decoders: int | None = None, videos: int | None = None, **options: bool
    ) -> Predictor:
        """Of the model of a folder: its decoders start while it is loaded. Options and errors as of `Predictor`.

        Args:
          model_dir: The folder, any URI.
          decoders: As of `Predictor`.
          videos: How many there will be; None for many.
          options: As of `Predictor`.

        Raises:
          FileError, FileNotFoundError, ModelError: As `open_model`.
        """
        most = decoders or cores()
        decoder = Decoder(decode_config(model_dir), ready=most if videos is None else min(most, videos))
        try:
            return cls(open_model(model_dir), decoders=decoders, decoder=decoder, **options)
        except BaseException:
            decoder.close()
            raise

    def __enter__(self) -> Predictor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def classes(self) -> Classes:
        """Class names by head."""
        return self._model.card.classes

    def close(self) -> None:
        """Ends the decoders' processes."""
        self._decoder.close()

    def groups(self, clips: Sequence[ListedClip]) -> list[Group]:
        """The clips, in their order, in groups whose views are in the network together."""
        *_, views, frames, height, width, channels = self._views.structured_outputs[serving.CLIPS].shape
        count = 1 if self._one_view else views - 1
        size = max(1, fitting_views([frames, height, width, channels]) // count)
        return [clips[start : start + size] for start in range(0, len(clips), size)]

    def predict(self, groups: Iterable[Group]) -> Iterator[list[Prediction]]:
        """Predictions of each group, in order; neighbouring clips of one video are decoded in one pass."""
        groups = list(groups)
        seen = self._seen([clip for group in groups for clip in group])
        try:
            for group in groups:
                yield self._predicted(group, list(itertools.islice(seen, len(group))))
        finally:
            seen.close()

    def _predicted(self, group: Group, seen: Sequence[tf.Tensor | VideoError]) -> list[Prediction]:
        views = [one for one in seen if not isinstance(one, VideoError)]
        outputs = iter(self._of_views(views) if views else ())
        predictions = []
        for clip, one in zip(group, seen, strict=True):
            if isinstance(one, VideoError):
                predictions.append(Prediction(clip, error=one))
                continue
            found = next(outputs)
            logits = {head: found[serving.logits_key(head)] for head in self.classes}
            predictions.append(Prediction(clip, logits, found.get(serving.EMBEDDING)))
        return predictions

    def _of_views(self, clips: Sequence[tf.Tensor]) -> list[Mapping[str, np.ndarray]]:
        """Outputs of the network for each clip, uint8 [V, T, H, W, 3], float32 [K] by name, averaged over views."""
        with tf.device("CPU:0"):
            views = tf.concat(clips, axis=0)
        parts = math.ceil(len(views) / fitting_views(views.shape))
        # As equal as they can be: a last one of a view or two would cost nearly as much as a whole one.
        bounds = [len(views) * part // parts for part in range(parts + 1)]
        found = [self._network(**{serving.CLIPS: views[low:high]}) for low, high in itertools.pairwise(bounds)]
        rows = {name: np.concatenate([one[name].numpy() for one in found]) for name in self._outputs}
        return [
            {name: values.mean(axis=0) for name, values in of_clip.items()}
            for of_clip in _split(rows, [len(one) for one in clips])
        ]

    def _seen(self, clips: Sequence[ListedClip]) -> Iterator[tf.Tensor | VideoError]:
        """The views of each clip, uint8 [V, T, H, W, 3], or why there are none, in order and made ahead."""
        runs = iter([list(run) for _, run in itertools.groupby(clips, key=lambda clip: clip.file)])
        waiting: collections.deque[tuple[int, queue.Queue]] = collections.deque()
        stopped = threading.Event()
        with ThreadPoolExecutor(self._threads) as pool:
            try:
                while True:
                    # One more than there are threads: the first may be done, and wait to be taken.
                    while len(waiting) <= self._threads and (run := next(runs, None)):
                        waiting.append((len(run), queue.Queue(_AHEAD)))
                        pool.submit(self._see, run, waiting[-1][1], stopped)
                    if not waiting:
                        return
                    count, found = waiting[0]
                    for _ in range(count):
                        one = found.get()
                        if isinstance(one, BaseException) and not isinstance(one, VideoError):
                            raise one
                        yield one
                    waiting.popleft()
            finally:
                stopped.set()
                pool.shutdown(wait=False, cancel_futures=True)

    def _see(self, run: Group, found: queue.Queue, stopped: threading.Event) -> None:
        """Puts the views of clips of one video, or what is wrong, into a queue, in order."""
        try:
            for one in _in_order(_decoded(run, self._decoder)):
                if stopped.is_set():
                    return
                _put(found, one if isinstance(one, VideoError) else self._views_of(one, run[0].file), stopped)
        except Exception as error:  # noqa: BLE001 (the thread that takes it raises it)
            _put(found, error, stopped)

    def _views_of(self, stored: StoredClip, file: str) -> tf.Tensor | VideoError:
        example = features.raw_example(
            clip_id="",
            group="",
            frames=stored.frames,
            size=stored.size,
            fps=stored.fps,
            start=stored.start,
            duration=stored.duration,
            labels={},
            slices={},
        )
        try:
            made = self._views(**{serving.EXAMPLES_INPUT: tf.constant([example.SerializeToString()])})
        except tf.errors.InvalidArgumentError as error:
            # Frames of a record, which are taken as they are.
            return VideoError(file, "decode", f"its frames cannot be read: {error.message.splitlines()[0]}")
        (views,) = made[serving.CLIPS]
        # The last is the centre view.
        return views[-1:] if self._one_view else views[:-1]


def _decoded(run: Group, decoder: Decoder) -> Iterator[tuple[int, StoredClip | VideoError]]:
    """The clips of one video by their place, as they are complete."""
    file, missing = run[0].file, set(range(len(run)))
    try:
        if "://" not in file and os.path.exists(file) and not os.path.isfile(file):
            # A pipe or a terminal would be waited for.
            raise VideoError(file, "open", "it is no file, but a folder, a pipe or a device")
        for place, stored in decoder.store_segments(file, [(clip.start or 0.0, clip.end) for clip in run]):
            missing.remove(place)
            yield place, stored
    except files.FileError as error:
        yield from ((place, VideoError(file, "open", error.reason)) for place in sorted(missing))
    except VideoError as error:
        yield from ((place, error) for place in sorted(missing))


def _in_order(found: Iterable[tuple[int, T]]) -> Iterator[T]:
    """What is found for the places from 0 on; what comes before its turn is held. Takes all: a decoder then stays."""
    turn, held = 0, {}
    for place, one in found:
        held[place] = one
        while turn in held:
            yield held.pop(turn)
            turn += 1


def _put(found: queue.Queue, one: object, stopped: threading.Event) -> None:
    """Puts something into a queue, and waits for room in it for as long as anybody takes from it."""
    while not stopped.is_set():
        with contextlib.suppress(queue.Full):
            found.put(one, timeout=_LOOK_UP)
            break


def _split(rows: Mapping[str, np.ndarray], counts: Iterable[int]) -> Iterator[dict[str, np.ndarray]]:
    """Rows by name, cut into parts of so many rows."""
    start = 0
    for count in counts:
        yield {name: values[start : start + count] for name, values in rows.items()}
        start += count
