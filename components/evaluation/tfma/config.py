"""What TFMA measures on a table of predictions.

Per head two outputs are scored: the head itself, over all views, and its centre view alone. Several heads are also
scored together, as `joint_name`: "action" for EPIC-KITCHENS' verb and noun. Every metric is also computed per class
(the slices of the heads' labels) and per value of the slice columns.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import tensorflow_model_analysis as tfma

from components.evaluation.outcomes import joint_name
from components.evaluation.tfma.means import CrossEntropy, TopKAccuracy
from schemas import features, serving

TOP_1, TOP_5, LOSS = "top_1", "top_5", "loss"
TOP_K = {TOP_1: 1, TOP_5: 5}


def eval_config(heads: Sequence[str], slices: Sequence[str]) -> tfma.EvalConfig:
    """Builds TFMA's configuration, without the models.

    Args:
      heads: Label heads of the candidate.
      slices: Names of the slice columns.
    """
    centre_views = [serving.centre_view(head) for head in heads]
    metrics_specs = [
        _metrics_spec(heads, [*_accuracies(), _loss(), _confusion_matrix()]),
        _metrics_spec(centre_views, [*_accuracies(), _loss()]),
    ]
    if len(heads) > 1:
        name = joint_name(heads)
        joint = ((name, heads), (serving.centre_view(name), centre_views))
        metrics_specs += [_metrics_spec([output], _accuracies(parts)) for output, parts in joint]
    return tfma.EvalConfig(
        metrics_specs=metrics_specs,
        slicing_specs=[
            tfma.SlicingSpec(),
            *(tfma.SlicingSpec(feature_keys=[features.label_key(head)]) for head in heads),
            *(tfma.SlicingSpec(feature_keys=[features.slice_key(name)]) for name in slices),
        ],
    )


def _metrics_spec(outputs: Sequence[str], metrics: Sequence[tfma.MetricConfig]) -> tfma.MetricsSpec:
    return tfma.MetricsSpec(output_names=outputs, metrics=[tfma.MetricConfig(class_name="ExampleCount"), *metrics])


def _accuracies(outputs: Sequence[str] | None = None) -> list[tfma.MetricConfig]:
    return [_of_ours(TopKAccuracy, name=name, k=k, outputs=outputs) for name, k in TOP_K.items()]


def _loss() -> tfma.MetricConfig:
    return _of_ours(CrossEntropy, name=LOSS)


def _of_ours(metric: type[tfma.metrics.Metric], **config) -> tfma.MetricConfig:
    return tfma.MetricConfig(class_name=metric.__name__, module=metric.__module__, config=json.dumps(config))


def _confusion_matrix() -> tfma.MetricConfig:
    return tfma.MetricConfig(class_name="MultiClassConfusionMatrixPlot")
