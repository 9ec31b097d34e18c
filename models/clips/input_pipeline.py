"""From files of clips to batches: training data that can be resumed at any step, and evaluation data.

A `Source` names files and how to parse them: `transformed_source` for Transform's output; `sequence_examples` has that
for DMVR's records. An element is a dict: "clip" uint8, "labels" {head: int32 [B]}, "id" string [B]; training adds
"draws", the `Draws` that `augment.apply` needs on the device. Serialised clips are read, shuffled and skipped; only the
frames that a clip uses are decoded. Order and draws depend on `seed` and on the position in the stream, not on timing.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import math
from collections.abc import Callable, Sequence

import tensorflow as tf

from models.clips import augment, images, sampling
from models.clips.augment import AugmentConfig, Draws
from models.clips.sampling import ClipConfig, ViewsConfig
from schemas import features
from schemas.features import Storage

_FILES_AT_ONCE = 16
_CLIPS_OF_A_FILE_IN_A_ROW = 16
_BATCHES_AHEAD = 2


@dataclasses.dataclass(frozen=True)
class Source:
    """Files of serialised clips.

    Attributes:
      files: TFRecords; training shuffles them, evaluation reads them in this order.
      compression: Compression of the files, as TensorFlow names it; "" for none.
      parse: From a serialised clip (string scalar) to its stored frames, string [n] or uint8 [n, h, w, 3], and
        {"id": string scalar, "labels": {head: int32 scalar}}.
    """

    files: tuple[str, ...]
    compression: str
    parse: Callable[[tf.Tensor], tuple[tf.Tensor, dict]]

    def __post_init__(self):
        if not self.files:
            raise ValueError("Source.files must name at least one file, got none: is the split empty?")

    def of_host(self, index: int, hosts: int) -> Source:
        """The part that host `index` of `hosts` reads: every `hosts`-th file.

        Raises:
          ValueError: fewer files than hosts.
        """
        if len(self.files) < hosts:
            raise ValueError(f"{hosts} hosts cannot share {len(self.files)} files: write at least {hosts} shards.")
        return dataclasses.replace(self, files=self.files[index::hosts])

    def records(self, files: tf.Tensor | None = None) -> tf.data.Dataset:
        """Serialised clips of `files`, string [n], or of all, several files at a time, in an order that is fixed."""
        files = tf.constant(self.files) if files is None else files
        return tf.data.Dataset.from_tensor_slices(files).interleave(
            lambda file: tf.data.TFRecordDataset(file, compression_type=self.compression),
            cycle_length=_FILES_AT_ONCE,
            block_length=_CLIPS_OF_A_FILE_IN_A_ROW,
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )

    def count_labels(self) -> dict[str, dict[int, int]]:
        """Number of clips by class id, for each head, in one pass; each head's values sum to the clips."""
        counts: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
        labels = self.records().map(lambda serialised: self.parse(serialised)[1]["labels"], tf.data.AUTOTUNE)
        for batch in labels.batch(256).as_numpy_iterator():
            for head, ids in batch.items():
                counts[head].update(ids.tolist())
        return {head: dict(sorted(count.items())) for head, count in counts.items()}


def transformed_source(files: Sequence[str], heads: Sequence[str], storage: Storage) -> Source:
    """Transform's output: TFRecords of `schemas.features.transformed_spec(heads, storage)`, in sorted order."""
    spec = features.transformed_spec(heads, storage)

    def parse(serialised):
        parsed = tf.io.parse_single_example(serialised, spec)
        labels = {head: tf.cast(parsed[features.label_id_key(head)], tf.int32) for head in heads}
        return images.stored_frames(parsed[features.CLIP_FRAMES]), {"id": parsed[features.CLIP_ID], "labels": labels}

    return Source(tuple(sorted(files)), features.COMPRESSION, parse)


def train_dataset(
    source: Source,
    *,
    clip: ClipConfig,
    augmentation: AugmentConfig,
    batch_size: int,
    num_examples: int,
    seed: int,
    start_step: int = 0,
    shuffle_buffer: int = 1024,
) -> tf.data.Dataset:
    """Endless training batches; `start_step` = s gives the batches of step 0's dataset after the first s.

    Every epoch sees every clip once, in an order of its own. A resumed dataset starts in the epoch that `start_step`
    falls into and reads, without decoding, what that epoch has already seen.

    Args:
      source: Clips of this host.
      clip: What a clip is.
      augmentation: What is drawn for each clip.
      batch_size: Clips per batch of this host, B.
      num_examples: Clips in `source` (see `Source.count_labels`).
      seed: Seed of the order and of every draw.
      start_step: Batches already consumed.
      shuffle_buffer: Serialised clips held in memory to be shuffled.

    Returns:
      Dataset of {"clip": uint8 [B, T, P, P, 3] (P of `augment.window_size`), "draws": `Draws` of [B, ...],
      "labels": {head: int32 [B]}, "id": string [B]}.

    Raises:
      ValueError: no examples, or an augmentation that the clip's sizes do not allow.
    """
    if num_examples < 1:
        raise ValueError(f"train_dataset needs num_examples of 1 or more, got {num_examples}.")
    augment.window_size(clip, augmentation)
    start = start_step * batch_size
    first_epoch = start // num_examples

    def epoch(number):
        order = tf.random.experimental.stateless_shuffle(tf.constant(source.files), tf.stack([seed, number]))
        return source.records(order).shuffle(shuffle_buffer, seed=seed + number)

    def example(position, serialised):
        draw_seed = tf.stack([tf.constant(seed, tf.int64), position])
        frames, element = source.parse(serialised)
        pixels, draws = training_clip(frames, clip, augmentation, draw_seed)
        return element | {"clip": pixels, "draws": draws}

    dataset = tf.data.Dataset.range(first_epoch, tf.int64.max).flat_map(epoch)
    dataset = dataset.enumerate(start=first_epoch * num_examples).skip(start - first_epoch * num_examples)
    dataset = dataset.map(example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    # Not AUTOTUNE, which lets buffers of whole batches grow while the device is the slower part.
    dataset = dataset.batch(batch_size, drop_remainder=True, num_parallel_calls=_BATCHES_AHEAD)
    return dataset.prefetch(_BATCHES_AHEAD)


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
      "id": string [B]}.
    """
    viewed = _viewed(source.records(), source, clip, views)
    return viewed.batch(batch_size, num_parallel_calls=_BATCHES_AHEAD).prefetch(_BATCHES_AHEAD)


def score_dataset(
    source: Source,
    *,
    clip: ClipConfig,
    batch_size: int,
    num_examples: int,
    devices: int = 1,
    host: int = 0,
    hosts: int = 1,
) -> tf.data.Dataset:
    """One pass over the centre views in whole batches, as many for each device of each host.

    Each host reads all clips and decodes every `hosts`-th.

    Args:
      source: Clips of all hosts.
      clip: What a clip is.
      batch_size: Clips per batch of one device, B.
      num_examples: Clips in `source`.
      devices: Devices of this host, which take batches in turn.
      host: Index of this host.
      hosts: Number of hosts.

    Returns:
      Dataset of {"clip": uint8 [B, T, S, S, 3], "labels": {head: int32 [B]}, "mask": float32 [B], 0 for the clips that
      fill up the last batches}.
    """
    viewed = _viewed(source.records().shard(hosts, host), source, clip, None)
    masked = viewed.map(lambda element: {"clip": element["clip"], "labels": element["labels"], "mask": 1.0})
    nothing = tf.nest.map_structure(lambda spec: tf.zeros(spec.shape, spec.dtype), masked.element_spec)
    batches = devices * math.ceil(math.ceil(num_examples / hosts) / (devices * batch_size))
    filled = masked.concatenate(tf.data.Dataset.from_tensors(nothing).repeat()).take(batches * batch_size)
    batched = filled.batch(batch_size, drop_remainder=True, num_parallel_calls=_BATCHES_AHEAD)
    return batched.prefetch(_BATCHES_AHEAD)


def _viewed(records: tf.data.Dataset, source: Source, clip: ClipConfig, views: ViewsConfig | None) -> tf.data.Dataset:
    def example(serialised):
        frames, element = source.parse(serialised)
        pixels = images.make_views(frames, clip, views or sampling.CENTRE_VIEW)
        return element | {"clip": pixels if views else pixels[0]}

    return records.map(example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def training_clip(
    frames: tf.Tensor, clip: ClipConfig, augmentation: AugmentConfig, seed: tf.Tensor
) -> tuple[tf.Tensor, Draws]:
    """One random clip of a video: sampled, decoded, resized to the short side, cut to its window.

    Args:
      frames: string [n] of JPEG bytes or uint8 [n, h, w, 3].
      clip: What a clip is.
      augmentation: What is drawn.
      seed: int [2].

    Returns:
      uint8 [T, P, P, 3], and the draws for `augment.apply`.
    """
    offset_seed, draw_seed = tf.unstack(tf.random.split(seed, 2))
    used, position = tf.unique(sampling.train_indices(tf.shape(frames)[0], clip, offset_seed))
    sampled = tf.gather(frames, used)
    size = images.resized_size(images.frame_size(sampled[0]), clip.min_resize)
    corner, draws = augment.draw(size, clip, augmentation, draw_seed)
    side = augment.window_size(clip, augmentation)
    start = tf.concat([corner, [0]], axis=0)
    window = functools.partial(augment.window, start=start, side=side, smallest=clip.min_resize)
    pixels = images.resize_smallest(sampled, clip.min_resize, window, (side, side, 3))
    # A short video loops: each of its frames is decoded once.
    pixels = tf.cond(tf.size(used) < clip.num_frames, lambda: tf.gather(pixels, position), lambda: pixels)
    return tf.ensure_shape(pixels, [clip.num_frames, side, side, 3]), draws
