"""Smaller forms of a served model: what they store, that they answer as it does, and what is refused of them."""

import io
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from components.evaluation.lite import LiteNetwork
from components.gates.serving_check import ServingError, check_model
from models.clips import images
from models.clips.sampling import CENTRE_VIEW, ClipConfig, ViewsConfig
from models.network.vivit import ViViTConfig, build_vivit
from models.serving import smaller
from models.serving.export import ServedModel
from models.serving.smaller import write_smaller
from schemas import features, serving

CLIP, VIEWS = ClipConfig(num_frames=4, stride=1, min_resize=18, crop_size=16), ViewsConfig(temporal=2, spatial=1)
CLASSES = {"verb": ["jump", "run"], "noun": ["door", "jar", "key"]}
CARD = serving.ModelCard(
    CLASSES,
    (VIEWS.temporal, VIEWS.spatial),
    ingest={},
    config={"weights": {"clip": {"num_frames": 4, "stride": 1, "min_resize": 18, "crop_size": 16}}},
)
# Each with its classifier and layers over time.
VARIANTS = {
    "spacetime": ("token", 0),
    "factorized_encoder": ("token", 1),
    "factorized_self_attention": ("gap", 0),
    "factorized_dot_product": ("gap", 0),
}


def frames():
    buffers = [io.BytesIO() for _ in range(6)]
    for pixels, buffer in zip(
        np.random.default_rng(0).integers(0, 256, (6, 20, 24, 3), np.uint8), buffers, strict=True
    ):
        Image.fromarray(pixels).save(buffer, "JPEG")
    return [buffer.getvalue() for buffer in buffers]


FRAMES = frames()
EXAMPLE = features.raw_example(
    clip_id="clip",
    group="video",
    frames=FRAMES,
    size=(20, 24),
    fps=10,
    start=0,
    duration=0.6,
    labels={"verb": ["run"], "noun": ["door"]},
    slices={},
).SerializeToString()


def network(variant="factorized_encoder"):
    """A network with random weights, how it was built, and what is served of it."""
    keras.utils.set_random_seed(7)
    classifier, temporal_layers = VARIANTS[variant]
    config = ViViTConfig(
        variant=variant,
        tubelet=(2, 8, 8),
        hidden_size=64,
        num_layers=1,
        num_heads=2,
        mlp_dim=128,
        classifier=classifier,
        temporal_layers=temporal_layers,
    )
    model = build_vivit(config, clip_shape=CLIP.shape, heads={head: len(names) for head, names in CLASSES.items()})
    for number, weight in enumerate(model.trainable_variables):
        weight.assign_add(0.2 * keras.random.normal(weight.shape, seed=number))
    return config, model, ServedModel(model, clip=CLIP, views=VIEWS, classes=CLASSES)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model that was exported with its own logits as those of the trainer."""
    folder = str(tmp_path_factory.mktemp("model"))
    config, model, served = network()
    logits = [
        {head: values.numpy().mean(axis=0).tolist() for head, values in model(images.normalise(views)).items()}
        for views in (images.make_views(tf.constant(FRAMES), CLIP, one) for one in (VIEWS, CENTRE_VIEW))
    ]
    expected = serving.ExpectedLogits(
        {"clip": logits[0]}, {"clip": logits[1]}, weights=serving.weights_of(model.variables)
    )
    served.save(folder, CARD, expected, config, warmup=FRAMES)
    assert "logits within" in check_model(folder, [EXAMPLE])
    return folder


@pytest.mark.parametrize(("form", "bits"), [("float16", 16), ("int8", 8)])
def test_a_form_stores_its_kernels_in_fewer_bits_and_passes_the_canary(model, tmp_path, form, bits):
    write_smaller(model, str(tmp_path), form)
    assert check_model(str(tmp_path), [EXAMPLE]).endswith("4 warm-up requests replayed")
    full, small = tf.saved_model.load(model), tf.saved_model.load(str(tmp_path))
    assert set(full.signatures) == set(small.signatures)
    stored = small.signatures[serving.NETWORK_SIGNATURE].variables
    kernels = [variable for variable in stored if variable.dtype.name == form]
    assert len(kernels) == 13
    assert sum(np.prod(kernel.shape) for kernel in kernels) > 0.9 * sum(np.prod(one.shape) for one in stored)
    assert (tmp_path / serving.WARMUP_REQUESTS).read_bytes() == (Path(model) / serving.WARMUP_REQUESTS).read_bytes()
    clips = np.random.default_rng(1).integers(0, 256, (3, *CLIP.shape, 3), np.uint8)
    wanted, found = (one.signatures[serving.NETWORK_SIGNATURE](clips=tf.constant(clips)) for one in (full, small))
    for key, values in wanted.items():
        difference = np.abs(found[key] - values).max() / np.ptp(values)
        # Not equal: it is the rounded weights that compute.
        assert 1e-6 < difference < (3e-3 if bits == 16 else 0.03), key


def test_each_output_of_a_kernel_is_rounded_in_steps_of_its_own():
    rng = np.random.default_rng(0)
    for shape, outputs in (((64, 128), (1, 128)), ((64, 2, 48), (1, 2, 48)), ((2, 48, 64), (1, 1, 64))):
        values = (rng.normal(size=shape) * 10.0 ** rng.integers(-3, 3, outputs)).astype(np.float32)
        stored, scale = smaller._stored(values, "int8")
        assert scale.shape == outputs
        np.testing.assert_allclose(stored.numpy() * scale.numpy(), values, atol=0.51 * float(scale.numpy().max()))
        assert (np.abs(stored.numpy() * scale.numpy() - values) <= 0.51 * scale.numpy()).all()


def test_a_form_that_differs_more_than_rounding_explains_is_refused_by_the_canary(model, tmp_path, monkeypatch):
    monkeypatch.setattr(smaller, "_INT8_MAX", 1)
    write_smaller(model, str(tmp_path), "int8")
    with pytest.raises(
        ServingError, match=r"serving_default, head '\w+': .* from the trainer's; at most .* is allowed"
    ):
        check_model(str(tmp_path), [EXAMPLE])


@pytest.mark.parametrize("variant", VARIANTS)
def test_tensorflow_lite_runs_the_network_of_each_variant(variant, tmp_path):
    _, model, served = network(variant)
    (tmp_path / serving.LITE_FILE).write_bytes(smaller.lite_file(served, CLIP))
    clips = tf.constant(np.random.default_rng(1).integers(0, 256, (2, *CLIP.shape, 3), np.uint8))
    outputs = LiteNetwork(str(tmp_path))(clips=clips)
    assert serving.EMBEDDING in outputs
    for head, values in model(images.normalise(clips)).items():
        assert np.abs(outputs[serving.logits_key(head)] - values).max() < 2e-3 * np.ptp(values), head


def test_a_model_without_a_file_of_its_weights_is_refused_in_words(tmp_path):
    CARD.write(str(tmp_path))
    serving.ExpectedLogits({}, {}).write(str(tmp_path))
    with pytest.raises(ValueError, match="has no assets.extra/weights.safetensors: an older release"):
        write_smaller(str(tmp_path), str(tmp_path / "small"), "int8")
