"""The TensorFlow Metadata schema of a data set: the curated part (video.pbtxt) plus its label heads and slices."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from schemas import features

CURATED = Path(__file__).with_name("video.pbtxt")


def build_schema(heads: Sequence[str], slices: Sequence[str] = ()) -> schema_pb2.Schema:
    """Builds the schema that ExampleValidator checks the raw examples against.

    Args:
      heads: Names of the label heads; each must be present in every clip, with one class name: Transform makes one id.
      slices: Names of the slice columns; each has at most one value per clip and may be absent.
    """
    schema = text_format.Parse(CURATED.read_text(), schema_pb2.Schema())
    for head in heads:
        feature = schema.feature.add(name=features.label_key(head), type=schema_pb2.BYTES)
        feature.presence.min_fraction = 1.0
        feature.presence.min_count = 1
        feature.value_count.min = feature.value_count.max = 1
    for name in slices:
        feature = schema.feature.add(name=features.slice_key(name), type=schema_pb2.BYTES)
        feature.value_count.max = 1
    return schema
