"""Attentive heads: a grid that does not see itself, exact folding, the order of time, and a network like any other."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from models.checkpoints.pretrained import build_model
from models.clips import input_pipeline
from models.network.pooling import AttentivePool
from models.network.vivit import ATTENTIVE, HEAD
from models.training.config import ProbeConfig
from models.training.loop import TrainingError
from models.training.probing.attentive import fit_attentive
from models.training.probing.features import Tokens, features_of, tokens_of
from models.training.probing.heads import Fitting
from models.training.probing.probe import probe
from pipeline.training import splits
from tests.models.training.runs import CLASSES, CONFIG, write_clips

SIZES, FRAMES, SPACE, WIDTH = {"verb": 2, "noun": 3}, 4, 3, 16
FITTING = Fitting(SIZES, epochs=30, batch_size=16, label_smoothing=0.0, seed=0)
GRID = [(1e-3, 0.01), (2e-2, 0.0), (2e-2, 10.0)]
POOL = {"num_heads": 2, "frames": FRAMES}


def tokens(count=160, *, scale=1.0, shift=0.0, seed=0):
    """Two events in the noise of each clip: which comes first is the verb, and what the second is, the noun.

    The values are eighths, so that float16 holds them shifted by 16 too.
    """
    rng = np.random.default_rng(seed)
    events = np.random.default_rng(1).normal(size=(4, WIDTH)) * 3
    labels = {head: rng.integers(0, size, count).astype(np.int32) for head, size in SIZES.items()}
    values = 0.2 * rng.normal(size=(count, 2, FRAMES, SPACE, WIDTH))
    for clip in range(count):
        for view in range(2):
            frames = np.sort(rng.choice(FRAMES, 2, replace=False))[:: 1 - 2 * labels["verb"][clip]]
            places = rng.integers(0, SPACE, 2)
            values[clip, view, frames[0], places[0]] += events[0]
            values[clip, view, frames[1], places[1]] += events[1 + labels["noun"][clip]]
    values = np.round(values * 8) / 8 * scale + shift
    values = values.reshape(count, 2, FRAMES * SPACE, WIDTH).astype(np.float16)
    return Tokens(values, np.arange(count), labels, [f"video{number // 2}" for number in range(count)])


def network(heads, number):
    """Pool and head as a network has them: a function of tokens [B, T * N, D] to logits [B, K]."""
    weights, pool = heads.weights(number), AttentivePool(**POOL)
    pool.build((None, FRAMES * SPACE, WIDTH))
    pool.set_weights([weights["query"], weights["position"]])
    return lambda clips: pool(clips.astype(np.float32)).numpy() @ weights["kernel"] + weights["bias"]


def test_the_heads_of_a_grid_are_those_that_are_fitted_alone():
    found = tokens(48)
    together = fit_attentive(found, GRID, FITTING, **POOL)
    for number, pair in enumerate(GRID):
        alone = fit_attentive(found, [pair], FITTING, **POOL).weights(0)
        for name, value in together.weights(number).items():
            np.testing.assert_allclose(value, alone[name], atol=2e-4, err_msg=name)


def test_the_order_of_events_is_learnt_and_the_network_computes_what_was_scored():
    heads, unseen = fit_attentive(tokens(), GRID, FITTING, **POOL), tokens(seed=2)
    scores = heads.scores(unseen, SIZES)
    assert scores[1][0] > 0.9
    logits = np.mean([network(heads, 1)(unseen.values[:, view]) for view in range(2)], axis=0)
    correct = [np.mean(logits[:, :2].argmax(1) == unseen.labels["verb"])]
    correct += [np.mean(logits[:, 2:].argmax(1) == unseen.labels["noun"])]
    assert scores[1][0] == pytest.approx(np.mean(correct))
    kernels = [np.abs(heads.weights(number)["kernel"]).sum() for number in range(3)]
    assert kernels[2] < kernels[1]


def test_tokens_far_from_zero_give_the_same_logits():
    near, far = tokens(48), tokens(48, scale=2.0, shift=16.0)
    first, second = (network(fit_attentive(found, GRID, FITTING, **POOL), 1) for found in (near, far))
    wanted = first(near.values[:, 0])
    assert np.ptp(wanted) > 1
    np.testing.assert_allclose(second(far.values[:, 0]), wanted, atol=2e-2)


def test_a_channel_that_is_constant_has_no_weight():
    found = tokens(48)
    found.values[..., 3] = 0.1
    weights = fit_attentive(found, GRID, FITTING, **POOL).weights(1)
    assert not weights["query"][:, 3].any()
    assert not weights["kernel"].reshape(2, WIDTH + FRAMES, -1)[:, 3].any()
    assert all(np.isfinite(value).all() for value in weights.values())


def test_a_part_has_its_clips_and_shares_their_memory():
    found = tokens(6)
    part = found.part(np.array([False, True, False, False, True, True]))
    assert part.values is found.values
    assert (list(part.rows), part.groups) == ([1, 4, 5], ["video0", "video2", "video2"])
    np.testing.assert_array_equal(part.labels["noun"], found.labels["noun"][[1, 4, 5]])


MODEL = dataclasses.replace(CONFIG.model, classifier="attentive", temporal_layers=0)
SETTINGS = ProbeConfig(views=2, epochs=10, batch_size=8, rates=(1e-2, 3e-2), decays=(0.01,))
PROBED = dataclasses.replace(CONFIG, model=MODEL, train=dataclasses.replace(CONFIG.train, probe=SETTINGS, epochs=0))


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    write_clips(folder)
    files = [str(path) for path in sorted(folder.glob("*.gz"))]
    source = input_pipeline.transformed_source(files, CONFIG.heads, CONFIG.storage)
    return splits.count_clips(source, CLASSES, "train")


def built():
    keras.utils.set_random_seed(1)
    return build_model(MODEL, clip_shape=CONFIG.clip.shape, classes=CLASSES)


def test_only_pool_and_head_change_and_a_second_call_finds_them(clips, tmp_path):
    model = built()
    before = [weight.numpy() for weight in model.weights]
    first_time = probe(model, PROBED, clips, folder=str(tmp_path / "probe"))
    assert first_time.computed
    for weight, first in zip(model.weights, before, strict=True):
        if weight.path.startswith((HEAD, ATTENTIVE)):
            assert np.abs(weight.numpy() - first).max() > 0
        else:
            np.testing.assert_array_equal(weight.numpy(), first)
    # What training on standardised features goes on from.
    seen = features_of(model, clips, CONFIG.clip, 2, batch_size=8)
    for moments, wanted in zip(first_time.moments, seen.moments(), strict=True):
        np.testing.assert_allclose(moments, wanted, atol=2e-3)
    again = built()
    second = probe(again, PROBED, clips, folder=str(tmp_path / "probe"))
    assert not second.computed
    np.testing.assert_array_equal(second.moments.variance, first_time.moments.variance)
    for weight, found in zip(again.weights, model.weights, strict=True):
        np.testing.assert_array_equal(weight.numpy(), found.numpy())


def test_the_tokens_are_what_the_pool_sees(clips):
    model = built()
    found = tokens_of(model, clips, CONFIG.clip, 2, batch_size=8)
    # Two frames of four patches and a class token each.
    assert found.values.shape == (24, 2, 2 * 5, 12)
    assert found.values.dtype == np.float16
    pooled = model.get_layer(ATTENTIVE)(tf.cast(found.values[:, 1], tf.float32))
    seen = features_of(model, clips, CONFIG.clip, 2, batch_size=8)
    np.testing.assert_allclose(pooled, seen.values[:, 1], atol=5e-3)
    assert found.groups == seen.groups


def test_tokens_that_do_not_fit_are_refused_before_any_is_computed(clips):
    many = dataclasses.replace(clips, counts={"verb": {0: 10**8}})
    with pytest.raises(
        TrainingError, match=r"100000000 clips, 2 views each, take 44.7 GiB, and at most 4 GiB are kept: "
    ):
        tokens_of(built(), many, CONFIG.clip, 2, batch_size=8)
