"""TFMA's metrics of ours: means over the clips of a slice, in NumPy.

TFMA's wrapper of Keras's metrics gives the same numbers and takes two thirds of an evaluation, and Keras has no
accuracy of several heads together. There a combination of one class per head scores the product of its classes'
probabilities, as in `scores.joint_scores` (spec §5: EPIC-KITCHENS' action). Combinations, 29,100 of them there, exist
for one example at a time only: what the model gives, and what Beam carries, are the heads' own probabilities.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.metrics import metric_util

from components.evaluation.outcomes import joint_rank
from schemas.predictions import UNKNOWN

# As Keras: where a model does not know the class, its loss is finite.
_LEAST_PROBABILITY = 1e-7


class TopKAccuracy(tfma.metrics.Metric):
    """Share of examples whose labels are among the k best combinations, see `outcomes.joint_rank`.

    The results list it under the output name of its MetricsSpec, which need not be an output of the model where there
    are several.

    Args:
      k: How many classes or combinations may be named.
      outputs: Outputs of the model, one per head: probabilities [K], each with a label of its own. None: the output of
        the MetricsSpec.
      name: Of the metric.
    """

    def __init__(self, k: int, name: str, outputs: Sequence[str] | None = None):
        create = metric_util.merge_per_key_computations(_top_k_computations)
        super().__init__(create, k=k, outputs=outputs and list(outputs), name=name)


class CrossEntropy(tfma.metrics.Metric):
    """Mean cross-entropy in nats, of the MetricsSpec's output: probabilities [K] with a label."""

    def __init__(self, name: str):
        super().__init__(metric_util.merge_per_key_computations(_cross_entropy_computations), name=name)


def _top_k_computations(
    name: str, k: int, outputs: Sequence[str] | None, model_name: str = "", output_name: str = ""
) -> tfma.metrics.MetricComputations:
    key = tfma.metrics.MetricKey(name=name, model_name=model_name, output_name=output_name)
    return _computations(_TopKAccuracy(key, outputs or [output_name], k))


def _cross_entropy_computations(
    name: str, model_name: str = "", output_name: str = ""
) -> tfma.metrics.MetricComputations:
    return _computations(_CrossEntropy(tfma.metrics.MetricKey(name, model_name=model_name, output_name=output_name)))


def _computations(combiner: _Mean) -> tfma.metrics.MetricComputations:
    return [tfma.metrics.MetricComputation(keys=[combiner.key], preprocessors=None, combiner=combiner)]


class _Mean(beam.CombineFn):
    """Mean of a value of each example, as (sum, examples)."""

    def __init__(self, key: tfma.metrics.MetricKey):
        self.key = key

    def value(self, element: tfma.metrics.StandardMetricInputs) -> float:
        raise NotImplementedError

    def create_accumulator(self) -> tuple[float, int]:
        return 0.0, 0

    def add_input(self, accumulator: tuple[float, int], element) -> tuple[float, int]:
        total, count = accumulator
        return total + self.value(element), count + 1

    def merge_accumulators(self, accumulators: Iterable[tuple[float, int]]) -> tuple[float, int]:
        totals, counts = zip(*accumulators, strict=True)
        return sum(totals), sum(counts)

    def extract_output(self, accumulator: tuple[float, int]) -> dict[tfma.metrics.MetricKey, float]:
        total, count = accumulator
        return {self.key: total / count if count else float("nan")}

    def _probabilities(self, element, output: str) -> np.ndarray:
        return np.ravel(element.get_predictions(self.key.model_name, output))

    def _label(self, element, output: str) -> int:
        return np.ravel(element.get_labels(self.key.model_name, output)).item()


class _TopKAccuracy(_Mean):
    def __init__(self, key: tfma.metrics.MetricKey, outputs: Sequence[str], k: int):
        super().__init__(key)
        self._outputs, self._k = tuple(outputs), k

    def value(self, element) -> float:
        probabilities = [self._probabilities(element, output) for output in self._outputs]
        labels = [self._label(element, output) for output in self._outputs]
        return float(UNKNOWN < joint_rank(probabilities, labels) <= self._k)


class _CrossEntropy(_Mean):
    def value(self, element) -> float:
        output = self.key.output_name
        probability = self._probabilities(element, output)[self._label(element, output)]
        return -float(np.log(np.clip(probability, _LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY)))
