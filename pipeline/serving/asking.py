"""Asks a model server about videos: the decoder of ingest, as `vivit predict` has it, and the server's answer."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from components.manifest.table import as_text
from components.media.config import DecodeConfig
from components.media.decoder import Decoder
from components.media.video import VideoError
from components.storage import files
from pipeline.serving.client import Client
from pipeline.serving.transports import ServingError
from schemas import serving

_WORDS_CLASSES = 3


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a server says of a video.

    Attributes:
      video: Its path, as text.
      outputs: Of the signature, by name, without the dimension of the batch; empty if there is no answer.
      error: Why there is none, or None.
    """

    video: str
    outputs: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    error: str | None = None

    def ranked(self, head: str) -> list[tuple[str, float]]:
        """(class name, probability) of a head, the most likely first."""
        names = self.outputs[serving.classes_key(head)].tolist()
        pairs = zip(names, self.outputs[serving.probabilities_key(head)].tolist(), strict=True)
        named = [(name.decode() if isinstance(name, bytes) else name, value) for name, value in pairs]
        return sorted(named, key=lambda pair: -pair[1])

    def as_json(self) -> dict[str, Any]:
        """Plain values: by head, the most likely class first, and logits; or the embedding."""
        if self.error:
            return {"video": self.video, "error": self.error}
        heads = _heads(self.outputs)
        if not heads:
            return {"video": self.video, **{name: value.tolist() for name, value in self.outputs.items()}}
        return {
            "video": self.video,
            "heads": {head: [{"class": name, "probability": p} for name, p in self.ranked(head)] for head in heads},
            "logits": {head: self.outputs[serving.logits_key(head)].tolist() for head in heads},
        }

    def in_words(self) -> str:
        """A few lines for a person."""
        if self.error:
            return f"{self.video}\n  cannot be predicted: {self.error}"
        lines = [self.video]
        for head in _heads(self.outputs):
            best = self.ranked(head)[:_WORDS_CLASSES]
            lines.append(f"  {head}: " + ", ".join(f"{name} {probability:.2f}" for name, probability in best))
        if serving.EMBEDDING in self.outputs:
            lines.append(f"  embedding: {self.outputs[serving.EMBEDDING].size} values, see --json")
        return "\n".join(lines)


def ask(
    client: Client,
    config: DecodeConfig,
    videos: Sequence[str],
    *,
    start: float = 0.0,
    end: float | None = None,
    at_a_time: int = 4,
) -> Iterator[Answer]:
    """Asks about each video, several at a time; answers come in the order of the videos.

    One that cannot be read, decoded or answered gives an `Answer` with its error.

    Args:
      client: The server's.
      config: How clips are stored, see `pipeline.inference.model.decode_config`.
      videos: Paths or URIs.
      start, end: The part of each video, seconds; None for its end.
      at_a_time: Videos that are decoded and asked about at a time.
    """
    with Decoder(config) as decoder, ThreadPoolExecutor(at_a_time) as threads:
        yield from threads.map(lambda path: _ask(client, decoder, path, (start, end)), videos)


def _ask(client: Client, decoder: Decoder, path: str, segment: tuple[float, float | None]) -> Answer:
    video = as_text(path)
    if "://" not in path and os.path.exists(path) and not os.path.isfile(path):
        # A pipe or a terminal would be waited for.
        return Answer(video, error="it is no file, but a folder, a pipe or a device")
    try:
        ((_, stored),) = decoder.store_segments(path, [segment])
        if isinstance(stored, VideoError):
            return Answer(video, error=stored.reason)
        return Answer(video, client.ask(stored.frames))
    except files.FileError as error:
        return Answer(video, error=error.reason)
    except ServingError as error:
        return Answer(video, error=str(error))


def _heads(outputs: dict[str, np.ndarray]) -> list[str]:
    suffix = serving.classes_key("")
    return sorted(name.removesuffix(suffix) for name in outputs if name.endswith(suffix))
