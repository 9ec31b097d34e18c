"""The probe: heads of a grid do not see each other, groups are not torn, and only the head changes."""

import dataclasses
import logging

import keras
import numpy as np
import pytest

from models.checkpoints.pretrained import build_model
from models.clips import images, input_pipeline
from models.network.vivit import HEAD
from models.training.config import ProbeConfig
from models.training.probing.features import Features, features_of
from models.training.probing.heads import Fitting, fit_heads
from models.training.probing.probe import probe
from pipeline.training import splits
from tests.models.training.runs import CLASSES, CONFIG, write_clips

SIZES = {"verb": 3, "noun": 2}
FITTING = Fitting(SIZES, epochs=20, batch_size=16, label_smoothing=0.0, seed=0)
GRID = [(1e-3, 0.01), (1e-2, 0.1), (1e-2, 10.0)]


def features(*, scale=1.0, shift=0.0):
    """48 clips of two views, whose classes are far apart."""
    rng = np.random.default_rng(0)
    labels = {head: rng.integers(0, size, 48).astype(np.int32) for head, size in SIZES.items()}
    centres = [rng.normal(size=(size, 10)) for size in SIZES.values()]
    middle = sum(centre[of_head] for centre, of_head in zip(centres, labels.values(), strict=True))
    values = middle[:, None] + 0.1 * rng.normal(size=(48, 2, 10))
    return Features(
        (values * scale + shift).astype(np.float32), labels, [f"video{number // 3}" for number in range(48)]
    )


def test_the_heads_of_a_grid_are_those_that_are_fitted_alone():
    together = fit_heads(features(), GRID, FITTING)
    for number, pair in enumerate(GRID):
        alone = fit_heads(features(), [pair], FITTING)
        np.testing.assert_allclose(together.kernel[:, number], alone.kernel[:, 0], atol=1e-5)
        np.testing.assert_allclose(together.bias[number], alone.bias[0], atol=1e-5)


def test_features_far_from_zero_give_the_same_logits():
    near, far = features(), features(scale=7.0, shift=100.0)
    first, second = fit_heads(near, GRID, FITTING), fit_heads(far, GRID, FITTING)
    logits = np.einsum("nvd,dgk->nvgk", near.values, first.kernel) + first.bias
    again = np.einsum("nvd,dgk->nvgk", far.values, second.kernel) + second.bias
    np.testing.assert_allclose(again, logits, atol=2e-3)


def test_what_is_easy_is_learnt_and_decay_holds_it_back():
    found = features()
    heads = fit_heads(found, GRID, FITTING)
    accuracies = [accuracy for accuracy, _ in heads.scores(found, SIZES)]
    assert accuracies[1] == 1.0
    assert np.abs(heads.kernel[:, 2]).sum() < np.abs(heads.kernel[:, 1]).sum()


def test_a_feature_that_is_constant_has_no_weight():
    found = features()
    found.values[..., 3] = 0.1
    heads = fit_heads(found, GRID, FITTING)
    assert not heads.kernel[3].any()
    assert np.isfinite(heads.kernel).all()


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Moving gradients, two clips of each group."""
    folder = tmp_path_factory.mktemp("clips")
    write_clips(folder)
    files = [str(path) for path in sorted(folder.glob("*.gz"))]
    source = input_pipeline.transformed_source(files, CONFIG.heads, CONFIG.storage)
    return splits.count_clips(source, CLASSES, "train")


def network():
    keras.utils.set_random_seed(1)
    return build_model(CONFIG.model, clip_shape=CONFIG.clip.shape, classes=CLASSES)


SETTINGS = ProbeConfig(views=2, epochs=30, batch_size=8, rates=(1e-2, 3e-2), decays=(0.01,))
PROBED = dataclasses.replace(CONFIG, train=dataclasses.replace(CONFIG.train, probe=SETTINGS, epochs=0))


def test_only_the_head_changes_and_a_second_call_finds_it(clips, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    model = network()
    before = [weight.numpy() for weight in model.weights]
    first_time = probe(model, PROBED, clips, folder=str(tmp_path / "probe"))
    assert first_time.computed
    assert "2 heads fitted to" in caplog.text
    for weight, first in zip(model.weights, before, strict=True):
        if weight.path.startswith(HEAD):
            assert np.abs(weight.numpy() - first).max() > 0
        else:
            np.testing.assert_array_equal(weight.numpy(), first)
    again = network()
    second = probe(again, PROBED, clips, folder=str(tmp_path / "probe"))
    assert not second.computed
    for moments, found in zip(second.moments, first_time.moments, strict=True):
        np.testing.assert_array_equal(moments, found)
    for weight, found in zip(again.weights, model.weights, strict=True):
        np.testing.assert_array_equal(weight.numpy(), found.numpy())


def test_the_features_are_what_the_head_sees(clips):
    model = network()
    found = features_of(model, clips, CONFIG.clip, 1, batch_size=8)
    assert found.groups[0].startswith("video")
    kernel = np.random.default_rng(0).normal(size=model.get_layer(HEAD).kernel.shape).astype(np.float32)
    model.get_layer(HEAD).set_weights([kernel, np.zeros(3, np.float32)])
    batches = input_pipeline.eval_dataset(clips.source, clip=CONFIG.clip, batch_size=24)
    logits = model(images.normalise(next(iter(batches))["clip"]))["verb"]
    np.testing.assert_allclose(found.values[:, 0] @ kernel, logits, atol=1e-5)
