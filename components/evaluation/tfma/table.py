"""TFMA evaluates from a table of predictions: model-agnostic, with its slices and plots.

Each model's probabilities are placed on the union of all class names, so that a label is valid for every model: a class
that a model does not know has probability 0 there, and the clips of that class count as wrong. The intervals of the
accuracies are the gate's, which know that clips of one source are not independent; TFMA's jackknife does not, and takes
six times as long as all the rest.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis import constants
from tensorflow_model_analysis.proto import metrics_for_slice_pb2

from components.evaluation.outcomes import Outcome, outcome, parts_by_name
from components.evaluation.statistics import accuracy_interval
from components.evaluation.tfma.config import TOP_K, eval_config
from schemas import features, serving
from schemas.predictions import CANDIDATE, PRODUCTION, Predictions, Role, softmax


def evaluate_table(pipeline: beam.Pipeline, table: str, output: str) -> None:
    """Adds the evaluation of a table to a pipeline.

    Args:
      pipeline: The Beam pipeline.
      table: Folder (any URI) of the table.
      output: Folder of TFMA's results.
    """
    predictions = Predictions.read(table)
    roles = list(predictions.scores)
    config = eval_config(list(predictions.models[CANDIDATE].classes), list(predictions.clips.slices))
    # TFMA reads the results of a single model without a name.
    config.model_specs.extend(
        tfma.ModelSpec(name=role if len(roles) > 1 else "", is_baseline=role == PRODUCTION) for role in roles
    )
    slices = tfma.extractors.SliceKeyExtractor(eval_config=config)
    evaluation = (
        pipeline
        | "Table" >> beam.Create([table])
        | "Clips" >> beam.FlatMap(_extracts)
        | "Spread" >> beam.Reshuffle()
        | "Evaluate"
        >> tfma.ExtractAndEvaluate(extractors=[slices], evaluators=tfma.default_evaluators(eval_config=config))
    )
    evaluation["metrics"] |= "Intervals" >> beam.ParDo(_AddIntervals(table))
    _ = evaluation | "Write" >> tfma.WriteResults(tfma.default_writers(output, eval_config=config))


def union_of_classes(predictions: Predictions) -> dict[str, list[str]]:
    """Class names by head of the candidate: its own first, then those that only production or a clip has."""
    union = {}
    for head, names in predictions.models[CANDIDATE].classes.items():
        others = [model.classes.get(head, []) for model in predictions.models.values()]
        union[head] = list(dict.fromkeys(itertools.chain(names, *others, predictions.clips.labels[head])))
    return union


def _extracts(table: str) -> Iterator[dict[str, Any]]:
    predictions = Predictions.read(table)
    clips, classes = predictions.clips, union_of_classes(predictions)
    outputs = {role: _probabilities(predictions, role, classes) for role in predictions.scores}
    several = len(outputs) > 1
    ids = {head: {name: number for number, name in enumerate(names)} for head, names in classes.items()}
    for row in range(len(clips)):
        labels = {}
        for head in classes:
            label = np.array([ids[head][clips.labels[head][row]]])
            labels |= {head: label, serving.centre_view(head): label}
        values = {role: {output: value[row] for output, value in by.items()} for role, by in outputs.items()}
        yield {
            constants.FEATURES_KEY: {
                **{features.label_key(head): np.array([names[row]]) for head, names in clips.labels.items()},
                **{features.slice_key(name): np.array([of[row]]) for name, of in clips.slices.items() if of[row]},
            },
            constants.LABELS_KEY: dict.fromkeys(values, labels) if several else labels,
            constants.PREDICTIONS_KEY: values if several else values[CANDIDATE],
        }


def _probabilities(predictions: Predictions, role: Role, classes: Mapping[str, Sequence[str]]) -> dict[str, np.ndarray]:
    """Output -> float32 [N, K] on the union of classes, over all views and over the centre view."""
    outputs = {}
    for head, names in classes.items():
        scores, own = predictions.scores[role].get(head), predictions.models[role].classes.get(head, [])
        columns = [names.index(name) for name in own]
        for output in (head, serving.centre_view(head)):
            outputs[output] = np.zeros((len(predictions.clips), len(names)), np.float32)
            if scores:
                outputs[output][:, columns] = scores.probabilities if output == head else softmax(scores.centre_logits)
    return outputs


class _AddIntervals(beam.DoFn):
    """Gives the accuracies of every slice their intervals."""

    def __init__(self, table: str):
        self._table = table

    def setup(self) -> None:
        self._predictions = Predictions.read(self._table)
        self._parts = parts_by_name(list(self._predictions.models[CANDIDATE].classes))
        self._outcome = functools.cache(self._outcome_of)

    def process(self, element):
        slice_key, metrics = element
        rows = self._rows(slice_key)
        groups = [self._predictions.clips.groups[row] for row in rows]
        yield slice_key, {key: self._bounded(key, value, rows, groups) for key, value in metrics.items()}

    def _rows(self, slice_key) -> np.ndarray:
        clips, chosen = self._predictions.clips, np.ones(len(self._predictions.clips), bool)
        columns = {features.label_key(name): of for name, of in clips.labels.items()}
        columns |= {features.slice_key(name): of for name, of in clips.slices.items()}
        for column, value in slice_key:
            chosen &= np.array([of == value for of in columns[column]])
        return np.flatnonzero(chosen)

    def _bounded(self, key: tfma.metrics.MetricKey, value, rows: np.ndarray, groups: Sequence[str]):
        if key.name not in TOP_K or key.is_diff:
            return value
        found = self._outcome(key.model_name or CANDIDATE, key.output_name)
        if found is None:
            return value
        interval = accuracy_interval(found.correct(TOP_K[key.name])[rows], groups)
        bounded = metrics_for_slice_pb2.BoundedValue()
        bounded.value.value = float(value)
        bounded.lower_bound.value, bounded.upper_bound.value = interval.low, interval.high
        return bounded

    def _outcome_of(self, role: Role, output: str) -> Outcome | None:
        """The outcome of an output; None where production lacks one of its heads."""
        name = next(name for name in self._parts if output in (name, serving.centre_view(name)))
        if not set(self._parts[name]) <= set(self._predictions.scores[role]):
            return None
        return outcome(self._predictions, role, self._parts[name], centre=output != name)
