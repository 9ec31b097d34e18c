"""The signature of where a model looked: that of its network; like the embedding, only where that is a ViViT."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from models.clips import images
from models.clips.sampling import CENTRE_VIEW, ClipConfig
from models.network.rollout import attention_rollout
from models.network.vivit import ViViTConfig, build_vivit
from models.serving.export import ServedModel
from schemas import serving
from tests.models.serving.test_signatures import warmup_requests

CLIP = ClipConfig(num_frames=4, stride=1, min_resize=16, crop_size=16)
CLASSES = {"label": ["jump", "run"]}
CARD = serving.ModelCard(CLASSES, (1, 1), ingest={}, config={})


def signatures(model, folder):
    served = ServedModel(model, clip=CLIP, views=CENTRE_VIEW, classes=CLASSES)
    served.save(str(folder), CARD, serving.ExpectedLogits({}, {}))
    # What a signature captures lives as long as the loaded model.
    loaded = tf.saved_model.load(str(folder))
    return loaded, loaded.signatures


def clips(count):
    return np.random.default_rng(0).integers(0, 256, (count, *CLIP.shape, 3), np.uint8)


def vivit(dtype):
    keras.utils.set_random_seed(0)
    config = ViViTConfig(
        tubelet=(2, 8, 8), hidden_size=24, num_layers=2, temporal_layers=1, num_heads=2, mlp_dim=32, dtype=dtype
    )
    model = build_vivit(config, clip_shape=CLIP.shape, heads={"label": 2})
    for weight in model.trainable_variables:
        weight.assign_add(0.3 * keras.random.normal(weight.shape, seed=1))
    return model


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("bfloat16", 3e-2)])
def test_is_the_rollout_of_the_network(dtype, tolerance, tmp_path):
    model = vivit(dtype)
    _loaded, served = signatures(model, tmp_path)
    maps = served[serving.ATTENTION_SIGNATURE](clips=tf.constant(clips(3)))[serving.ATTENTION]
    assert maps.dtype == tf.float32
    assert np.ptp(maps, axis=0).max() > 10 * tolerance, "maps that do not differ between clips prove nothing"
    np.testing.assert_allclose(maps, attention_rollout(model, images.normalise(clips(3))), atol=tolerance)


def test_its_shape_says_how_many_tubelets_there_are(tmp_path):
    _loaded, served = signatures(vivit("float32"), tmp_path)
    signature = served[serving.ATTENTION_SIGNATURE]
    assert signature.structured_outputs[serving.ATTENTION].shape.as_list() == [None, 2, 2, 2]
    assert signature(clips=tf.constant(clips(0)))[serving.ATTENTION].shape == (0, 2, 2, 2)


def test_a_network_that_is_no_vivit_is_served_without(tmp_path):
    clip = keras.Input((*CLIP.shape, 3))
    features = keras.layers.GlobalAveragePooling3D()(clip)
    _loaded, served = signatures(keras.Model(clip, {"label": keras.layers.Dense(2)(features)}), tmp_path)
    assert serving.NETWORK_SIGNATURE in served
    assert not {serving.ATTENTION_SIGNATURE, serving.EMBEDDING_SIGNATURE} & set(served)
    assert set(served[serving.NETWORK_SIGNATURE].structured_outputs) == {"label/logits"}
    # Without a clip, a black frame warms it up.
    ((frame,),) = warmup_requests(tmp_path)["frames"]["frames"]
    decoded = tf.io.decode_jpeg(frame).numpy()
    assert decoded.shape == (16, 16, 3)
    assert not decoded.any()
