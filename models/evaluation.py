"""What TFMA measures of a served model, and what it must reach to be blessed.

Per head two outputs are scored: the head itself, over all views, which is gated, and its centre view alone. Every
metric is also computed per class (the slices of the head's own labels) and per value of the slice columns.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

import tensorflow_model_analysis as tfma

from schemas import features, serving

TOP_1, TOP_5, LOSS = "top_1", "top_5", "loss"


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
    """The gate of a model.

    Attributes:
      split: The split that is evaluated.
      min_top_1: Top-1 accuracy over all views that every head must reach, 0 to 1.
      max_top_1_drop: How much of it a head may lose against the model in production, 0 to 1.
    """

    split: Literal["eval", "test"] = "eval"
    min_top_1: float = 0.0
    max_top_1_drop: float = 0.0

    def __post_init__(self):
        for field in ("min_top_1", "max_top_1_drop"):
            if not 0 <= getattr(self, field) <= 1:
                raise ValueError(f"evaluation.{field} is {getattr(self, field)}; it must be between 0 and 1")


def eval_config(heads: Sequence[str], slices: Sequence[str], config: EvaluationConfig) -> tfma.EvalConfig:
    """Builds TFMA's configuration.

    Args:
      heads: Label heads of the model.
      slices: Names of the slice columns.
      config: The gate.
    """
    outputs = {output: head for head in heads for output in (head, serving.centre_view(head))}
    return tfma.EvalConfig(
        model_specs=[
            tfma.ModelSpec(
                model_type="tf_generic",
                signature_name=serving.EVALUATION_SIGNATURE,
                label_keys={output: features.label_id_key(head) for output, head in outputs.items()},
                preprocessing_function_names=[serving.TRANSFORM_SIGNATURE],
            )
        ],
        metrics_specs=[
            tfma.MetricsSpec(output_names=list(heads), metrics=[_top_1(config), *_metrics(), _confusion_matrix()]),
            tfma.MetricsSpec(
                output_names=[serving.centre_view(head) for head in heads], metrics=[_top_1(None), *_metrics()]
            ),
        ],
        slicing_specs=[
            tfma.SlicingSpec(),
            *(tfma.SlicingSpec(feature_keys=[features.label_key(head)]) for head in heads),
            *(tfma.SlicingSpec(feature_keys=[features.slice_key(name)]) for name in slices),
        ],
    )


def _top_1(gate: EvaluationConfig | None) -> tfma.MetricConfig:
    metric = tfma.MetricConfig(class_name="SparseCategoricalAccuracy", config=f'{{"name": "{TOP_1}"}}')
    if gate:
        # A plain threshold would be held against every slice; the gate is on all clips together.
        threshold = metric.per_slice_thresholds.add(slicing_specs=[tfma.SlicingSpec()]).threshold
        threshold.value_threshold.lower_bound.value = gate.min_top_1
        threshold.change_threshold.direction = tfma.MetricDirection.HIGHER_IS_BETTER
        threshold.change_threshold.absolute.value = -gate.max_top_1_drop
    return metric


def _metrics() -> list[tfma.MetricConfig]:
    return [
        tfma.MetricConfig(class_name="ExampleCount"),
        tfma.MetricConfig(class_name="SparseTopKCategoricalAccuracy", config=f'{{"name": "{TOP_5}", "k": 5}}'),
        tfma.MetricConfig(class_name="SparseCategoricalCrossentropy", config=f'{{"name": "{LOSS}"}}'),
    ]


def _confusion_matrix() -> tfma.MetricConfig:
    return tfma.MetricConfig(class_name="MultiClassConfusionMatrixPlot")
