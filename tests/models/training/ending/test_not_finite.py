"""A step that is not finite ends the run before anything of it is saved, and a retry goes on from the step before."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from components.media.config import part
from models.checkpoints.pretrained import build_model
from models.clips import input_pipeline
from models.training.config import PaceConfig
from models.training.loop import TrainingError, first_not_finite, train_steps
from pipeline.training import splits
from tests.models.training.runs import CLASSES, with_settings

# Checkpoints at steps 4 and 8 of 12.
CONFIG = with_settings(train__epochs="2", train__checkpoint_steps="4", train__steps_per_execution="2")


class Fault(keras.layers.Layer):
    """Passes logits on; at one step, counted from 1, adds `bend` of zeros, which has a gradient."""

    def __init__(self, at, bend):
        super().__init__()
        self.at, self.bend = at, bend
        # Its state counts the calls, and is in a checkpoint, but not among the weights.
        self.calls = keras.random.SeedGenerator(0)

    def call(self, logits, training=False):
        if not training:
            return logits
        faulty = self.calls.next()[1] + 1 == self.at
        zeros = logits - tf.stop_gradient(logits)
        return tf.cond(faulty, lambda: logits + self.bend(zeros), lambda: logits)


def huge(values):
    return values * 1e24


def train(clips, output, *, at=0, bend=tf.identity):
    """Trains with a fault; returns the weights and the steps that were reported."""
    keras.utils.set_random_seed(1)
    plain = build_model(CONFIG.model, clip_shape=CONFIG.clip.shape, classes=CLASSES)
    model = keras.Model(plain.input, {"verb": Fault(at, bend)(plain.output["verb"])})
    files = [str(path) for path in sorted(clips.glob("*.gz"))]
    counted = splits.count_clips(input_pipeline.transformed_source(files, CONFIG.heads, "raw"), CLASSES, "train")
    steps = train_steps(
        model, tf.distribute.get_strategy(), CONFIG, part(PaceConfig, CONFIG.train), counted, counted,
        checkpoints=str(output / "checkpoints"), log_dir=str(output / "logs"),
    )  # fmt: skip
    reported = [step for step, _ in steps]
    return [variable.numpy() for variable in model.trainable_variables], reported


@pytest.fixture(scope="module")
def undisturbed(clips, tmp_path_factory):
    return train(clips, tmp_path_factory.mktemp("undisturbed"))[0]


# The root's is infinite at 0; a huge one is finite, but its square overflows.
@pytest.mark.parametrize("bend", [tf.sqrt, huge])
def test_a_gradient_at_a_checkpoint_step_is_named_and_the_retry_ends_as_if_nothing_were(
    clips, tmp_path, undisturbed, bend
):
    wanted = r"the gradient's norm is (inf|nan) at step 8; the clips of the batch: clip\d+, .*; step 4 is saved"
    with pytest.raises(TrainingError, match=wanted):
        train(clips, tmp_path, at=8, bend=bend)
    assert tf.train.latest_checkpoint(str(tmp_path / "checkpoints")).endswith("step-4")
    weights, reported = train(clips, tmp_path)
    assert reported == [6, 8, 10, 12]
    for found, expected in zip(weights, undisturbed, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_the_first_step_counts_and_within_it_what_comes_first():
    fine = dict.fromkeys(("loss", "gradient_norm", "weight_norm"), np.ones(4))
    assert first_not_finite(fine) is None
    late = {"loss": np.array([1, 1, 1, np.nan]), "gradient_norm": np.array([1, np.inf, np.nan, 1])}
    assert first_not_finite(fine | late) == (1, "the gradient's norm is inf")
    both = {"loss": np.array([1, np.nan, 1, 1]), "gradient_norm": np.array([1, np.nan, 1, 1])}
    assert first_not_finite(fine | both) == (1, "the loss is nan")
