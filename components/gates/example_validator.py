"""ExampleValidator that gates: an anomaly stops the run with a message. TFX's own only writes it to a file."""

from __future__ import annotations

from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx.components import ExampleValidator
from tfx.components.example_validator import executor
from tfx.dsl.components.base import executor_spec


class DataAnomalyError(RuntimeError):
    """The examples do not fit the schema; the message says which feature of which split, and how."""


class _GatingExecutor(executor.Executor):
    def Do(self, input_dict, output_dict, exec_properties):  # noqa: N802 (TFX's name)
        self._found: list[str] = []
        output = super().Do(input_dict, output_dict, exec_properties)
        if self._found:
            lines = "\n".join(f"  - {line}" for line in self._found)
            raise DataAnomalyError(f"the data does not honour the schema of schemas/:\n{lines}")
        return output

    def _Validate(self, inputs, outputs):  # noqa: N802 (TFX's name)
        anomalies = super()._Validate(inputs, outputs)
        split = outputs["schema_diff_path"].rstrip("/").rsplit("Split-", 1)[-1]
        self._found += [f"{split}: {line}" for line in anomalies_in_words(anomalies)]
        return anomalies


def anomalies_in_words(anomalies: anomalies_pb2.Anomalies) -> list[str]:
    """One line per anomalous feature: its name and TFDV's description."""
    lines = [f"{name}: {info.description}" for name, info in sorted(anomalies.anomaly_info.items())]
    if anomalies.HasField("dataset_anomaly_info"):
        lines.append(f"the data set: {anomalies.dataset_anomaly_info.description}")
    return lines


class GatingExampleValidator(ExampleValidator):
    """TFX's ExampleValidator; its execution fails if a split has an anomaly."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(_GatingExecutor)
