"""ModelCanary: the gate of TFX's InfraValidator where there is no docker (DESIGN: a fresh process loads and serves).

The Pusher requires its InfraBlessing.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys

import tensorflow as tf
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.types import artifact_utils, channel, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter
from tfx.utils import path_utils

DETAIL_PROPERTY = "detail"

_BLESSED_PROPERTY = "blessed"
_logger = logging.getLogger("vivit.canary")


class ModelCanarySpec(ComponentSpec):
    """A model and raw examples in, an InfraBlessing out."""

    PARAMETERS = {"split": ExecutionParameter(type=str)}
    INPUTS = {
        "model": ChannelParameter(type=standard_artifacts.Model),
        "examples": ChannelParameter(type=standard_artifacts.Examples),
    }
    OUTPUTS = {"blessing": ChannelParameter(type=standard_artifacts.InfraBlessing)}


class ModelCanaryExecutor(base_executor.BaseExecutor):
    """Runs `components.gates.serving_check` in a fresh process and records its verdict."""

    def Do(self, input_dict, output_dict, exec_properties) -> None:  # noqa: N802 (TFX's name)
        """Blesses the model, or says why not; a model that fails does not fail the run."""
        model = path_utils.serving_model_path(artifact_utils.get_single_uri(input_dict["model"]))
        examples = artifact_utils.get_split_uri(input_dict["examples"], exec_properties["split"])
        blessing = artifact_utils.get_single_instance(output_dict["blessing"])
        ok, detail = _check_in_fresh_process(model, examples)
        _logger.info("%s: %s", "serves" if ok else "does NOT serve", detail)
        # The names and the property are those of InfraValidator: the Pusher reads them.
        tf.io.gfile.makedirs(blessing.uri)
        with tf.io.gfile.GFile(os.path.join(blessing.uri, "INFRA_BLESSED" if ok else "INFRA_NOT_BLESSED"), "w") as file:
            file.write(detail)
        blessing.set_int_custom_property(_BLESSED_PROPERTY, int(ok))
        blessing.set_string_custom_property(DETAIL_PROPERTY, detail)


def _check_in_fresh_process(model: str, examples: str) -> tuple[bool, str]:
    command = [sys.executable, "-m", "components.gates.serving_check", "--model", model, "--examples", examples]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        # A crash of the server's own process is what a canary is for.
        return False, f"the serving process ended with status {done.returncode}: {done.stderr.strip()[-500:]}"
    verdict = json.loads(lines[-1])
    return verdict["ok"], verdict["detail"]


class ModelCanary(base_component.BaseComponent):
    """Proves that a model serves. Output: `blessing`, an InfraBlessing."""

    SPEC_CLASS = ModelCanarySpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(ModelCanaryExecutor)

    def __init__(self, model: channel.BaseChannel, examples: channel.BaseChannel, split: str = "eval"):
        """Makes the component.

        Args:
          model: The Trainer's model.
          examples: The raw examples.
          split: The split whose clips the trainer computed logits of.
        """
        super().__init__(
            spec=ModelCanarySpec(
                model=model,
                examples=examples,
                split=split,
                blessing=channel.Channel(type=standard_artifacts.InfraBlessing),
            )
        )
