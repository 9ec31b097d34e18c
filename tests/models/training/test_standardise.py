"""A head on standardised features: it starts and ends as a plain one, and is trained by the batch's moments."""

import logging

import keras
import numpy as np
import pytest
import tensorflow as tf

from models.checkpoints.pretrained import build_model
from models.clips import images, input_pipeline
from models.network.vivit import HEAD
from models.training.standardise import EPSILON, Moments, StandardisedHead
from tests.models.training import runs
from tests.models.training.runs import CLASSES, CONFIG, with_settings

PROBE = {"views": "1", "epochs": "20", "batch_size": "8", "rates": "1e-2", "decays": "0.01", "holdout": "0.25"}
TWO_STEPS = {f"train__probe__{name}": value for name, value in PROBE.items()}
TWO_STEPS |= {"train__standardise": "true", "train__epochs": "4", "train__eval_epochs": "4"}


@pytest.fixture
def model():
    """A network whose features have a large common part."""
    model = build_model(CONFIG.model, clip_shape=CONFIG.clip.shape, classes=CLASSES)
    rng = np.random.default_rng(0)
    norm = next(weight for weight in model.weights if weight.path.endswith("TemporalTransformer/encoder_norm/bias"))
    norm.assign(norm + 30 * rng.normal(size=norm.shape))
    model.get_layer(HEAD).set_weights([rng.normal(size=weight.shape) for weight in model.get_layer(HEAD).weights])
    return model


def pixels(count=8, seed=0):
    return tf.random.stateless_uniform([count, *CONFIG.clip.shape, 3], [seed, 0], -1, 1)


def features(model, clips):
    return keras.Model(model.input, model.get_layer(HEAD).input)(clips).numpy()


def test_a_fitted_head_computes_the_same_logits_before_and_after(model):
    clips = pixels()
    wanted = model(clips)["verb"]
    found = features(model, pixels(64, seed=1))
    head = StandardisedHead(model, Moments(found.mean(0), found.var(0)))
    np.testing.assert_allclose(head.score(clips)["verb"], wanted, atol=1e-3)
    head.fold()
    np.testing.assert_allclose(model(clips)["verb"], wanted, atol=1e-3)


def test_training_sees_features_of_mean_0_and_variance_1_of_the_batch(model):
    clips = pixels()
    head = StandardisedHead(model)
    logits, moments = head.train(clips)
    found = features(model, clips)
    np.testing.assert_allclose(moments.mean, found.mean(0), rtol=1e-4)
    standardised = (found - found.mean(0)) / np.sqrt(found.var(0) + EPSILON)
    kernel, bias = model.get_layer(HEAD).get_weights()
    np.testing.assert_allclose(logits["verb"], standardised @ kernel + bias, atol=2e-2)


def test_the_running_moments_are_the_mean_of_the_first_batches_and_then_follow(model):
    head = StandardisedHead(model)
    width = head.variables[0].shape[0]
    wanted = 0.0
    for number in range(1, 21):
        head.update(Moments(tf.fill([width], float(number)), tf.ones([width])))
        wanted += max(0.1, 1 / number) * (number - wanted)
        if number == 10:
            assert wanted == pytest.approx(5.5)
    np.testing.assert_allclose(head.variables[0], np.full(width, wanted), rtol=1e-5)


def test_two_steps_learn_and_go_on_exactly_where_they_were_interrupted(clips, tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="vivit.train")
    config = with_settings(**TWO_STEPS)
    whole = runs.run(clips, tmp_path / "whole", config)
    assert caplog.text.index("probe: ") < caplog.text.index("step 24/24")
    runs.run(clips, tmp_path / "parts", config, executions=3)
    parts = runs.run(clips, tmp_path / "parts", config)
    for found, wanted in zip(parts.weights, whole.weights, strict=True):
        np.testing.assert_array_equal(found, wanted)
    finished = runs.run(clips, tmp_path / "parts", config)
    for found, wanted in zip(finished.weights, whole.weights, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_what_is_exported_is_what_was_evaluated(clips, tmp_path):
    config = with_settings(**TWO_STEPS)
    model = runs.run(clips, tmp_path, config)
    evaluated = runs.scalars(tmp_path)["eval/accuracy"][24]
    source = input_pipeline.transformed_source([str(path) for path in clips.glob("*.gz")], CONFIG.heads, CONFIG.storage)
    batch = next(iter(input_pipeline.eval_dataset(source, clip=CONFIG.clip, batch_size=24)))
    right = model(images.normalise(batch["clip"]))["verb"].numpy().argmax(1) == batch["labels"]["verb"].numpy()
    assert right.mean() == pytest.approx(evaluated)
