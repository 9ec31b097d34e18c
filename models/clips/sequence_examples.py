"""DMVR's TFRecords (and MediaSequence's) as a source of clips, as they are: existing preprocessed Kinetics can be used.

A record is a tf.train.SequenceExample with the feature list ``image/encoded``, one JPEG per frame, and the context
``clip/label/index``, one or several class indices (spec §4.1).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from models.clips.source import Source, indexed_source
from schemas import sequence_examples as dmvr
from schemas.clip_index import FOOTER_BYTES, HEADER_BYTES, ClipIndex

_CONTEXT = {
    dmvr.LABEL_INDICES: tf.io.VarLenFeature(tf.int64),
    dmvr.START: tf.io.FixedLenFeature([], tf.int64, 0),
    dmvr.FILENAME: tf.io.FixedLenFeature([], tf.string, ""),
}
_SEQUENCE = {dmvr.FRAMES: tf.io.FixedLenSequenceFeature([], tf.string)}


def parse(serialised: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Frames string [n], label indices int64 [k] and id (file name and start in microseconds) of one record.

    Raises:
      tf.errors.InvalidArgumentError: the record is no SequenceExample with these features.
    """
    context, sequence = tf.io.parse_single_sequence_example(serialised, _CONTEXT, _SEQUENCE)
    start = tf.strings.as_string(context[dmvr.START])
    clip_id = tf.strings.join([context[dmvr.FILENAME], start], separator="@")
    return sequence[dmvr.FRAMES], context[dmvr.LABEL_INDICES].values, clip_id


def label_vector(indices: tf.Tensor, classes: int, offset: int = 0) -> tf.Tensor:
    """Sum of the one-hot rows of int64 [k] less `offset`: float32 [classes], the reference's label."""
    return tf.reduce_sum(tf.one_hot(indices - offset, classes), axis=0)


def source(table: str | Sequence[str], base_dir: str, *, heads: Mapping[str, int], offset: int = 0) -> Source:
    """A table of DMVR records as a source for `models.clips.input_pipeline`; reads all of it once, for the labels.

    Args:
      table: See `schemas.sequence_examples.expand_table`.
      base_dir: Folder of the table.
      heads: Number of classes by head, in the order in which the records number them: EPIC-KITCHENS' records hold
        the indices noun and 300 + verb, which are {"noun": 300, "verb": 97}.
      offset: Subtracted from every index.

    Raises:
      tf.errors.InvalidArgumentError: a record without exactly one label for a head; it names the clip.
    """

    def labels_of(indices, clip_id):
        vector = label_vector(indices, sum(heads.values()), offset)
        labels = {}
        for head, part in zip(heads, tf.split(vector, list(heads.values())), strict=True):
            message = [f"One label for head '{head}' is needed; clip and its label indices:", clip_id, indices]
            with tf.control_dependencies([tf.debugging.Assert(tf.reduce_sum(part) == 1.0, message)]):
                labels[head] = tf.argmax(part, output_type=tf.int32)
        return labels

    indexes = [index_of(path, labels_of) for path in dmvr.expand_table(table, base_dir)]
    return indexed_source(indexes, list(heads), parse_texts)


def parse_texts(serialised: tf.Tensor) -> tuple[tf.Tensor, dict]:
    """Frames of one record, its id, and as its group the file name; see `Source.parse`."""
    frames, _, clip_id = parse(serialised)
    return frames, {"id": clip_id, "group": _group(clip_id)}


def index_of(path: str, labels_of: Callable[[tf.Tensor, tf.Tensor], dict] = lambda indices, clip_id: {}) -> ClipIndex:
    """The index of a file of records, all of which are read.

    Args:
      path: An uncompressed TFRecord file.
      labels_of: From label indices and id of a record to class ids by head, int32 scalars.
    """

    def known(serialised):
        _, indices, clip_id = parse(serialised)
        length = tf.strings.length(serialised) + HEADER_BYTES + FOOTER_BYTES
        return length, _group(clip_id), labels_of(indices, clip_id)

    found = list(tf.data.TFRecordDataset(path).map(known, tf.data.AUTOTUNE).as_numpy_iterator())
    lengths = [int(length) for length, _, _ in found]
    offsets = (np.cumsum(lengths, dtype=np.int64) - lengths).tolist()
    labels = {head: [int(of_clip[head]) for _, _, of_clip in found] for head in (found[0][2] if found else {})}
    return ClipIndex(path, "", offsets, lengths, [group.decode() for _, group, _ in found], labels)


def _group(clip_id: tf.Tensor) -> tf.Tensor:
    return tf.strings.regex_replace(clip_id, "@[^@]*$", "")
