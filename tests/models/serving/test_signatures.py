"""What the signatures answer: rows of any length, one view, embeddings, and the warm-up requests for them."""

import io
import os

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2

from models.clips import images
from models.clips.sampling import CENTRE_VIEW, ClipConfig, ViewsConfig
from models.network.vivit import HEAD, ViViTConfig, build_vivit
from models.serving import warmup
from models.serving.export import ServedModel
from schemas import features, serving

CLIP, VIEWS = ClipConfig(num_frames=4, stride=1, min_resize=18, crop_size=16), ViewsConfig(temporal=2, spatial=3)
CLASSES = {"verb": ["jump", "run"], "noun": ["door", "jar", "key"]}
CARD = serving.ModelCard(CLASSES, (VIEWS.temporal, VIEWS.spatial), ingest={}, config={})
OF_FRAMES = [serving.FRAMES_SIGNATURE, serving.ONE_VIEW_SIGNATURE, serving.EMBEDDING_SIGNATURE]
# By classifier, the network's settings beside it and the width of its embedding.
NETWORKS = {
    "token": ({}, 24),
    "gap": ({"representation_size": 10}, 10),
    "token_and_mean": ({"temporal_layers": 0, "temporal_pool": "concat"}, 2 * 2 * 24),
    # Two heads see 24 dimensions and 2 frames each.
    "attentive": ({"temporal_layers": 0}, 2 * (24 + 2)),
}


def jpegs(number):
    """Frames of a clip; the clips differ in length."""
    pixels = np.random.default_rng(number).integers(0, 256, (5 + 4 * number, 20, 24, 3), np.uint8)
    buffers = [io.BytesIO() for _ in pixels]
    for image, buffer in zip(pixels, buffers, strict=True):
        Image.fromarray(image).save(buffer, "JPEG")
    return [buffer.getvalue() for buffer in buffers]


ROWS = [jpegs(number) for number in range(3)]


def network(classifier="token"):
    """A network with random weights, and what is served of it."""
    settings, _ = NETWORKS[classifier]
    config = ViViTConfig(
        tubelet=(2, 8, 8),
        hidden_size=24,
        num_layers=1,
        num_heads=2,
        mlp_dim=32,
        classifier=classifier,
        **{"temporal_layers": 1} | settings,
    )
    model = build_vivit(config, clip_shape=CLIP.shape, heads={head: len(names) for head, names in CLASSES.items()})
    for number, weight in enumerate(model.trainable_variables):
        weight.assign_add(0.3 * keras.random.normal(weight.shape, seed=number))
    return model, ServedModel(model, clip=CLIP, views=VIEWS, classes=CLASSES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="module")
def model_and_served(folder):
    model, to_save = network()
    to_save.save(str(folder), CARD, serving.ExpectedLogits({}, {}), warmup=ROWS[1])
    return model, tf.saved_model.load(str(folder))


@pytest.fixture(scope="module")
def served(model_and_served):
    return model_and_served[1]


def run(served, name, rows, num_frames):
    outputs = served.signatures[name](frames=tf.constant(rows), num_frames=tf.constant(num_frames))
    return {key: value.numpy() for key, value in outputs.items()}


@pytest.mark.parametrize("filler", ["empty", "first frame", "garbage"])
@pytest.mark.parametrize("name", OF_FRAMES)
def test_a_padded_batch_of_mixed_lengths_equals_single_requests(served, name, filler):
    longest = max(map(len, ROWS)) + 1
    padded = []
    for row in ROWS:
        fill = {"empty": b"", "first frame": row[0], "garbage": b"no JPEG"}[filler]
        padded.append([*row, *[fill] * (longest - len(row))])
    together = run(served, name, padded, [len(row) for row in ROWS])
    numbers = [key for key, value in together.items() if value.dtype == np.float32]
    assert len(numbers) == (2 if name == serving.EMBEDDING_SIGNATURE else 4)
    for number, row in enumerate(ROWS):
        alone = run(served, name, [row], [len(row)])
        for key in numbers:
            assert np.ptp(together[key], axis=0).max() > 1e-3, "rows that do not differ prove nothing"
            np.testing.assert_allclose(together[key][number], alone[key][0], atol=1e-5)


@pytest.mark.parametrize("name", OF_FRAMES)
@pytest.mark.parametrize(
    ("num_frames", "said"),
    [([0], "num_frames must be from 1"), ([6], "num_frames must be from 1"), ([5, 5], "one number for each row")],
)
def test_a_number_of_frames_that_cannot_be_is_refused_in_words(served, name, num_frames, said):
    with pytest.raises(tf.errors.InvalidArgumentError, match=said):
        run(served, name, [ROWS[0]], num_frames)


def test_one_view_is_the_centre_view(model_and_served):
    model, served = model_and_served
    outputs = run(served, serving.ONE_VIEW_SIGNATURE, [ROWS[2]], [len(ROWS[2])])
    wanted = model(images.normalise(images.make_views(tf.constant(ROWS[2]), CLIP, CENTRE_VIEW)))
    for head, names in CLASSES.items():
        np.testing.assert_allclose(outputs[f"{head}/logits"], wanted[head], atol=1e-5)
        assert [name.decode() for name in outputs[f"{head}/classes"][0]] == names


@pytest.mark.parametrize("classifier", NETWORKS)
def test_the_embedding_is_what_the_heads_read(classifier):
    model, to_save = network(classifier)
    inputs = tf.constant([ROWS[1]]), tf.constant([len(ROWS[1])])
    found, logits = to_save.embed(*inputs), to_save.serve_frames(*inputs)
    embedding = found[serving.EMBEDDING].numpy()
    assert embedding.shape == (1, NETWORKS[classifier][1])
    # A head is linear: that of the mean is the mean over the views.
    kernel, bias = model.get_layer(HEAD).get_weights()
    of_heads = np.concatenate([logits[f"{head}/logits"] for head in CLASSES], axis=1)
    np.testing.assert_allclose(embedding @ kernel + bias, of_heads, atol=1e-4)
    np.testing.assert_allclose(found[serving.EMBEDDING_L2], embedding / np.linalg.norm(embedding), atol=1e-6)


def test_the_network_gives_logits_and_embedding_of_each_clip_in_one_pass(model_and_served):
    model, served = model_and_served
    clips = np.random.default_rng(0).integers(0, 256, (3, *CLIP.shape, 3), np.uint8)
    outputs = served.signatures[serving.NETWORK_SIGNATURE](clips=tf.constant(clips))
    assert set(outputs) == {"verb/logits", "noun/logits", serving.EMBEDDING}
    kernel, bias = model.get_layer(HEAD).get_weights()
    of_heads = np.concatenate([outputs[f"{head}/logits"] for head in CLASSES], axis=1)
    np.testing.assert_allclose(outputs[serving.EMBEDDING] @ kernel + bias, of_heads, atol=1e-5)


def test_the_file_has_the_network_once_for_all_signatures(served, folder):
    saved = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    (graph,) = (meta.graph_def for meta in saved.meta_graphs)
    nodes = [node for function in graph.library.function for node in function.node_def]
    heads = [node.name for node in nodes if node.op == "MatMul" and HEAD in node.name]
    assert len(heads) == 1, heads


def warmup_requests(folder):
    """Inputs by name, by signature."""
    records = tf.data.TFRecordDataset(os.path.join(folder, serving.WARMUP_REQUESTS)).as_numpy_iterator()
    requests = [prediction_log_pb2.PredictionLog.FromString(record).predict_log.request for record in records]
    return {
        request.model_spec.signature_name: {key: tf.make_ndarray(value) for key, value in request.inputs.items()}
        for request in requests
    }


def test_each_signature_that_answers_clients_is_warmed_up_with_the_frames_of_a_clip(served, folder):
    requests = warmup_requests(folder)
    assert list(requests) == ["serving_default", "frames", "frames_one_view", "embedding"]
    (serialised,) = requests.pop("serving_default")["examples"]
    assert tf.train.Example.FromString(serialised).features.feature[features.CLIP_FRAMES].bytes_list.value == ROWS[1]
    for inputs in requests.values():
        assert inputs["frames"].tolist() == [ROWS[1]]
        assert inputs["num_frames"].tolist() == [len(ROWS[1])]


@pytest.mark.parametrize(("sizes", "kept"), [([60_000] * 5, 2), ([200_000, 1], 1), ([1], 1)])
def test_frames_of_large_clips_are_left_out_but_the_first(tmp_path, sizes, kept):
    (tmp_path / "assets.extra").mkdir()
    frames, asked = [bytes([number]) * size for number, size in enumerate(sizes, start=1)], []
    warmup.write_warmup(str(tmp_path), (asked.append(frame) or frame for frame in frames), [serving.FRAMES_SIGNATURE])
    assert list(warmup_requests(tmp_path)) == ["frames"]
    assert warmup_requests(tmp_path)["frames"]["frames"].tolist() == [frames[:kept]]
    assert len(asked) <= kept + 1, "frames that are left out need not be made"
