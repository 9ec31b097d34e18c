"""Transform, whose examples are indexes of clips: where each is, and its class ids, but not its frames a second time.

With storage "jpeg" an index names the shard that the ingest wrote. With "raw" it names a copy of it whose frames are
decoded once, here. What training has to know of its clips before it reads them, counts and classes and groups, is in
the indexes, so that it reads nothing else before its first step.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import apache_beam as beam
import tensorflow as tf
import tensorflow_transform as tft
from tfx.components import Transform
from tfx.components.transform.executor import Executor
from tfx.dsl.components.base.executor_spec import BeamExecutorSpec
from tfx.types import artifact_utils
from tfx.types.standard_component_specs import (
    CUSTOM_CONFIG_KEY,
    EXAMPLES_KEY,
    TRANSFORM_GRAPH_KEY,
    TRANSFORMED_EXAMPLES_KEY,
)

from components.storage import folders
from models.clips.images import decode_frame
from pipeline.nodes.transform import read_classes
from schemas import features
from schemas.clip_index import ClipIndex, IndexedClip, index_name, index_path, write_indexed
from schemas.features import Storage


class ShardPaths(NamedTuple):
    """A shard of the ingest, the index that Transform writes for it, and its copy with storage "raw"."""

    examples: str
    shard: str
    index: str
    copy: str


class ClipTransformExecutor(Executor):
    """Computes the classes as TFX does, and writes the indexes in place of its examples."""

    def Do(self, input_dict, output_dict, exec_properties) -> None:  # noqa: N802 (TFX's name)
        """Writes the transform graph and the indexes."""
        # Without examples to write, TFX analyses the labels and transforms nothing.
        others = {key: value for key, value in output_dict.items() if key != TRANSFORMED_EXAMPLES_KEY}
        super().Do(input_dict, others, exec_properties)
        examples = artifact_utils.get_single_instance(input_dict[EXAMPLES_KEY])
        written = artifact_utils.get_single_instance(output_dict[TRANSFORMED_EXAMPLES_KEY])
        graph = tft.TFTransformOutput(artifact_utils.get_single_uri(output_dict[TRANSFORM_GRAPH_KEY]))
        config = json.loads(exec_properties[CUSTOM_CONFIG_KEY])
        classes = {head: read_classes(graph, head) for head in config["heads"]}
        splits = artifact_utils.decode_split_names(examples.split_names)
        shards = list(shards_of(examples.uri, written.uri, splits))
        with self._make_beam_pipeline() as pipeline:
            _ = (
                pipeline
                | "Shards" >> beam.Create(shards)
                | "Spread" >> beam.Reshuffle()
                | "Index" >> beam.Map(index_shard, classes, config["storage"])
            )
        written.split_names = examples.split_names


class ClipTransform(Transform):
    """TFX's Transform with our executor."""

    EXECUTOR_SPEC = BeamExecutorSpec(ClipTransformExecutor)


def shards_of(examples: str, written: str, splits: Sequence[str]) -> Iterator[ShardPaths]:
    """The shards of the examples of an ingest, and what stands for each below `written` (any URIs)."""
    for split in (f"Split-{split}" for split in splits):
        tf.io.gfile.makedirs(os.path.join(written, split))
        for name in sorted(folders.names(os.path.join(examples, split))):
            copy = os.path.join(written, "clips", split, name.removesuffix(".gz"))
            index = os.path.join(written, split, index_name(name))
            yield ShardPaths(examples, os.path.join(examples, split, name), index, copy)


def index_shard(paths: ShardPaths, classes: Mapping[str, Sequence[str]], storage: Storage) -> None:
    """Writes the index of one shard with class ids, -1 for a name that is no class, and with storage "raw" its copy."""
    ingested = ClipIndex.read(index_path(paths.shard))
    labels = {}
    for head, names in classes.items():
        ids = {name: number for number, name in enumerate(names)}
        labels[head] = [ids.get(name, -1) for name in ingested.labels.get(head, ())]
    if storage == "jpeg":
        dataclasses.replace(ingested, shard=paths.shard, labels=labels).write(paths.index)
        return
    clips = (
        IndexedClip(record, group, {head: ids[number] for head, ids in labels.items()})
        for number, (record, group) in enumerate(zip(decoded_records(paths.shard), ingested.groups, strict=True))
    )
    write_indexed(paths.copy, paths.index, clips)


def decoded_records(shard: str) -> Iterator[bytes]:
    """The clips of a shard, each one's frames one serialised uint8 tensor [T, H, W, 3]."""

    def decode(serialised):
        clip = tf.io.parse_single_example(serialised, spec)
        decoded = tf.map_fn(decode_frame, clip[features.CLIP_FRAMES].values, fn_output_signature=tf.uint8)
        return clip[features.CLIP_ID], clip[features.CLIP_GROUP], tf.io.serialize_tensor(decoded)

    spec = {key: tf.io.FixedLenFeature([], tf.string) for key in (features.CLIP_ID, features.CLIP_GROUP)}
    spec |= features.frames_spec()
    # A clip at a time, whose frames may be 65 MB and are decoded side by side; the next while this one is written.
    decoded = tf.data.TFRecordDataset(shard, features.COMPRESSION).map(decode).prefetch(1)
    for clip_id, group, frames in decoded.as_numpy_iterator():
        example = features.raw_storage_example(clip_id.decode(), group.decode(), frames)
        yield example.SerializeToString(deterministic=True)
