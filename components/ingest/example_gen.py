"""VideoExampleGen: videos in, raw examples out (one per clip), and a quarantine of what could not be decoded.

The input files are the JSON lines of `Clip` (components/manifest/reader.py), one file per split. A bad video loses
only its own clip: the clip becomes a row of the quarantine artifact. QuarantineGate decides whether too many are lost.
"""

from __future__ import annotations

import dataclasses
import json
import os

import apache_beam as beam
import tensorflow as tf
from tfx.components.example_gen import utils, write_split
from tfx.components.example_gen.component import FileBasedExampleGen
from tfx.components.util import examples_utils
from tfx.dsl.components.base import executor_spec
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils, channel, standard_artifacts
from tfx.types.artifact import Artifact
from tfx.types.component_spec import ChannelParameter, ExecutionParameter
from tfx.types.standard_component_specs import EXAMPLES_KEY, INPUT_BASE_KEY, INPUT_CONFIG_KEY, FileBasedExampleGenSpec
from tfx.utils import proto_utils

from components.ingest import quarantine
from components.ingest.config import ExamplesConfig
from components.ingest.kept import Kept
from components.ingest.shards import WriteShards, write_plan
from components.manifest.reader import Clip
from components.media.config import part
from components.storage import folders
from schemas.clip_index import index_path

INGEST_KEY = "ingest"
QUARANTINE_KEY = "quarantine"
KEPT_KEY = "kept"


class Quarantine(Artifact):
    """Clips that could not be decoded: JSON lines of id, path, stage, reason and bytes, one file per split."""

    # Kubeflow imports the class by this name; see components/__init__.py.
    TYPE_NAME = "components.Quarantine"


class VideoExampleGenSpec(FileBasedExampleGenSpec):
    """FileBasedExampleGen's spec, with the ingest configuration (JSON), the kept clips and the quarantine."""

    PARAMETERS = {
        **FileBasedExampleGenSpec.PARAMETERS,
        INGEST_KEY: ExecutionParameter(type=str),
        KEPT_KEY: ExecutionParameter(type=str),
    }
    OUTPUTS = {**FileBasedExampleGenSpec.OUTPUTS, QUARANTINE_KEY: ChannelParameter(type=Quarantine)}


class VideoExampleGenExecutor(BaseBeamExecutor):
    """Plans the shards and writes them with Beam.

    TFX's own executor shuffles the examples before it writes them, into as many shards as there are workers.
    """

    def Do(self, input_dict, output_dict, exec_properties) -> None:  # noqa: N802 (TFX's name)
        """Writes the examples and the quarantine.

        Raises:
          ClipsUnaccountedError: If a clip came out twice, or not at all.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        examples = artifact_utils.get_single_instance(output_dict[EXAMPLES_KEY])
        lost_uri = artifact_utils.get_single_uri(output_dict[QUARANTINE_KEY])
        input_base = exec_properties[INPUT_BASE_KEY]
        input_config = example_gen_pb2.Input()
        proto_utils.json_to_proto(exec_properties[INPUT_CONFIG_KEY], input_config)
        manifests = {split.name: split.pattern for split in input_config.splits}
        clips = [
            Clip.from_json(line)
            for pattern in manifests.values()
            for line in quarantine.read_lines(os.path.join(input_base, pattern))
        ]
        config = ExamplesConfig(**json.loads(exec_properties[INGEST_KEY]))

        kept = Kept(exec_properties[KEPT_KEY], config)
        self._write(clips, examples.uri, lost_uri, list(manifests), config, kept)
        examples.split_names = artifact_utils.encode_split_names(list(manifests))
        examples_utils.set_payload_format(examples, exec_properties["output_data_format"])
        examples_utils.set_file_format(examples, write_split.to_file_format_str(exec_properties["output_file_format"]))
        quarantine.check_accounted(clips, quarantine.read_summary(lost_uri))

    def _write(
        self,
        clips: list[Clip],
        examples_uri: str,
        lost_uri: str,
        splits: list[str],
        config: ExamplesConfig,
        kept: Kept,
    ) -> None:
        split_folders = [os.path.join(examples_uri, f"Split-{split}") for split in splits]
        for folder in (lost_uri, *split_folders):
            tf.io.gfile.makedirs(folder)
        kept.prepare()
        plan = kept.new_file()
        shards = write_plan(plan, clips, config, kept)
        with self._make_beam_pipeline() as pipeline:
            _ = (
                pipeline
                | "Shards" >> beam.Create(shards)
                | "Spread" >> beam.Reshuffle()
                | "Write" >> beam.ParDo(WriteShards(plan, kept, config))
                | "Together" >> beam.GroupBy(lambda _: 0)
                | "Quarantine" >> beam.MapTuple(lambda _, found: quarantine.write_quarantine(lost_uri, splits, found))
            )
        paths = {shard.key: os.path.join(examples_uri, shard.name) for shard in shards}
        kept.release(paths)
        # A killed attempt that wrote to the same URI may have had another plan.
        written = {*paths.values(), *map(index_path, paths.values())}
        indexes = [os.path.dirname(index_path(os.path.join(folder, "any"))) for folder in split_folders]
        for path in {
            os.path.join(folder, name) for folder in split_folders + indexes for name in folders.names(folder)
        }:
            if path not in written:
                tf.io.gfile.remove(path)


class VideoExampleGen(FileBasedExampleGen):
    """Ingests the clips of prepared manifests.

    Outputs: `examples` (raw examples, see schemas/features.py) and `quarantine`.
    """

    SPEC_CLASS = VideoExampleGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(VideoExampleGenExecutor)

    def __init__(self, input_base: str, splits: tuple[str, ...], ingest: ExamplesConfig, *, kept: str):
        """Makes the component.

        Args:
          input_base: Folder (any URI) with one ``<split>.jsonl`` of `Clip` rows per split.
          splits: Names of the splits.
          ingest: What the examples depend on. Further settings of a config are no part of the fingerprint.
          kept: Folder (any URI) of decoded clips that outlive the ingest, see components/ingest/kept.py.
        """
        input_config = example_gen_pb2.Input(
            splits=[example_gen_pb2.Input.Split(name=name, pattern=f"{name}.jsonl") for name in splits]
        )
        spec = VideoExampleGenSpec(
            input_base=input_base,
            input_config=input_config,
            output_config=utils.make_default_output_config(input_config),
            output_data_format=example_gen_pb2.FORMAT_TF_EXAMPLE,
            output_file_format=example_gen_pb2.FORMAT_TFRECORDS_GZIP,
            ingest=json.dumps(dataclasses.asdict(part(ExamplesConfig, ingest)), sort_keys=True),
            kept=kept,
            examples=channel.Channel(type=standard_artifacts.Examples),
            quarantine=channel.Channel(type=Quarantine),
        )
        # FileBasedExampleGen's own __init__ builds the stock spec; its base takes ours.
        super(FileBasedExampleGen, self).__init__(spec=spec)
