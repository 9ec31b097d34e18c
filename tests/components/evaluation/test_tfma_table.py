"""TFMA on a table of predictions: its numbers are those that the table gives by hand, its intervals the gate's."""

import apache_beam as beam
import numpy as np
import pytest
import tensorflow_model_analysis as tfma
from apache_beam.options.pipeline_options import PipelineOptions

from components.evaluation.config import EvaluationConfig
from components.evaluation.gate import assess
from components.evaluation.tfma.config import eval_config
from components.evaluation.tfma.table import evaluate_table
from schemas.predictions import CANDIDATE, PRODUCTION
from tests.components.evaluation.tables import CLASSES, clips_of, table, wrong_on

LABELS = [CLASSES[number % 3] for number in range(60)]
NOUNS = ["door", "jar"] * 30
CLIPS = clips_of({"verb": LABELS, "noun": NOUNS}, slices={"camera": ["left"] * 40 + ["right"] * 20})
# Production does not know the class "swim", and has one that is gone.
KNOWN = {"verb": ["fly", "jump", "run"], "noun": ["door", "jar"]}
PREDICTIONS = table(
    CLIPS,
    {"verb": wrong_on(LABELS, range(12)), "noun": NOUNS[:50] + NOUNS[49:59]},
    {"verb": ["fly" if name == "swim" else name for name in LABELS], "noun": NOUNS},
    known=KNOWN,
)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """TFMA's results by model."""
    folder = tmp_path_factory.mktemp("evaluation")
    PREDICTIONS.write(str(folder / "table" / "0.parquet"))
    with beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner"])) as pipeline:
        evaluate_table(pipeline, str(folder / "table"), str(folder / "results"))
    return {role: tfma.load_eval_result(str(folder / "results"), model_name=role) for role in (CANDIDATE, PRODUCTION)}


def value_of(result, output, metric, slice_key=()):
    (found,) = [outputs for key, outputs in result.slicing_metrics if key == slice_key]
    value = found[output][""][metric]
    return value.get("boundedValue", {}).get("value", value.get("doubleValue"))


@pytest.mark.parametrize("role", [CANDIDATE, PRODUCTION])
@pytest.mark.parametrize("head", ["verb", "noun"])
def test_each_metric_is_that_of_the_table(results, role, head):
    scores = PREDICTIONS.scores[role][head]
    assert value_of(results[role], head, "top_1") == pytest.approx((scores.rank == 1).mean())
    assert value_of(results[role], f"{head}_centre_view", "top_1") == pytest.approx((scores.rank == 1).mean())
    assert value_of(results[role], head, "example_count") == 60
    if not np.isnan(scores.loss).any():
        assert value_of(results[role], head, "loss") == pytest.approx(scores.loss.mean(), rel=1e-4)


def test_all_heads_together_are_scored_for_both_models(results):
    for role in (CANDIDATE, PRODUCTION):
        right = np.logical_and(*(PREDICTIONS.scores[role][head].rank == 1 for head in ("verb", "noun")))
        assert value_of(results[role], "action", "top_1") == pytest.approx(right.mean())


def test_classes_and_slices_are_those_of_the_table(results):
    right = PREDICTIONS.scores[CANDIDATE]["verb"].rank == 1
    for column, name, of in (("label/verb", "swim", LABELS), ("slice/camera", "left", CLIPS.slices["camera"])):
        rows = np.array(of) == name
        assert value_of(results[CANDIDATE], "verb", "top_1", ((column, name),)) == pytest.approx(right[rows].mean())


def test_the_intervals_are_those_of_the_gate(results):
    figure = assess(PREDICTIONS, EvaluationConfig()).scored[0].figure("top_1").candidate
    (outputs,) = [outputs for key, outputs in results[CANDIDATE].slicing_metrics if key == ()]
    bounded = outputs["verb"][""]["top_1"]["boundedValue"]
    assert (bounded["lowerBound"], bounded["upperBound"]) == pytest.approx((figure.low, figure.high))


def test_the_confusion_matrix_is_there_for_the_dashboards(results):
    (plots,) = [plots for key, plots in results[CANDIDATE].plots if key == ()]
    assert "multiClassConfusionMatrixAtThresholds" in plots["verb"][""]


@pytest.mark.parametrize(
    ("heads", "name"), [(("verb", "noun"), "action"), (("noun", "verb"), "action"), (("verb", "tool"), "joint")]
)
def test_verb_and_noun_together_are_the_action(heads, name):
    outputs = {output for spec in eval_config(heads, ()).metrics_specs for output in spec.output_names}
    assert outputs == {*heads, *(f"{head}_centre_view" for head in heads), name, f"{name}_centre_view"}
