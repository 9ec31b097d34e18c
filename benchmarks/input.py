"""Speed of the training input, as a share of the rate at which the same cores decode the same JPEGs."""

from __future__ import annotations

import dataclasses
import os
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf

from components.storage.cores import cores
from components.storage.memory import keep_memory_flat, reuse_memory
from models.clips import augment, input_pipeline, sampling
from models.clips.augment import AugmentConfig
from models.clips.sampling import ClipConfig
from models.clips.source import Source
from schemas import features
from schemas.clip_index import IndexedClip, index_name, write_indexed

_WARM_UP_CLIPS = 200
_DECODED_CLIPS = 32
_HEAD = features.DEFAULT_HEAD


@dataclasses.dataclass(frozen=True)
class InputRates:
    """Result of `bench_input`.

    Attributes:
      cores: CPU cores that this process may use.
      pipeline: Clips per second, median over the rounds, out of `input_pipeline.train_dataset`: read, shuffle, sample,
        decode, draw, cut, batch.
      decode: The same where the frames that such clips sample are decoded by tf.io.decode_jpeg and dropped.
      share: Median over the rounds of pipeline / decode.
      augment: Clips per second of `augment.apply`, compiled, on the first device: the other half of the augmentation,
        which belongs to the training step.
      clips: Clips that went through the pipeline.
      memory_growth: Growth of this process's resident memory while the pipeline ran, after its first 200 clips, as a
        share of what it was.
    """

    cores: int
    pipeline: float
    decode: float
    share: float
    augment: float
    clips: int
    memory_growth: float


def bench_input(
    source: Source,
    *,
    clip: ClipConfig,
    augmentation: AugmentConfig,
    batch_size: int,
    count: int = 2000,
    rounds: int = 5,
) -> InputRates:
    """Times the training input and bare decoding in turns, so that both run under the same load.

    Args:
      source: Clips stored as JPEG.
      clip: What a clip is.
      augmentation: What is drawn.
      batch_size: Clips per batch.
      count: Clips of the pipeline, after 200 for warm-up.
      rounds: Turns. The first half of each is not timed: it uses up batches made during the other's turn.
    """
    keep_memory_flat()
    training = input_pipeline.train_dataset(source, clip=clip, augmentation=augmentation, batch_size=batch_size, seed=0)
    batches, decoded = iter(training), iter(_bare_decode(source, clip))
    for elements, each in ((decoded, 1), (batches, batch_size)):
        for _ in range(-(-_WARM_UP_CLIPS // each)):
            next(elements)
    memory = _resident_bytes()
    pipeline, decode, grown = [], [], 0
    for _ in range(rounds):
        decode.append(_rate(decoded, count // rounds))
        before = _resident_bytes()
        pipeline.append(_rate(batches, -(-count // rounds // batch_size)) * batch_size)
        grown += _resident_bytes() - before
    return InputRates(
        cores=cores(),
        pipeline=statistics.median(pipeline),
        decode=statistics.median(decode),
        share=statistics.median(ours / bare for ours, bare in zip(pipeline, decode, strict=True)),
        augment=_augment_rate(next(batches), augmentation),
        clips=count,
        memory_growth=grown / memory,
    )


def write_bench_clips(folder: Path, *, count: int = 64, frames: int = 32, size: tuple[int, int] = (256, 340)) -> Source:
    """Writes clips of moving noise, about as hard to decode as photographs, with indexes; returns their source.

    Args:
      folder: Where four files are written.
      count: Clips.
      frames: Stored frames of each.
      size: (height, width) in pixels.
    """
    rng = np.random.default_rng(0)
    indexes = []
    for shard in range(4):
        path = str(folder / f"bench-{shard:05d}-of-00004.tfrecord")
        indexes.append(index_name(path))
        names = (f"clip{number}" for number in range(shard, count, 4))
        clips = (
            IndexedClip(_bench_example(name, natural_noise(rng, size), frames), name, {_HEAD: 0}) for name in names
        )
        write_indexed(path, indexes[-1], clips)
    return input_pipeline.transformed_source(indexes, [_HEAD], "jpeg")


def natural_noise(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Nearly grey uint8 [h, w, 3] whose JPEG is about as long as a photograph's: amplitude ~ frequency ** -1.5."""
    height, width = size
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = np.inf
    planes = [np.fft.irfft2(np.fft.rfft2(rng.standard_normal(size)) / frequency**1.5, size) for _ in range(4)]
    image = np.stack([planes[0] + 0.3 * plane for plane in planes[1:]], axis=-1)
    return np.clip(128 + 50 * image / image.std(), 0, 255).astype(np.uint8)


def _bench_example(clip_id: str, image: np.ndarray, frames: int) -> bytes:
    encoded = [tf.io.encode_jpeg(np.roll(image, 2 * t, axis=1), quality=90).numpy() for t in range(frames)]

    def strings(values):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))

    feature = {
        features.CLIP_ID: strings([clip_id.encode()]),
        features.CLIP_GROUP: strings([clip_id.encode()]),
        features.CLIP_FRAMES: strings(encoded),
    }
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


def _bare_decode(source: Source, clip: ClipConfig) -> tf.data.Dataset:
    """Decodes sampled frames from memory in a parallel map and keeps a number of each; an element is a clip's T."""

    def sample(_, serialised):
        frames, _ = source.parse(serialised)
        return tf.gather(frames, sampling.train_indices(tf.shape(frames)[0], clip, tf.constant([0, 0])))

    sampled = tf.concat(list(source.records().take(_DECODED_CLIPS).map(sample)), axis=0)
    sizes = (
        tf.data.Dataset.from_tensor_slices(sampled)
        .repeat()
        .map(lambda frame: tf.size(tf.io.decode_jpeg(frame, channels=3)), num_parallel_calls=tf.data.AUTOTUNE)
    )
    return sizes.batch(clip.num_frames)


def _rate(elements: Iterator, count: int) -> float:
    """Elements per second over the second half of `count`."""
    for _ in range(count // 2):
        next(elements)
    timed = count - count // 2
    start = time.perf_counter()
    for _ in range(timed):
        next(elements)
    return timed / (time.perf_counter() - start)


def _augment_rate(batch: dict, augmentation: AugmentConfig, repeats: int = 3) -> float:
    # As in training on a CPU: else half of the time is spent on clearing pages.
    reuse_memory()
    apply: Callable = tf.function(lambda pixels, draws: augment.apply(pixels, draws, augmentation), jit_compile=True)
    apply(batch["clip"], batch["draws"])
    start = time.perf_counter()
    for _ in range(repeats):
        augmented = apply(batch["clip"], batch["draws"])
    augmented.numpy()
    return repeats * len(augmented) / (time.perf_counter() - start)


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
