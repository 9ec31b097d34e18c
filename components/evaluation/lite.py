"""Runs a network of TensorFlow Lite as the signature `network` of a SavedModel runs."""

from __future__ import annotations

import os

import numpy as np
import tensorflow as tf

from components.storage.cores import cores
from schemas import serving


class LiteNetwork:
    """Clips to outputs, a clip at a time, on all cores of this process.

    Raises:
      ValueError: If the file is none of TensorFlow Lite's.
    """

    def __init__(self, folder: str):
        with tf.io.gfile.GFile(os.path.join(folder, serving.LITE_FILE), "rb") as file:
            content = file.read()
        interpreter = tf.lite.Interpreter(model_content=content, num_threads=cores())
        self._run = interpreter.get_signature_runner()

    def __call__(self, *, clips: tf.Tensor) -> dict[str, tf.Tensor]:
        """Clips, uint8 [N, T, H, W, 3], to the outputs of the network by key, float32 [N, ...]."""
        rows = [self._run(**{serving.CLIPS: clip[np.newaxis]}) for clip in np.asarray(clips)]
        return {key: tf.constant(np.concatenate([row[key] for row in rows])) for key in rows[0]}
