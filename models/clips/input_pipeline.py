"""From files of clips to batches: training data that can be resumed at any step, and evaluation data.

A `Source` (`models.clips.source`) is a list of clips: `transformed_source` for Transform's output; `sequence_examples`
has that for DMVR's records. An element is a dict: "clip" uint8, "labels" {head: int32 [B]}, "id" and "group" string
[B]; training adds "draws", the `Draws` that `augment.apply` needs on the device. Numbers of clips are shuffled and
skipped; a clip is read when its turn is near, and only the frames that it uses are decoded. Order and draws depend on
`seed` and on the position in the stream, not on timing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import tensorflow as tf

from models.clips import augment, images, sampling
from models.clips.augment import AugmentConfig, Draws
from models.clips.balance import balanced_copies
from models.clips.sampling import ClipConfig, ViewsConfig
from models.clips.source import Source, indexed_source
from schemas import features
from schemas.clip_index import ClipIndex
from schemas.features import Storage

# Indexes that are read at once.
_THREADS = 32
_BATCHES_AHEAD = 2


def transformed_source(files: Sequence[str], heads: Sequence[str], storage: Storage) -> Source:
    """Transform's output: its indexes, in sorted order, and the clips in the shards that they name.

    Raises:
      ValueError: If there is no file, or one is no index.
    """
    spec = features.stored_spec(storage)

    def parse(serialised):
        parsed = tf.io.parse_single_example(serialised, spec)
        texts = {"id": parsed[features.CLIP_ID], "group": parsed[features.CLIP_GROUP]}
        return images.stored_frames(parsed[features.CLIP_FRAMES]), texts

    with ThreadPoolExecutor(_THREADS) as pool:
        indexes = list(pool.map(ClipIndex.read, sorted(files)))
    return indexed_source(indexes, heads, parse)


def train_dataset(
    source: Source,
    *,
    clip: ClipConfig,
    augmentation: AugmentConfig,
    batch_size: int,
    seed: int,
    start: int = 0,
    balance: str | None = None,
    devices: int = 1,
    host: int = 0,
    hosts: int = 1,
) -> tf.data.Dataset:
    """Endless training batches; `start` = s gives the batches of the whole dataset after the first s steps.

    Every pass reads every clip once, in an order of its own, any of all orders; with `augmentation.repeats` R, it shows
    each R times in a row. A resumed dataset reads nothing of what was seen before. The clips of a step, and their
    draws, are the same for one device or several, on one host or several: each device takes the next B of them.

    Args:
      source: Clips of all hosts.
      clip: What a clip is.
      augmentation: What is drawn for each clip.
      batch_size: Clips per batch of one device, B; a multiple of R.
      seed: Seed of the order and of every draw.
      start: Steps already done.
      balance: Head whose classes come up equally often: a pass then shows N clips too, some not at all and some several
        times (see `models.clips.balance`). None shows each clip once.
      devices: Devices of this host, which take batches in turn; a step has one for each.
      host: Index of this host.
      hosts: Number of hosts.

    Returns:
      Dataset of {"clip": uint8 [B, T, P, P, 3] (P of `augment.window_size`), "draws": `Draws` of [B, ...],
      "labels": {head: int32 [B]}, "id" and "group": string [B]}.

    Raises:
      ValueError: no examples, or an augmentation that the clip's sizes or the batch's do not allow.
    """
    if not source.count:
        raise ValueError("train_dataset needs a source of 1 clip or more, got one of 0.")
    augment.window_size(clip, augmentation)
    repeats = augmentation.repeats
    if batch_size % repeats:
        raise ValueError(f"augment.repeats={repeats} does not divide the batch of {batch_size} clips of a device")
    # Counted in clips that are read: this host's share of a step, and where the first step begins.
    share = devices * batch_size // repeats
    first = start * share * hosts
    first_epoch = first // source.count
    every = tf.range(source.count, dtype=tf.int64)
    copies_in = balanced_copies(source.labels_of[balance], seed) if balance else None

    def epoch(number):
        clips = tf.repeat(every, copies_in(number)) if copies_in else every
        order = tf.random.experimental.stateless_shuffle(clips, tf.stack([seed, number]))
        return tf.data.Dataset.from_tensor_slices(order)

    def example(position, clip_of):
        seeds = [tf.stack([tf.constant(seed, tf.int64), position * repeats + index]) for index in range(repeats)]
        frames, element = source.element(*clip_of)
        pixels, draws = training_clips(frames, clip, augmentation, seeds)
        same = tf.nest.map_structure(lambda value: tf.stack([value] * repeats), element)
        return same | {"clip": pixels, "draws": draws}

    numbers = tf.data.Dataset.range(first_epoch, tf.int64.max).flat_map(epoch).skip(first - first_epoch * source.count)
    positions = tf.data.Dataset.range(first, tf.int64.max)
    if hosts > 1:
        numbers, positions = (_share(dataset, share, host, hosts) for dataset in (numbers, positions))
    dataset = tf.data.Dataset.zip((positions, source.records(numbers)))
    dataset = dataset.map(example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return _batched(dataset, batch_size, drop_remainder=True, repeats=repeats)


def _share(dataset: tf.data.Dataset, share: int, host: int, hosts: int) -> tf.data.Dataset:
    """Of every `share` * `hosts` elements those of one host."""
    steps = dataset.batch(share * hosts)
    return steps.flat_map(lambda step: tf.data.Dataset.from_tensor_slices(step[share * host : share * (host + 1)]))


def eval_dataset(
    source: Source,
    *,
    clip: ClipConfig,
    batch_size: int,
    views: ViewsConfig | None = None,
) -> tf.data.Dataset:
    """One pass over the clips in reading order; the last batch may be smaller, nothing is padded.

    Args:
      source: Clips.
      clip: What a clip is.
      batch_size: Videos per batch, B.
      views: All views of a video; None: the centre view alone, without an axis for views.

    Returns:
      Dataset of {"clip": uint8 [B, T, S, S, 3], or [B, V, T, S, S, 3] with `views`, "labels": {head: int32 [B]},
      "id" and "group": string [B]}.
    """
    return _batched(_viewed(source.records(), source, clip, views), batch_size)


def score_dataset(
    source: Source,
    *,
    clip: ClipConfig,
    batch_size: int,
    devices: int = 1,
    host: int = 0,
    hosts: int = 1,
) -> tf.data.Dataset:
    """One pass over the centre views in whole batches, as many for each device of each host.

    Each host reads every `hosts`-th clip.

    Args:
      source: Clips of all hosts.
      clip: What a clip is.
      batch_size: Clips per batch of one device, B.
      devices: Devices of this host, which take batches in turn.
      host: Index of this host.
      hosts: Number of hosts.

    Returns:
      Dataset of {"clip": uint8 [B, T, S, S, 3], "labels": {head: int32 [B]}, "mask": float32 [B], 0 for the clips that
      fill up the last batches}.
    """
    numbers = tf.data.Dataset.range(source.count).shard(hosts, host)
    viewed = _viewed(source.records(numbers), source, clip, None)
    masked = viewed.map(lambda element: {"clip": element["clip"], "labels": element["labels"], "mask": 1.0})
    nothing = tf.nest.map_structure(lambda spec: tf.zeros(spec.shape, spec.dtype), masked.element_spec)
    batches = devices * math.ceil(math.ceil(source.count / hosts) / (devices * batch_size))
    filled = masked.concatenate(tf.data.Dataset.from_tensors(nothing).repeat()).take(batches * batch_size)
    return _batched(filled, batch_size, drop_remainder=True)


def _batched(
    dataset: tf.data.Dataset, batch_size: int, drop_remainder: bool = False, repeats: int | None = None
) -> tf.data.Dataset:
    """Batches, a few of them ahead; with `repeats`, elements have a first axis of that size, which goes into B.

    Parallel calls are as many as cores, up to 16. TensorFlow would tune them, but lets buffers of whole batches grow
    while the device is the slower part; and an iterator that ends waits for the next tuning, for up to a minute.
    """
    count = batch_size // (repeats or 1)
    batches = dataset.batch(count, drop_remainder=drop_remainder, num_parallel_calls=_BATCHES_AHEAD)
    if repeats:
        batches = batches.map(lambda batch: tf.nest.map_structure(_without_second_axis, batch))
    options = tf.data.Options()
    options.autotune.enabled = False
    return batches.prefetch(_BATCHES_AHEAD).with_options(options)


def _without_second_axis(values: tf.Tensor) -> tf.Tensor:
    return tf.reshape(values, [values.shape[0] * values.shape[1], *values.shape[2:]])


def _viewed(records: tf.data.Dataset, source: Source, clip: ClipConfig, views: ViewsConfig | None) -> tf.data.Dataset:
    def example(number, serialised):
        frames, element = source.element(number, serialised)
        pixels = images.make_views(frames, clip, views or sampling.CENTRE_VIEW)
        return element | {"clip": pixels if views else pixels[0]}

    return records.map(example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def training_clips(
    frames: tf.Tensor, clip: ClipConfig, augmentation: AugmentConfig, seeds: Sequence[tf.Tensor]
) -> tuple[tf.Tensor, Draws]:
    """Random clips of the same frames of a video: sampled, decoded, resized to the short side, cut to their windows.

    Args:
      frames: string [n] of JPEG bytes or uint8 [n, h, w, 3].
      clip: What a clip is.
      augmentation: What is drawn.
      seeds: int [2] for each of the R clips; the first one's chooses the frames.

    Returns:
      uint8 [R, T, P, P, 3], and the draws for `augment.apply`, with a first axis R.
    """
    offset_seed, *_ = tf.unstack(tf.random.split(seeds[0], 2))
    used, position = tf.unique(sampling.train_indices(tf.shape(frames)[0], clip, offset_seed))
    sampled = tf.gather(frames, used)
    size = images.resized_size(images.frame_size(sampled[0]), clip.min_resize)
    drawn = [augment.draw(size, clip, augmentation, tf.random.split(seed, 2)[1]) for seed in seeds]
    corners, draws = tf.nest.map_structure(lambda *values: tf.stack(values), *drawn)
    starts = tf.unstack(tf.pad(corners, [[0, 0], [0, 1]]))
    side = augment.window_size(clip, augmentation)

    def windows(frame):
        return tf.stack([augment.window(frame, start, side, clip.min_resize) for start in starts])

    pixels = images.resize_smallest(sampled, clip.min_resize, windows, (len(seeds), side, side, 3))
    # A short video loops: each of its frames is decoded once.
    pixels = tf.cond(tf.size(used) < clip.num_frames, lambda: tf.gather(pixels, position), lambda: pixels)
    pixels = tf.ensure_shape(pixels, [clip.num_frames, len(seeds), side, side, 3])
    if len(seeds) == 1:
        # As the transposition, without a copy.
        return tf.reshape(pixels, [1, clip.num_frames, side, side, 3]), draws
    return tf.transpose(pixels, [1, 0, 2, 3, 4]), draws
