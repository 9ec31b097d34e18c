"""models.training.scores: what the golden cases (test_parity_training) do not fix."""

import numpy as np
import pytest
import tensorflow as tf

from models.training import scores


def test_of_equal_logits_the_first_class_wins():
    correct = scores.correct(tf.zeros([3, 6]), tf.constant([0, 1, 5]))
    np.testing.assert_array_equal(correct, [1, 0, 0])
    np.testing.assert_array_equal(scores.correct(tf.zeros([3, 6]), tf.constant([0, 1, 5]), 5), [1, 1, 0])


def test_joint_index_runs_over_the_last_head_first():
    logits = {"noun": tf.one_hot([2], 3) * 50, "verb": tf.one_hot([1], 4) * 50}
    index = int(tf.argmax(scores.joint_scores(logits), axis=-1)[0])
    assert index == 2 * 4 + 1
    labels = {"noun": tf.constant([2]), "verb": tf.constant([1])}
    assert scores.joint_labels(labels, {"noun": 3, "verb": 4}).numpy().tolist() == [index]


def test_joint_accuracy_needs_every_head_right():
    rng = np.random.RandomState(4)
    logits = {"noun": tf.constant(rng.randn(40, 3), tf.float32), "verb": tf.constant(rng.randn(40, 4), tf.float32)}
    labels = {"noun": tf.constant(rng.randint(3, size=40)), "verb": tf.constant(rng.randint(4, size=40))}
    joint = scores.correct(scores.joint_scores(logits), scores.joint_labels(labels, {"noun": 3, "verb": 4}))
    both = scores.correct(logits["noun"], labels["noun"]) * scores.correct(logits["verb"], labels["verb"])
    assert 0 < float(tf.reduce_sum(both)) < 40
    np.testing.assert_array_equal(joint, both)


def test_metrics_run_in_a_graph_of_any_batch_size():
    @tf.function(input_signature=[tf.TensorSpec([None, 6]), tf.TensorSpec([None, 7])])
    def graph(noun, verb):
        targets = {"noun": tf.one_hot(tf.argmax(noun, -1), 6), "verb": tf.one_hot(tf.argmax(verb, -1), 7)}
        return scores.metrics({"noun": noun, "verb": verb}, targets)

    rng = np.random.RandomState(0)
    result = graph(rng.randn(5, 6).astype(np.float32), rng.randn(5, 7).astype(np.float32))
    assert [float(value) for value in result["noun-verb_accuracy"]] == [5.0, 5.0]


@pytest.mark.parametrize("classes", [(7, 9), (3, 4), (4, 3, 6)])
@pytest.mark.parametrize("k", [1, 5])
def test_the_best_combinations_are_those_of_all_combinations(classes, k):
    rng = np.random.RandomState(k)
    heads = {f"head{index}": count for index, count in enumerate(classes)}
    # Some heads are equal over classes: of equals, the first wins.
    logits = {head: tf.constant(np.round(rng.randn(300, count)), tf.float32) for head, count in heads.items()}
    labels = {head: tf.constant(rng.randint(count, size=300)) for head, count in heads.items()}
    found = scores.jointly_correct(logits, labels, k)
    of_all = scores.correct(scores.joint_scores(logits), scores.joint_labels(labels, heads), k)
    assert 0 < float(tf.reduce_sum(of_all)) < 300
    np.testing.assert_array_equal(found, of_all)


def test_no_step_forms_all_combinations():
    """The largest tensor of EPIC-KITCHENS' two heads is the logits themselves."""
    nouns, verbs = tf.TensorSpec([8, 300]), tf.TensorSpec([8, 97])
    graph = tf.function(
        lambda noun, verb: scores.metrics({"noun": noun, "verb": verb}, {"noun": noun, "verb": verb}),
        input_signature=[nouns, verbs],
    ).get_concrete_function()
    sizes = [tensor.shape.num_elements() for operation in graph.graph.get_operations() for tensor in operation.outputs]
    assert max(filter(None, sizes)) == 8 * 300
