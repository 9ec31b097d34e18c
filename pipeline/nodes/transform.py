"""Transform's preprocessing_fn: turns class names into ids.

Contract: it sees labels only, never frames. Ids follow the alphabetical order of the class names of the training split,
whatever their frequencies, so that they agree with the published class lists.
"""

from __future__ import annotations

import os
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam

from schemas import features


def preprocessing_fn(inputs: dict[str, Any], custom_config: dict[str, Any]) -> dict[str, Any]:
    """Turns the class names of a batch of raw examples into ids.

    Args:
      inputs: Sparse features of schemas/features.py.
      custom_config: "heads", the label heads to train.

    Returns:
      Ids, int64 [B], under `features.label_id_key` of each head.
    """
    return {
        features.label_id_key(head): _class_id(_one_value(inputs[features.label_key(head)]), head)
        for head in custom_config["heads"]
    }


def read_classes(transform_output: tft.TFTransformOutput, head: str) -> list[str]:
    """Class names of a head in the order of their ids."""
    names = transform_output.vocabulary_by_name(features.classes_asset(head))
    return [name.decode() for name in names]


def _one_value(values: tf.SparseTensor) -> tf.Tensor:
    """The single value of each example, string [B]."""
    return tf.squeeze(tft.sparse_tensor_to_dense_with_shape(values, [None, 1], default_value=""), axis=1)


def _class_id(names: tf.Tensor, head: str) -> tf.Tensor:
    """Ids of class names, int64 [B]; -1 for a name that the training split does not have."""
    asset = features.classes_asset(head)
    (classes_path,) = tft.experimental.ptransform_analyzer(
        [names],
        _WriteClassNames(asset),
        output_dtypes=[tf.string],
        output_shapes=[[]],
        output_asset_default_values=[b"class"],
        name=asset,
    )
    tft.annotators.annotate_asset(asset, asset)
    return tft.apply_vocabulary(names, classes_path, default_value=-1)


class _WriteClassNames(tft_beam.experimental.PTransformAnalyzer):
    """Writes the distinct class names, sorted, one per line (tft.vocabulary sorts by frequency); returns the path."""

    def __init__(self, filename: str):
        super().__init__()
        self._filename = filename

    def expand(self, batches: beam.PCollection) -> beam.PCollection:
        return (
            batches
            | "Names" >> beam.FlatMap(lambda batch: batch[0].tolist())
            | "Distinct" >> beam.Distinct()
            | "Together" >> beam.combiners.ToList()
            | "Write" >> beam.Map(_write_lines, os.path.join(self.base_temp_dir, self._filename))
        )


def _write_lines(names: list[bytes], path: str) -> np.ndarray:
    tf.io.gfile.makedirs(os.path.dirname(path))
    with tf.io.gfile.GFile(path, "wb") as file:
        file.write(b"".join(name + b"\n" for name in sorted(names)))
    return np.array(path.encode(), dtype=object)
