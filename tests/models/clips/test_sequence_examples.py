"""models.clips.sequence_examples on records that DMVR's own generator wrote."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from models.clips import input_pipeline
from models.clips import sequence_examples as dmvr
from models.clips.augment import NO_AUGMENTATION
from models.clips.sampling import ClipConfig

RECORDS = str(Path(__file__).parents[2] / "golden" / "preprocessing" / "records")
TABLE = "validation.tfrecord@2"
CLIP = ClipConfig(num_frames=8, stride=1, min_resize=36, crop_size=32)


def test_records_train_and_evaluate_as_any_source():
    source = dmvr.source(TABLE, RECORDS, heads={"label": 5})
    assert source.count_labels() == {"label": {0: 2, 1: 1}}
    batch = next(iter(input_pipeline.eval_dataset(source, clip=CLIP, batch_size=3)))
    expected = np.load(RECORDS + "/expected.npz")
    np.testing.assert_array_equal(batch["clip"], expected["validation_centre/inputs_uint8"])
    np.testing.assert_array_equal(batch["labels"]["label"], expected["validation_centre/label"].argmax(-1))
    assert batch["id"].numpy().tolist() == [b"v0.mp4@0", b"v2.mp4@500000", b"v1.mp4@200000"]
    training = input_pipeline.train_dataset(source, clip=CLIP, augmentation=NO_AUGMENTATION, batch_size=2, seed=0)
    assert next(iter(training))["clip"].shape == (2, 8, 32, 32, 3)


def test_indices_are_shifted_and_shared_between_heads(tmp_path):
    example = tf.train.SequenceExample()
    example.context.feature["clip/label/index"].int64_list.value.extend([1 + 7, 1 + 300 + 42])
    example.context.feature["video/filename"].bytes_list.value.append(b"P01.mp4")
    example.feature_lists.feature_list["image/encoded"].feature.add().bytes_list.value.append(b"jpeg")
    with tf.io.TFRecordWriter(str(tmp_path / "epic")) as writer:
        writer.write(example.SerializeToString())
    source = dmvr.source("epic", str(tmp_path), heads={"noun": 300, "verb": 97}, offset=1)
    assert source.count_labels() == {"noun": {7: 1}, "verb": {42: 1}}
    with pytest.raises(tf.errors.InvalidArgumentError, match="P01.mp4@0"):
        dmvr.source("epic", str(tmp_path), heads={"noun": 300, "verb": 97}, offset=2 + 7).count_labels()
    vector = dmvr.label_vector(tf.constant([3, 1], tf.int64), 4)
    np.testing.assert_array_equal(vector, [0, 1, 0, 1])
