"""What is submitted: a compiled spec, the parameters of one run, and the root of its artifacts.

Contract: a `Job` is checked as far as it can be without the server: the spec loads, every parameter exists and has its
type, none is missing, and no placeholder is left.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from pipeline import settings
from pipeline.settings import ConfigError

# What `vivit compile` writes where it was not given a value.
PLACEHOLDER = "YOUR-"
# What Kubeflow can write to.
_BUCKETS = ("gs://", "s3://", "minio://")
_TRUTH = {"true": True, "false": False}


@dataclasses.dataclass(frozen=True)
class Spec:
    """A compiled pipeline.

    Attributes:
      path: Its file.
      pipeline: The first document: a PipelineSpec as plain values.
      platform: The second: a PlatformSpec, empty where there is none.
    """

    path: str
    pipeline: Mapping[str, Any]
    platform: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Name of the pipeline."""
        return self.pipeline["pipelineInfo"]["name"]

    @property
    def parameters(self) -> Mapping[str, Mapping[str, Any]]:
        """Definitions of the parameters that a run may be given."""
        return self.pipeline["root"].get("inputDefinitions", {}).get("parameters", {})


@dataclasses.dataclass(frozen=True)
class Job:
    """One run, or what a schedule repeats.

    Attributes:
      spec: What runs.
      name: What the user interface shows.
      parameters: Values that were given; the others keep the spec's defaults.
      root: Where Kubeflow keeps its records of artifacts; empty for the server's own place.
      cache: Whether steps may be taken from earlier runs, as the spec says for each.
      service_account: Account of the steps; empty for the server's default.
    """

    spec: Spec
    name: str
    parameters: Mapping[str, Any]
    root: str
    cache: bool = True
    service_account: str = ""


def load_spec(path: str) -> Spec:
    """Reads a spec and parses both of its documents.

    Raises:
      ConfigError: If it is not a spec that the clients send.
    """
    if not path.endswith((".yaml", ".yml")):
        raise ConfigError(f"{path}: the name of a pipeline spec ends with .yaml or .yml")
    try:
        with open(path, encoding="utf-8") as file:
            documents = [document for document in yaml.safe_load_all(file) if document is not None]
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not documents or not isinstance(documents[0], dict) or not documents[0].get("pipelineInfo"):
        raise ConfigError(f"{path} is not a pipeline spec; `vivit compile` writes one")
    if len(documents) > 2:
        raise ConfigError(f"{path} has {len(documents)} YAML documents; a spec has one, and one for its platforms")
    pipeline, platform = documents[0], documents[1] if len(documents) == 2 else {}
    _parse(path, pipeline, pipeline_spec_pb2.PipelineSpec())
    _parse(path, platform, pipeline_spec_pb2.PlatformSpec())
    dag = (pipeline.get("root") or {}).get("dag") or {}
    if not pipeline["pipelineInfo"].get("name") or not dag.get("tasks"):
        raise ConfigError(f"{path} has no pipelineInfo.name or no task in root.dag; `vivit compile` writes both")
    return Spec(path, pipeline, platform)


def make_job(
    spec: Spec, words: Sequence[str], *, name: str, root: str = "", cache: bool = True, service_account: str = ""
) -> Job:
    """A job of a spec.

    Args:
      spec: What runs.
      words: ``KEY=VALUE`` parameters.
      name: What the user interface shows.
      root: Where Kubeflow keeps its records; empty for `records_of` a workdir that is given, else the spec's.
      cache, service_account: As in `Job`.

    Raises:
      ConfigError: If a parameter is unknown, wrong or missing, or a placeholder is left.
    """
    values = read_parameters(spec.parameters, words)
    if not root:
        given = values.get("workdir")
        root = records_of(given) if given else spec.pipeline.get("defaultPipelineRoot", "")
    _refuse_placeholders(spec, values, root)
    return Job(spec, name, values, root, cache, service_account)


def records_of(workdir: str) -> str:
    """Where Kubeflow keeps its records of the artifacts of a workdir.

    Empty, for the server's own place, where the workdir is a folder that its steps mount.
    """
    return os.path.join(workdir.rstrip("/"), "kubeflow") if workdir.startswith(_BUCKETS) else ""


def read_parameters(definitions: Mapping[str, Mapping[str, Any]], words: Sequence[str]) -> dict[str, Any]:
    """Typed values of ``KEY=VALUE`` words; of a list a word is one more item behind the default's, or JSON all of it.

    Raises:
      ConfigError: If a parameter is unknown, has another type, is given twice, or is missing.
    """
    values: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals:
            raise ConfigError(f"--param {word}: wanted KEY=VALUE")
        if key not in definitions:
            raise settings.unknown(key, sorted(definitions), kind="parameter")
        value = _typed(key, text, definitions[key].get("parameterType", "STRING"))
        if isinstance(value, list):
            # A setting that is given must not take away what the spec was compiled with, such as an approval.
            compiled = [] if text.startswith("[") else definitions[key].get("defaultValue", [])
            value = values.get(key, compiled) + value
        elif key in values:
            raise ConfigError(f"parameter {key} is given twice")
        values[key] = value
    missing = [
        key
        for key, definition in definitions.items()
        if key not in values and "defaultValue" not in definition and not definition.get("isOptional")
    ]
    if missing:
        raise ConfigError(f"parameter {', '.join(missing)} has no default; give it with --param")
    return values


def _typed(key: str, text: str, kind: str) -> Any:
    """The value of a parameter's text."""
    if kind == "STRING":
        return text
    read, wanted = _KINDS.get(kind, (None, ""))
    if read is None:
        raise ConfigError(f"parameter {key} has the type {kind}, which cannot be given here")
    try:
        return read(text)
    except (ValueError, KeyError) as error:
        raise ConfigError(f"parameter {key} is {text!r}; it must be {wanted} ({kind})") from error


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _list(text: str) -> list:
    return _json(text, list) if text.startswith("[") else [text]


def _struct(text: str) -> dict:
    return _json(text, dict)


def _json(text: str, kind: type) -> Any:
    value = json.loads(text)
    if not isinstance(value, kind):
        raise ValueError(text)
    return value


# Names of the types in a spec: how a text is read, and what is said of one that does not fit.
_KINDS: Mapping[str, tuple[Callable[[str], Any], str]] = {
    "NUMBER_INTEGER": (int, "a whole number"),
    "NUMBER_DOUBLE": (_finite, "a number"),
    "BOOLEAN": (lambda text: _TRUTH[text.lower()], "true or false"),
    "LIST": (_list, 'an item, or a JSON list such as ["a"]'),
    "STRUCT": (_struct, 'a JSON object such as {"a": 1}'),
}


def _parse(path: str, document: Any, message: Any) -> None:
    try:
        json_format.ParseDict(document, message)
    except json_format.ParseError as error:
        raise ConfigError(f"{path} is not a pipeline spec: {str(error).splitlines()[0]}") from error


def _refuse_placeholders(spec: Spec, values: Mapping[str, Any], root: str) -> None:
    for text, advice in _texts(spec, values, root):
        if PLACEHOLDER in text:
            raise ConfigError(f"{text} is a placeholder; {advice}")


def _texts(spec: Spec, values: Mapping[str, Any], root: str) -> Iterator[tuple[str, str]]:
    """What a placeholder may have been left in, with what to do about it."""
    for executor in spec.pipeline.get("deploymentSpec", {}).get("executors", {}).values():
        yield executor.get("container", {}).get("image", ""), "compile the pipeline with --image"
    for key, definition in spec.parameters.items():
        value = values.get(key, definition.get("defaultValue"))
        if isinstance(value, str):
            yield value, f"give --param {key}=… here, or compile the pipeline with its own"
    yield root, "give --pipeline-root, or compile the pipeline with --workdir"
