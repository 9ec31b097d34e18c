"""ClipHasher: perceptual hashes of all clips, by which the review finds evaluated clips that were trained on."""

from __future__ import annotations

import io
import os

import apache_beam as beam
import numpy as np
import tensorflow as tf
from tfx.dsl.components.base import base_beam_component, base_beam_executor, executor_spec
from tfx.types import artifact_utils, channel, standard_artifacts
from tfx.types.artifact import Artifact
from tfx.types.component_spec import ChannelParameter, ComponentSpec

from components.evaluation.duplicates.hashes import clip_hash
from schemas import features


class ClipHashes(Artifact):
    """Hashes of the clips: one ``<split>.npz`` per split, with their ids."""

    # Kubeflow imports the class by this name; see components/__init__.py.
    TYPE_NAME = "components.ClipHashes"


class ClipHasherSpec(ComponentSpec):
    """Raw examples in, hashes out."""

    PARAMETERS = {}
    INPUTS = {"examples": ChannelParameter(type=standard_artifacts.Examples)}
    OUTPUTS = {"hashes": ChannelParameter(type=ClipHashes)}


class ClipHasherExecutor(base_beam_executor.BaseBeamExecutor):
    """Hashes the clips with Beam."""

    def Do(self, input_dict, output_dict, exec_properties) -> None:  # noqa: N802 (TFX's name)
        """Writes a file per split."""
        self._log_startup(input_dict, output_dict, exec_properties)
        examples = artifact_utils.get_single_instance(input_dict["examples"])
        output = artifact_utils.get_single_uri(output_dict["hashes"])
        tf.io.gfile.makedirs(output)
        with self._make_beam_pipeline() as pipeline:
            for split in artifact_utils.decode_split_names(examples.split_names):
                folder = artifact_utils.get_split_uri([examples], split)
                _ = (
                    pipeline
                    | f"Shards of {split}" >> beam.Create(sorted(tf.io.gfile.glob(os.path.join(folder, "*"))))
                    | f"Spread {split}" >> beam.Reshuffle()
                    | f"Hash {split}" >> beam.FlatMap(_hashes_of_shard)
                    | f"Gather {split}" >> beam.combiners.ToList()
                    | f"Write {split}" >> beam.Map(_write, os.path.join(output, f"{split}.npz"))
                )


def _hashes_of_shard(path: str):
    for record in tf.data.TFRecordDataset(path, compression_type=features.COMPRESSION).as_numpy_iterator():
        feature = tf.train.Example.FromString(record).features.feature
        clip_id = feature[features.CLIP_ID].bytes_list.value[0].decode()
        yield clip_id, clip_hash(feature[features.CLIP_FRAMES].bytes_list.value)


def _write(rows: list[tuple[str, np.ndarray]], path: str) -> None:
    rows = sorted(rows, key=lambda row: row[0])
    buffer = io.BytesIO()
    ids, hashes = [clip_id for clip_id, _ in rows], np.array([of for _, of in rows], np.uint64)
    np.savez_compressed(buffer, ids=np.array(ids, np.str_), hashes=hashes)
    with tf.io.gfile.GFile(path, "wb") as file:
        file.write(buffer.getvalue())


def read_hashes(folder: str, split: str) -> tuple[list[str], np.ndarray]:
    """Ids of a split's clips and their hashes, uint64 [N, F]."""
    with tf.io.gfile.GFile(os.path.join(folder, f"{split}.npz"), "rb") as file:
        found = np.load(io.BytesIO(file.read()), allow_pickle=False)
        return found["ids"].tolist(), found["hashes"]


class ClipHasher(base_beam_component.BaseBeamComponent):
    """Hashes clips. Output: `hashes`, a `ClipHashes`."""

    SPEC_CLASS = ClipHasherSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(ClipHasherExecutor)

    def __init__(self, examples: channel.BaseChannel):
        """Makes the component for raw examples."""
        super().__init__(spec=ClipHasherSpec(examples=examples, hashes=channel.Channel(type=ClipHashes)))
