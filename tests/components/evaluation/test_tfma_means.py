"""Our metrics in TFMA: the accuracy of several heads as in training, the others as Keras has them."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_analysis as tfma

from components.evaluation.outcomes import joint_rank
from components.evaluation.tfma.means import CrossEntropy, TopKAccuracy
from models.training import scores
from schemas.predictions import UNKNOWN


@pytest.mark.parametrize("k", [1, 5])
def test_it_is_the_joint_accuracy_of_training(k):
    rng = np.random.RandomState(k)
    logits = {head: tf.constant(rng.randn(60, size), tf.float32) for head, size in (("noun", 4), ("verb", 3))}
    labels = {"noun": tf.constant(rng.randint(4, size=60)), "verb": tf.constant(rng.randint(3, size=60))}
    wanted = scores.correct(scores.joint_scores(logits), scores.joint_labels(labels, {"noun": 4, "verb": 3}), k)
    probabilities = [tf.nn.softmax(head).numpy() for head in logits.values()]
    pairs = np.stack([label.numpy() for label in labels.values()], axis=1)
    found = [joint_rank(example, pair) <= k for *example, pair in zip(*probabilities, pairs, strict=True)]
    assert 0 < sum(found) < 60
    np.testing.assert_array_equal(found, wanted)


def test_of_equal_combinations_the_one_whose_classes_come_first_is_better():
    halves = [np.full(2, 0.5)] * 2
    best_two = [pair for pair in np.ndindex(2, 2) if joint_rank(halves, pair) <= 2]
    assert best_two == [(0, 0), (0, 1)]


def test_a_label_that_is_no_class_is_never_right():
    sure = [np.array([0.0, 1.0])] * 2
    assert joint_rank(sure, (1, 1)) == 1
    assert joint_rank(sure, (1, -1)) == UNKNOWN
    assert joint_rank(sure, (2, 1)) == UNKNOWN


def test_small_probabilities_are_distinguished():
    tiny = np.array([1e-30, 2e-30, 1], np.float32)
    assert joint_rank([tiny, tiny], (1, 1)) <= 6
    assert joint_rank([tiny, tiny], (0, 1)) > 6


def combined(computation, examples):
    """Result of a computation on examples that arrive in two bundles."""
    bundles = []
    for bundle in (examples[:1], examples[1:]):
        accumulator = computation.combiner.create_accumulator()
        for example in bundle:
            accumulator = computation.combiner.add_input(accumulator, tfma.metrics.StandardMetricInputs(example))
        bundles.append(accumulator)
    return computation.combiner.extract_output(computation.combiner.merge_accumulators(bundles))


def test_candidate_and_baseline_are_counted_apart_over_bundles():
    def example(candidate, baseline):
        labels = {"verb": np.array([1]), "noun": np.array([0])}
        sure = {"verb": np.array([0.1, 0.9]), "noun": np.array([0.8, 0.2])}
        wrong = {"verb": np.array([0.1, 0.9]), "noun": np.array([0.3, 0.7])}
        predictions = {"candidate": sure if candidate else wrong, "baseline": sure if baseline else wrong}
        return {"labels": {"candidate": labels, "baseline": labels}, "predictions": predictions}

    metric = TopKAccuracy(outputs=["verb", "noun"], k=1, name="top_1")
    computations = metric.computations(model_names=["candidate", "baseline"], output_names=["action"])
    examples = [example(True, False), example(True, True), example(False, False), example(True, False)]
    values = {}
    for computation in computations:
        values |= combined(computation, examples)
    assert {(key.model_name, key.output_name, key.name): value for key, value in values.items()} == {
        ("candidate", "action", "top_1"): 0.75,
        ("baseline", "action", "top_1"): 0.25,
    }


def test_one_head_is_measured_as_keras_does():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(8), 40).astype(np.float32)
    probabilities[0], probabilities[1] = np.eye(8)[2], np.eye(8)[3]  # Sure, and in vain where the label is another.
    labels = np.array([2, 4, *rng.integers(8, size=38)])
    examples = [
        {"labels": np.array([label]), "predictions": row} for label, row in zip(labels, probabilities, strict=True)
    ]
    keras_metrics = {
        TopKAccuracy(k=1, name="top_1"): keras.metrics.SparseCategoricalAccuracy(),
        TopKAccuracy(k=5, name="top_5"): keras.metrics.SparseTopKCategoricalAccuracy(k=5),
        CrossEntropy(name="loss"): keras.metrics.SparseCategoricalCrossentropy(),
    }
    for metric, reference in keras_metrics.items():
        (computation,) = metric.computations(model_names=[""], output_names=[""])
        (value,) = combined(computation, examples).values()
        reference.update_state(labels, probabilities)
        assert value == pytest.approx(float(reference.result()), rel=1e-6)
