"""ExampleValidator's executor on statistics of real raw examples: good data passes, anything else stops the run."""

import pytest
import tensorflow_data_validation as tfdv
from tensorflow_data_validation.statistics import stats_impl
from tfx.types import artifact_utils, channel_utils, standard_artifacts
from tfx.utils import io_utils
from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

from components.gates.example_validator import DataAnomalyError, GatingExampleValidator
from schemas import features
from schemas.schema import build_schema

HEADS, SLICES = ["verb", "noun"], ["camera"]


def raw_examples(count=6, **changes):
    """Raw examples of two heads and a slice; a change replaces one argument of every example."""
    arguments = {
        "frames": [b"jpeg"] * 3,
        "size": (24, 32),
        "fps": 10.0,
        "start": 0.0,
        "duration": 0.3,
        "labels": {"verb": ["run"], "noun": ["door"]},
        "slices": {"camera": "left"},
    }
    return [
        features.raw_example(**{"clip_id": f"clip{n}", "group": f"video{n}", **arguments, **changes})
        for n in range(count)
    ]


def without(examples, key):
    """The same examples, the first of which lacks a feature."""
    del examples[0].features.feature[key]
    return examples


def with_values(examples, key, values):
    """The same examples, the first of which has other values of a feature."""
    feature = examples[0].features.feature[key]
    field = getattr(feature, feature.WhichOneof("kind")).value
    del field[:]
    field.extend(values)
    return examples


def validate(folder, **examples_by_split):
    """Runs the component's own executor on statistics as StatisticsGen computes them; gives the anomalies artifact."""
    statistics, schema, anomalies = (
        artifact_type()
        for artifact_type in (
            standard_artifacts.ExampleStatistics,
            standard_artifacts.Schema,
            standard_artifacts.ExampleAnomalies,
        )
    )
    for name, artifact in (("statistics", statistics), ("schema", schema), ("anomalies", anomalies)):
        artifact.uri = str(folder / name)
    statistics.split_names = artifact_utils.encode_split_names(list(examples_by_split))
    io_utils.write_pbtxt_file(f"{schema.uri}/schema.pbtxt", build_schema(HEADS, SLICES))
    options = tfdv.StatsOptions(feature_allowlist=features.describing_keys(HEADS, SLICES))
    for split, examples in examples_by_split.items():
        batch = ExamplesToRecordBatchDecoder().DecodeBatch([example.SerializeToString() for example in examples])
        found = stats_impl.generate_statistics_in_memory(batch, options)
        io_utils.write_bytes_file(f"{statistics.uri}/Split-{split}/FeatureStats.pb", found.SerializeToString())
    component = GatingExampleValidator(statistics=channel_of(statistics), schema=channel_of(schema))
    executor = component.executor_spec.executor_class()
    inputs = {"statistics": [statistics], "schema": [schema]}
    executor.Do(inputs, {"anomalies": [anomalies]}, dict(component.exec_properties))
    return anomalies


def channel_of(artifact):
    return channel_utils.as_channel([artifact])


def test_good_data_passes(tmp_path):
    anomalies = validate(tmp_path, train=raw_examples(), eval=raw_examples(3))
    assert anomalies.get_json_value_custom_property("blessed") == {"train": 1, "eval": 1}


def test_a_slice_may_be_absent_and_a_label_may_have_any_name(tmp_path):
    labels = {"verb": ["ночь"], "noun": ["a b"]}
    validate(tmp_path, train=without(raw_examples(labels=labels), "slice/camera"), eval=raw_examples(slices={}))


@pytest.mark.parametrize(
    ("examples", "said"),
    [
        (lambda: without(raw_examples(), "label/verb"), "label/verb: The feature was present in fewer examples"),
        (lambda: raw_examples(labels={"verb": ["run"]}), "label/noun: Column is completely missing"),
        (lambda: with_values(raw_examples(), "label/verb", []), "label/verb"),
        (lambda: with_values(raw_examples(), "clip/id", [b"a", b"b"]), "clip/id: Some examples have more values"),
        (lambda: without(raw_examples(), "clip/group"), "clip/group: The feature was present in fewer examples"),
        (lambda: raw_examples(start=-1.0), "clip/start: Unexpectedly low values: -1<0"),
        (lambda: raw_examples(fps=0.0), "clip/fps: Unexpectedly low values: 0<0.1"),
        (lambda: raw_examples(duration=float("nan")), "clip/duration: Float feature has NaN values"),
        (lambda: raw_examples(frames=[]), "clip/num_frames: Unexpectedly small value: 0"),
        (lambda: raw_examples(size=(4, 32)), "clip/height: Unexpectedly small value: 4"),
        (lambda: raw_examples(size=(24, 10000)), "clip/width: Unexpectedly large value: 10000"),
        (lambda: with_values(raw_examples(), "slice/camera", [b"a", b"b"]), "slice/camera: Some examples have more"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_data_that_breaks_the_schema_stops_the_run_naming_split_and_feature(tmp_path, examples, said):
    with pytest.raises(DataAnomalyError) as caught:
        validate(tmp_path, train=raw_examples(), eval=examples())
    first, *lines = str(caught.value).splitlines()
    assert first == "the data does not honour the schema of schemas/:"
    assert len(lines) == 1
    assert lines[0].startswith(f"  - eval: {said}")


def test_every_anomaly_of_every_split_is_reported(tmp_path):
    with pytest.raises(DataAnomalyError) as caught:
        validate(tmp_path, train=raw_examples(start=-1.0), eval=raw_examples(start=-1.0, fps=0.0))
    assert [line.split(": ")[:2] for line in str(caught.value).splitlines()[1:]] == [
        ["  - train", "clip/start"],
        ["  - eval", "clip/fps"],
        ["  - eval", "clip/start"],
    ]
