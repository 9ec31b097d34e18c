"""From files of clips to batches: training data that can be resumed at any step, and evaluation data.

A `Source` names files and how to parse them: `transformed_source` for Transform's output; `sequence_examples` has that
for DMVR's records. An element is a dict: "clip" uint8, "labels" {head: int32 [B]}, "id" and "group" string [B];
training adds "draws", the `Draws` that `augment.apply` needs on the device. Serialised clips are read, shuffled and
skipped; only the frames that a clip uses are decoded. Order and draws depend on `seed` and on the position in the
stream, not on timing.
"""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from models.clips import augment, images, sampling
from models.clips.augment import AugmentConfig, Draws
from models.clips.balance import balanced_copies
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
        {"id": string scalar, "group": string scalar, the source video's name, "labels": {head: int32 scalar}}.
      keep: From a serialised clip to whether it belongs to the source, bool scalar; None for all of the files.
    """

    files: tuple[str, ...]
    compression: str
    parse: Callable[[tf.Tensor], tuple[tf.Tensor, dict]]
    keep: Callable[[tf.Tensor], tf.Tensor] | None = None

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

    def groups(self) -> list[str]:
        """The group of each clip in reading order, in one pass."""
        found = self.records().map(lambda serialised: self.parse(serialised)[1]["group"], tf.data.AUTOTUNE)
        return [group.decode() for batch in found.batch(256).as_numpy_iterator() for group in batch]

    def only(self, groups: Sequence[str], *, inside: bool) -> Source:
        """The clips of some groups, or of all others."""
        named = tf.constant(list(groups))

        def keep(serialised):
            is_named = tf.reduce_any(self.parse(serialised)[1]["group"] == named)
            return is_named if inside else ~is_named

        return dataclasses.replace(self, keep=keep)

    def records(self, files: tf.Tensor | None = None, copies: tf.RaggedTensor | None = None) -> tf.data.Dataset:
        """Serialised clips of `files`, string [n], or of all, several files at a time, in an order that is fixed.

        `copies`, int64 [n, None], says how often each clip of each file comes up, several times in a row; None is once.
        """

        def read(file):
            clips = tf.data.TFRecordDataset(file, compression_type=self.compression)
            return clips.filter(self.keep) if self.keep else clips

        def read_copies(file, of_file):
            counted = tf.data.Dataset.zip((read(file), tf.data.Dataset.from_tensor_slices(of_file)))
            return counted.flat_map(lambda serialised, count: tf.data.Dataset.from_tensors(serialised).repeat(count))

        files = tf.constant(self.files) if files is None else files
        return tf.data.Dataset.from_tensor_slices(files if copies is None else (files, copies)).interleave(
            read if copies is None else read_copies,
            cycle_length=_FILES_AT_ONCE,
            block_length=_CLIPS_OF_A_FILE_IN_A_ROW,
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )

    def labels(self, head: str) -> list[np.ndarray]:
        """Class ids of a head by file, int32 [clips] each, in reading order."""
        one_file_each = (dataclasses.replace(self, files=(file,)) for file in self.files)
        labels = [
            source.records().map(lambda serialised: self.parse(serialised)[1]["labels"][head], tf.data.AUTOTUNE)
            for source in one_file_each
        ]
        return [np.fromiter(of_file.as_numpy_iterator(), np.int32) for of_file in labels]

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
        texts = {"id": parsed[features.CLIP_ID], "group": parsed[features.CLIP_GROUP]}
        return images.stored_frames(parsed[features.CLIP_FRAMES]), texts | {"labels": labels}

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
    balance: str | None = None,
    shuffle_buffer: int = 1024,
) -> tf.data.Dataset:
    """Endless training batches; `start_step` = s gives the batches of step 0's dataset after the first s.

    Every pass reads every clip once, in an order of its own; with `augmentation.repeats` R, it shows each R times in a
    row. A resumed dataset starts in the pass that `start_step` falls into and reads, without decoding, what that pass
    has already seen.

    Args:
      source: Clips of this host.
      clip: What a clip is.
      augmentation: What is drawn for each clip.
      batch_size: Clips per batch of this host, B; a multiple of R.
      num_examples: Clips in `source` (see `Source.count_labels`).
      seed: Seed of the order and of every draw.
      start_step: Batches already consumed.
      balance: Head whose classes come up equally often: a pass then shows N clips too, some not at all and some several
        times (see `models.clips.balance`). Costs one more reading of the labels, now. None shows each clip once.
      shuffle_buffer: Serialised clips held in memory to be shuffled.

    Returns:
      Dataset of {"clip": uint8 [B, T, P, P, 3] (P of `augment.window_size`), "draws": `Draws` of [B, ...],
      "labels": {head: int32 [B]}, "id" and "group": string [B]}.

    Raises:
      ValueError: no examples, or an augmentation that the clip's sizes or the batch's do not allow.
    """
    if num_examples < 1:
        raise ValueError(f"train_dataset needs num_examples of 1 or more, got {num_examples}.")
    augment.window_size(clip, augmentation)
    repeats = augmentation.repeats
    if batch_size % repeats:
        raise ValueError(f"augment.repeats={repeats} does not divide the batch of {batch_size} clips of a device")
    # Counted in clips that are read.
    start = start_step * batch_size // repeats
    first_epoch = start // num_examples

    if balance:
        classes = source.labels(balance)
        copies_in = balanced_copies(np.concatenate(classes), seed)
        lengths = [len(of_file) for of_file in classes]

    def epoch(number):
        order = tf.random.experimental.stateless_shuffle(tf.range(len(source.files)), tf.stack([seed, number]))
        copies = tf.gather(tf.RaggedTensor.from_row_lengths(copies_in(number), lengths), order) if balance else None
        records = source.records(tf.gather(tf.constant(source.files), order), copies)
        return records.shuffle(shuffle_buffer, seed=seed + number)

    def example(position, serialised):
        seeds = [tf.stack([tf.constant(seed, tf.int64), position * repeats + index]) for index in range(repeats)]
        frames, element = source.parse(serialised)
        pixels, draws = training_clips(frames, clip, augmentation, seeds)
        same = tf.nest.map_structure(lambda value: tf.stack([value] * repeats), element)
        return same | {"clip": pixels, "draws": draws}

    dataset = tf.data.Dataset.range(first_epoch, tf.int64.max).flat_map(epoch)
    dataset = dataset.enumerate(start=first_epoch * num_examples).skip(start - first_epoch * num_examples)
    dataset = dataset.map(example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return _batched(dataset, batch_size, drop_remainder=True, repeats=repeats)


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
    def example(serialised):
        frames, element = source.parse(serialised)
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
