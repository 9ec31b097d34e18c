"""ModelCanary: the gate of TFX's InfraValidator where there is no docker (DESIGN: a fresh process loads and serves).

The Pusher requires its InfraBlessing.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
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

    PARAMETERS = {"split": ExecutionParameter(type=str), "timeout_s": ExecutionParameter(type=int)}
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
        ok, detail = check_in_fresh_process(model, examples, exec_properties["timeout_s"])
        _logger.info("%s: %s", "serves" if ok else "does NOT serve", detail)
        # The names and the property are those of InfraValidator: the Pusher reads them.
        tf.io.gfile.makedirs(blessing.uri)
        with tf.io.gfile.GFile(os.path.join(blessing.uri, "INFRA_BLESSED" if ok else "INFRA_NOT_BLESSED"), "w") as file:
            file.write(detail)
        blessing.set_int_custom_property(_BLESSED_PROPERTY, int(ok))
        blessing.set_string_custom_property(DETAIL_PROPERTY, detail)


def check_in_fresh_process(model: str, examples: str, timeout_s: int) -> tuple[bool, str]:
    """Whether a SavedModel serves, and what `components.gates.serving_check` said of it.

    Args:
      model: The SavedModel.
      examples: Folder of raw examples.
      timeout_s: Seconds after which it is ended.
    """
    command = [sys.executable, "-m", "components.gates.serving_check", "--model", model, "--examples", examples]
    if "tensorflow_io" in sys.modules:
        command += ["--plugin", "tensorflow_io"]
    try:
        status, output, errors = _run_alone(command, timeout_s)
    except subprocess.TimeoutExpired:
        return False, f"the serving process was ended after {timeout_s} s: it neither served nor failed"
    lines = output.strip().splitlines()
    if status or not lines:
        # A crash of the server's own process is what a canary is for.
        return False, f"the serving process ended with status {status}: {errors.strip()[-500:]}"
    verdict = json.loads(lines[-1])
    return verdict["ok"], verdict["detail"]


def _run_alone(command: list[str], timeout_s: int) -> tuple[int, str, str]:
    """Status, output and errors of a process; when this ends early, nothing that the process started is left."""
    # A session of its own is a process group of its own, which ends as one.
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            output, errors = process.communicate(timeout=timeout_s)
        except BaseException:
            # An interrupt too: the terminal sends it to this session only.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
    return process.returncode, output, errors


class ModelCanary(base_component.BaseComponent):
    """Proves that a model serves. Output: `blessing`, an InfraBlessing."""

    SPEC_CLASS = ModelCanarySpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(ModelCanaryExecutor)

    def __init__(
        self, model: channel.BaseChannel, examples: channel.BaseChannel, split: str = "eval", timeout_s: int = 1800
    ):
        """Makes the component.

        Args:
          model: The Trainer's model.
          examples: The raw examples.
          split: The split whose clips the trainer computed logits of.
          timeout_s: Seconds after which a model that has neither served nor failed is refused.
        """
        super().__init__(
            spec=ModelCanarySpec(
                model=model,
                examples=examples,
                split=split,
                timeout_s=timeout_s,
                blessing=channel.Channel(type=standard_artifacts.InfraBlessing),
            )
        )
