"""QuarantineGate: stops a run of which ingest has lost too many clips, or a whole class.

Ingest itself runs to its end, so that a later run which may lose more clips decodes none of them again.
"""

from __future__ import annotations

import os

import tensorflow as tf
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.types import artifact_utils, channel, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.ingest import quarantine
from components.ingest.config import PolicyConfig
from components.ingest.example_gen import QUARANTINE_KEY, Quarantine
from components.manifest.reader import Clip


class QuarantineGateSpec(ComponentSpec):
    """A quarantine and the manifest in, a verdict out."""

    PARAMETERS = {"manifest_dir": ExecutionParameter(type=str), "max_bad_fraction": ExecutionParameter(type=float)}
    INPUTS = {QUARANTINE_KEY: ChannelParameter(type=Quarantine)}
    OUTPUTS = {"verdict": ChannelParameter(type=standard_artifacts.String)}


class QuarantineGateExecutor(base_executor.BaseExecutor):
    """Compares the clips that went into ingest with those that it lost."""

    def Do(self, input_dict, output_dict, exec_properties) -> None:  # noqa: N802 (TFX's name)
        """Writes the verdict.

        Raises:
          TooManyBadVideosError: If more is lost than allowed; names the quarantine.
        """
        folder = artifact_utils.get_single_uri(input_dict[QUARANTINE_KEY])
        lines = quarantine.read_lines(os.path.join(exec_properties["manifest_dir"], "*.jsonl"))
        clips, lost = [Clip.from_json(line) for line in lines], quarantine.read_quarantine(folder)
        try:
            quarantine.check_losses(clips, lost, exec_properties["max_bad_fraction"])
        except quarantine.TooManyBadVideosError as error:
            again = f"to decode them again as they are, remove {folder}"
            raise quarantine.TooManyBadVideosError(f"{error}\n  all of them: {folder}\n  {again}") from error
        verdict = artifact_utils.get_single_instance(output_dict["verdict"])
        tf.io.gfile.makedirs(os.path.dirname(verdict.uri))
        verdict.write(f"{len(lost)} of {len(clips)} clips are in quarantine")


class QuarantineGate(base_component.BaseComponent):
    """Stops the run if ingest has lost more than the policy allows."""

    SPEC_CLASS = QuarantineGateSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(QuarantineGateExecutor)

    def __init__(self, quarantine: channel.BaseChannel, manifest_dir: str, policy: PolicyConfig):
        """Makes the component.

        Args:
          quarantine: Channel of a `Quarantine`.
          manifest_dir: Folder (any URI) of the ``<split>.jsonl`` files that ingest has read.
          policy: How much may be lost.
        """
        spec = QuarantineGateSpec(
            quarantine=quarantine,
            manifest_dir=manifest_dir,
            max_bad_fraction=policy.max_bad_fraction,
            verdict=channel.Channel(type=standard_artifacts.String),
        )
        super().__init__(spec=spec)
