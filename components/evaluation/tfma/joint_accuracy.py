"""TFMA's metric of all heads together: an example is right if the labels of all heads are right at once.

A combination of one class per head scores the product of its classes' probabilities, as in `scores.joint_scores`
(spec §5: EPIC-KITCHENS' action). Combinations, 29,100 of them there, exist for one example at a time only: what the
model gives, and what Beam carries, are the heads' own probabilities.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.metrics import metric_util

from components.evaluation.outcomes import joint_rank
from schemas.predictions import UNKNOWN


class JointAccuracy(tfma.metrics.Metric):
    """Share of examples whose labels are among the k best combinations, see `outcomes.joint_rank`.

    The results list it under the output name of its MetricsSpec, which need not be an output of the model.

    Args:
      outputs: Outputs of the model, one per head: probabilities [K], each with a label of its own.
      k: How many combinations may be named.
      name: Of the metric.
    """

    def __init__(self, outputs: Sequence[str], k: int, name: str):
        super().__init__(metric_util.merge_per_key_computations(_computations), outputs=list(outputs), k=k, name=name)


def _computations(
    name: str, outputs: Sequence[str], k: int, model_name: str = "", output_name: str = ""
) -> tfma.metrics.MetricComputations:
    key = tfma.metrics.MetricKey(name=name, model_name=model_name, output_name=output_name)
    return [tfma.metrics.MetricComputation(keys=[key], preprocessors=None, combiner=_Mean(key, tuple(outputs), k))]


class _Mean(beam.CombineFn):
    """Share of ranks up to k, as (examples that are right, examples)."""

    def __init__(self, key: tfma.metrics.MetricKey, outputs: tuple[str, ...], k: int):
        self._key, self._outputs, self._k = key, outputs, k

    def create_accumulator(self) -> tuple[int, int]:
        return 0, 0

    def add_input(self, accumulator: tuple[int, int], element) -> tuple[int, int]:
        model = self._key.model_name
        probabilities = [np.ravel(element.get_predictions(model, output)) for output in self._outputs]
        labels = [np.ravel(element.get_labels(model, output)).item() for output in self._outputs]
        right, count = accumulator
        return right + (UNKNOWN < joint_rank(probabilities, labels) <= self._k), count + 1

    def merge_accumulators(self, accumulators: Iterable[tuple[int, int]]) -> tuple[int, int]:
        rights, counts = zip(*accumulators, strict=True)
        return sum(rights), sum(counts)

    def extract_output(self, accumulator: tuple[int, int]) -> dict[tfma.metrics.MetricKey, float]:
        right, count = accumulator
        return {self._key: right / count if count else float("nan")}
