"""What TFMA measures of a served model, and the thresholds for its blessing.

Per head two outputs are scored: the head itself, over all views, which is gated, and its centre view alone. Several
heads are also scored together, as `joint_name`: "action" for EPIC-KITCHENS' verb and noun. Every metric is also
computed per class (the slices of the heads' labels) and per value of the slice columns.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Literal

import tensorflow_model_analysis as tfma

from models.evaluation.joint_accuracy import JointAccuracy
from schemas import features, serving

TOP_1, TOP_5, LOSS = "top_1", "top_5", "loss"
ACTION_HEADS = {"verb", "noun"}


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
    """The gate of a model.

    Attributes:
      split: The split that is evaluated.
      min_top_1: Top-1 accuracy over all views that every head must reach, 0 to 1.
      min_joint_top_1: The same of all heads together, where there are several.
      max_top_1_drop: How much of it a head, or all together, may lose against the model in production, 0 to 1.
    """

    split: Literal["eval", "test"] = "eval"
    min_top_1: float = 0.0
    min_joint_top_1: float = 0.0
    max_top_1_drop: float = 0.0

    def __post_init__(self):
        for field in ("min_top_1", "min_joint_top_1", "max_top_1_drop"):
            if not 0 <= getattr(self, field) <= 1:
                raise ValueError(f"evaluation.{field} is {getattr(self, field)}; it must be between 0 and 1")


def joint_name(heads: Sequence[str]) -> str:
    """Name of all heads together: "action" for verb and noun, else "joint"."""
    return "action" if set(heads) == ACTION_HEADS else "joint"


def scored_names(heads: Sequence[str]) -> tuple[str, ...]:
    """Names of the metrics' outputs: the heads, and where there are several, all together."""
    return (*heads, joint_name(heads)) if len(heads) > 1 else tuple(heads)


def eval_config(heads: Sequence[str], slices: Sequence[str], config: EvaluationConfig) -> tfma.EvalConfig:
    """Builds TFMA's configuration.

    Args:
      heads: Label heads of the model.
      slices: Names of the slice columns.
      config: The gate.

    Raises:
      ValueError: If the gate has a threshold for several heads and there is one, or a head is called "joint".
    """
    if config.min_joint_top_1 and len(heads) == 1:
        raise ValueError(
            f"evaluation.min_joint_top_1 is {config.min_joint_top_1}, but there is one head, {heads[0]}: set "
            "evaluation.min_top_1"
        )
    if len(heads) > 1 and joint_name(heads) in heads:
        raise ValueError(f"head {joint_name(heads)!r} has the name of all heads together: rename its column")
    centre_views = [serving.centre_view(head) for head in heads]
    label_keys = {output: features.label_id_key(head) for head in heads for output in (head, serving.centre_view(head))}
    gate = (config.min_top_1, config.max_top_1_drop)
    metrics_specs = [
        _metrics_spec(heads, [_gated(_top_1(), *gate), _top_5(), _loss(), _confusion_matrix()]),
        _metrics_spec(centre_views, [_top_1(), _top_5(), _loss()]),
    ]
    if len(heads) > 1:
        name = joint_name(heads)
        gate = (config.min_joint_top_1, config.max_top_1_drop)
        metrics_specs += [
            _metrics_spec([name], [_gated(_joint(TOP_1, 1, heads), *gate), _joint(TOP_5, 5, heads)]),
            _metrics_spec(
                [serving.centre_view(name)], [_joint(TOP_1, 1, centre_views), _joint(TOP_5, 5, centre_views)]
            ),
        ]
    return tfma.EvalConfig(
        model_specs=[
            tfma.ModelSpec(
                model_type="tf_generic",
                signature_name=serving.EVALUATION_SIGNATURE,
                label_keys=label_keys,
                preprocessing_function_names=[serving.TRANSFORM_SIGNATURE],
            )
        ],
        metrics_specs=metrics_specs,
        slicing_specs=[
            tfma.SlicingSpec(),
            *(tfma.SlicingSpec(feature_keys=[features.label_key(head)]) for head in heads),
            *(tfma.SlicingSpec(feature_keys=[features.slice_key(name)]) for name in slices),
        ],
    )


def _metrics_spec(outputs: Sequence[str], metrics: Sequence[tfma.MetricConfig]) -> tfma.MetricsSpec:
    return tfma.MetricsSpec(output_names=outputs, metrics=[tfma.MetricConfig(class_name="ExampleCount"), *metrics])


def _top_1() -> tfma.MetricConfig:
    return tfma.MetricConfig(class_name="SparseCategoricalAccuracy", config=json.dumps({"name": TOP_1}))


def _top_5() -> tfma.MetricConfig:
    return tfma.MetricConfig(class_name="SparseTopKCategoricalAccuracy", config=json.dumps({"name": TOP_5, "k": 5}))


def _loss() -> tfma.MetricConfig:
    return tfma.MetricConfig(class_name="SparseCategoricalCrossentropy", config=json.dumps({"name": LOSS}))


def _joint(name: str, k: int, outputs: Sequence[str]) -> tfma.MetricConfig:
    config = json.dumps({"name": name, "k": k, "outputs": list(outputs)})
    return tfma.MetricConfig(class_name=JointAccuracy.__name__, module=JointAccuracy.__module__, config=config)


def _confusion_matrix() -> tfma.MetricConfig:
    return tfma.MetricConfig(class_name="MultiClassConfusionMatrixPlot")


def _gated(metric: tfma.MetricConfig, lowest: float, drop: float) -> tfma.MetricConfig:
    # A plain threshold would apply to every slice; the gate applies to all clips together.
    threshold = metric.per_slice_thresholds.add(slicing_specs=[tfma.SlicingSpec()]).threshold
    threshold.value_threshold.lower_bound.value = lowest
    threshold.change_threshold.direction = tfma.MetricDirection.HIGHER_IS_BETTER
    threshold.change_threshold.absolute.value = -drop
    return metric
