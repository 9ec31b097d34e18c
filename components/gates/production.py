"""Production: finds the model that a candidate is compared with, in ``pushed/`` itself.

Production is what was pushed and not rolled back, by whomever. A candidate is never compared with itself: where it is
in production already, the version before it is found.
"""

from __future__ import annotations

import dataclasses
import json
import os

import tensorflow as tf
from tfx.dsl.components.base import base_component, base_driver, base_executor, executor_spec
from tfx.orchestration import data_types_utils
from tfx.orchestration.portable import base_driver as portable_driver
from tfx.proto.orchestration import driver_output_pb2
from tfx.types import artifact_utils, channel, standard_artifacts
from tfx.types.artifact import Artifact
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter
from tfx.utils import path_utils

from components.registry.versions import content_digest, production, standing

PRODUCTION_KEY = "production"

_FILE = "production.json"
_FOUND = "found"


class ProductionModel(Artifact):
    """The model in production, or that there is none; see `read_production`."""

    # Kubeflow imports the class by this name; see components/__init__.py.
    TYPE_NAME = "components.ProductionModel"


@dataclasses.dataclass(frozen=True)
class InProduction:
    """The model in production.

    Attributes:
      version: Its number.
      path: Its SavedModel.
      digest: Hash of its content.
    """

    version: str
    path: str
    digest: str


def read_production(folder: str) -> InProduction | None:
    """What a `ProductionModel` holds; None where nothing is in production."""
    with tf.io.gfile.GFile(os.path.join(folder, _FILE)) as file:
        found = json.loads(file.read())
    return InProduction(**found) if found else None


class ProductionSpec(ComponentSpec):
    """A candidate in, the model in production out."""

    PARAMETERS = {"pushed": ExecutionParameter(type=str), _FOUND: ExecutionParameter(type=str)}
    INPUTS = {"model": ChannelParameter(type=standard_artifacts.Model)}
    OUTPUTS = {PRODUCTION_KEY: ChannelParameter(type=ProductionModel)}


class ProductionDriver(base_driver.BaseDriver, portable_driver.BaseDriver):
    """Looks before TFX decides whether an execution is cached, so that what is found is a part of the cache's key.

    On this machine, a push by anybody and a rollback are seen at once, and the candidate's own push changes nothing:
    a second run of an unchanged pipeline comes from the cache. Kubeflow runs no drivers; there the executor looks.
    """

    def __init__(self, connection):
        base_driver.BaseDriver.__init__(self, connection)
        portable_driver.BaseDriver.__init__(self, connection)

    def run(self, execution_info) -> driver_output_pb2.DriverOutput:
        """Sets what is found as a parameter of the execution."""
        found = _look(execution_info.input_dict, execution_info.exec_properties)
        output = driver_output_pb2.DriverOutput()
        data_types_utils.set_metadata_value(output.exec_properties[_FOUND], found)
        return output


class ProductionExecutor(base_executor.BaseExecutor):
    """Writes what the driver found, or looks itself."""

    def Do(self, input_dict, output_dict, exec_properties) -> None:  # noqa: N802 (TFX's name)
        """Writes production.json."""
        found = exec_properties.get(_FOUND) or _look(input_dict, exec_properties)
        uri = artifact_utils.get_single_uri(output_dict[PRODUCTION_KEY])
        tf.io.gfile.makedirs(uri)
        with tf.io.gfile.GFile(os.path.join(uri, _FILE), "w") as file:
            file.write(found)


def _look(input_dict, exec_properties) -> str:
    """JSON of the model in production."""
    candidate = path_utils.serving_model_path(artifact_utils.get_single_uri(input_dict["model"]))
    found = production(standing(exec_properties["pushed"]), besides=content_digest(candidate))
    named = dataclasses.asdict(InProduction(found.version, found.path, found.digest)) if found else None
    return json.dumps(named)


class Production(base_component.BaseComponent):
    """Finds the model in production. Output: `production`, a ProductionModel."""

    SPEC_CLASS = ProductionSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(ProductionExecutor)
    DRIVER_CLASS = ProductionDriver

    def __init__(self, model: channel.BaseChannel, pushed: str):
        """Makes the component.

        Args:
          model: The Trainer's model.
          pushed: The folder of versions (any URI) that a model server watches.
        """
        spec = ProductionSpec(model=model, pushed=pushed, found="", production=channel.Channel(type=ProductionModel))
        super().__init__(spec=spec)
