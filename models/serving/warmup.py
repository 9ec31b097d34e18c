"""Warm-up requests: what a model server runs through a model before it takes traffic, so that no client waits for it.

Contract: one request for each signature that answers clients, of the first frames of one clip, as many as fit in
`MOST_BYTES`. The file is small whatever the clips are, and what goes through the network has the shape of every clip.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping

import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from schemas import features, serving

# Of the frames of one request.
MOST_BYTES = 150_000


def black_frame(side: int) -> bytes:
    """A JPEG of `side` pixels a side, for a model that comes without clips."""
    return tf.io.encode_jpeg(tf.zeros([side, side, 3], tf.uint8)).numpy()


def write_warmup(model_dir: str, frames: Iterable[bytes], signatures: Collection[str]) -> None:
    """Writes the requests into a SavedModel.

    Args:
      model_dir: The SavedModel, any URI that TensorFlow writes.
      frames: JPEG frames of a clip, one or more, in time order. The first that does not fit ends them, unless it is the
        only one; no more are taken.
      signatures: Those of the model.
    """
    jpegs = list(_fitting(frames))
    example = tf.train.Example()
    example.features.feature[features.CLIP_FRAMES].bytes_list.value.extend(jpegs)
    examples = {serving.EXAMPLES_INPUT: tf.constant([example.SerializeToString()])}
    frames = {serving.FRAMES_INPUT: tf.constant([jpegs]), serving.NUM_FRAMES_INPUT: tf.constant([len(jpegs)])}
    with tf.io.TFRecordWriter(os.path.join(model_dir, serving.WARMUP_REQUESTS)) as writer:
        for name in serving.WARMED_UP:
            if name in signatures:
                inputs = examples if name == serving.EXAMPLES_SIGNATURE else frames
                writer.write(_request(name, inputs).SerializeToString(deterministic=True))


def _fitting(frames: Iterable[bytes]) -> Iterator[bytes]:
    taken = 0
    for frame in frames:
        if taken and taken + len(frame) > MOST_BYTES:
            return
        taken += len(frame)
        yield frame


def _request(signature: str, inputs: Mapping[str, tf.Tensor]) -> prediction_log_pb2.PredictionLog:
    log = prediction_log_pb2.PredictionLog()
    request = log.predict_log.request
    request.model_spec.signature_name = signature
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value.numpy()))
    return log
