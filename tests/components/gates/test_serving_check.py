"""The check of the canary: a model that serves what was trained passes; each way to differ is refused in words."""

import dataclasses
import io
import json
import re
import shutil
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from components.gates import serving_check
from components.gates.serving_check import ServingError, check_model
from models.clips import images, sampling
from models.clips.sampling import ClipConfig, ViewsConfig
from models.network.vivit import HEAD, SplitHeads
from models.serving.export import ServedModel
from schemas import features, serving

EXPECTED = "assets.extra/expected_logits.json"
CLIP, VIEWS = ClipConfig(num_frames=2, stride=1, min_resize=18, crop_size=16), ViewsConfig(temporal=2, spatial=3)
CLASSES = {"verb": ["jump", "run"], "noun": ["door", "jar", "ночь"]}
# Of the layers that the network's dtype concerns.
POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}
LABELS = [{"verb": ["run"], "noun": ["door"]}, {"verb": ["jump"], "noun": ["ночь"]}]


def frames_of(number):
    """JPEG frames; the clips differ in length."""
    pixels = np.random.default_rng(number).integers(0, 256, (4 + number, 20, 24, 3), np.uint8)
    buffers = [io.BytesIO() for _ in pixels]
    for image, buffer in zip(pixels, buffers, strict=True):
        Image.fromarray(image).save(buffer, "JPEG")
    return [buffer.getvalue() for buffer in buffers]


def raw_example(number, labels):
    return features.raw_example(
        clip_id=f"clip{number}",
        group=f"video{number}",
        frames=frames_of(number),
        size=(20, 24),
        fps=10,
        start=0,
        duration=1,
        labels=labels,
        slices={},
    ).SerializeToString()


EXAMPLES = [raw_example(number, labels) for number, labels in enumerate(LABELS)]


def network(dtype):
    keras.utils.set_random_seed(7)
    clip = keras.Input((*CLIP.shape, 3))
    flat = keras.layers.Flatten()(keras.layers.AveragePooling3D((1, 4, 4))(clip))
    hidden = keras.layers.Dense(24, "gelu", dtype=POLICIES[dtype], name="hidden")(flat)
    # Its random state is a variable that no signature uses.
    hidden = keras.layers.Dropout(0.5)(hidden)
    heads = {
        head: keras.layers.Dense(len(names), dtype="float32", name=head)(hidden) for head, names in CLASSES.items()
    }
    return keras.Model(clip, heads)


def mean_logits(model, number, views):
    """Logits of one clip by head, without anything of what is served."""
    logits = model(images.normalise(images.make_views(tf.constant(frames_of(number)), CLIP, views)))
    return {head: value.numpy().mean(axis=0).tolist() for head, value in logits.items()}


def expected_of(model, dtype):
    return serving.ExpectedLogits(
        views={f"clip{n}": mean_logits(model, n, VIEWS) for n in range(2)},
        centre={f"clip{n}": mean_logits(model, n, sampling.CENTRE_VIEW) for n in range(2)},
        dtype=dtype,
        device=serving.compute_device(),
        weights=serving.weights_of(model.weights),
    )


def save(model, folder, expected, kind=ServedModel):
    card = serving.ModelCard(CLASSES, (VIEWS.temporal, VIEWS.spatial), ingest={}, config={})
    kind(model, clip=CLIP, views=VIEWS, classes=CLASSES).save(str(folder), card, expected, warmup=frames_of(0))
    return str(folder)


@pytest.fixture(scope="module")
def dtype(request):
    return getattr(request, "param", "float32")


in_both_dtypes = pytest.mark.parametrize("dtype", list(POLICIES), indirect=True, scope="module")


@pytest.fixture(scope="module")
def good_model(dtype, tmp_path_factory):
    model = network(dtype)
    return save(model, tmp_path_factory.mktemp("served") / "model", expected_of(model, dtype))


@pytest.fixture
def model(good_model, tmp_path):
    """A copy of the good model, to be damaged."""
    return shutil.copytree(good_model, tmp_path / "model")


def change_expected(model, **changes):
    dataclasses.replace(serving.ExpectedLogits.read(str(model)), **changes).write(str(model))


def change_logit(model, table, by):
    expected = serving.ExpectedLogits.read(str(model))
    getattr(expected, table)["clip1"]["noun"][2] += by
    expected.write(str(model))


@in_both_dtypes
def test_a_model_that_serves_what_was_trained_passes_whatever_else_the_examples_hold(good_model):
    others = [raw_example(number, LABELS[0]) for number in range(5, 8)]
    said = check_model(good_model, [*others, *EXAMPLES[::-1]])
    assert re.fullmatch(r"2 clips through 5 signatures, .*, 6 weights equal, 3 warm-up requests replayed", said)


@in_both_dtypes
@pytest.mark.parametrize(
    ("table", "by", "said"),
    [
        ("views", 2, r"^serving_default, head 'noun': 2\.0\de\+00 from the trainer's; at most \S+ is allowed$"),
        ("views", float("nan"), r"^serving_default, head 'noun': nan from the trainer's"),
        ("centre", 2, r"^network, centre view, head 'noun': \S+ from the trainer's"),
    ],
)
def test_logits_that_are_off_are_refused(model, table, by, said):
    change_logit(model, table, by)
    with pytest.raises(ServingError, match=said):
        check_model(str(model), EXAMPLES)


@in_both_dtypes
def test_a_difference_that_rounding_explains_passes_in_bfloat16_alone(model, dtype):
    change_logit(model, "views", 1e-3)
    if dtype == "bfloat16":
        assert check_model(str(model), EXAMPLES)
    else:
        with pytest.raises(
            ServingError, match=r"^serving_default, head 'noun': 1\.0\de-03 .* at most 0\.0001 is allowed$"
        ):
            check_model(str(model), EXAMPLES)


@in_both_dtypes
@pytest.mark.parametrize(("name", "index"), [("hidden", 0), ("noun", 1)])
def test_one_changed_number_of_any_weight_is_refused(dtype, tmp_path, name, index):
    model = network(dtype)
    expected = expected_of(model, dtype)
    weight = model.get_layer(name).weights[index]
    values = weight.numpy()
    values.flat[-1] = np.nextafter(values.flat[-1], np.float32(1))
    weight.assign(values)
    shape = re.escape(str(tuple(weight.shape)))
    said = f"^serving_default: 1 weight\\(s\\) are not the trainer's, of shape {shape}$"
    with pytest.raises(ServingError, match=said):
        check_model(save(model, tmp_path / "model", expected), EXAMPLES)


@in_both_dtypes
def test_swapped_classes_are_refused_by_their_weights_and_by_their_logits(dtype, tmp_path):
    model = network(dtype)
    expected = expected_of(model, dtype)
    kernel, bias = model.get_layer("noun").weights
    kernel.assign(kernel.numpy()[:, [1, 0, 2]])
    bias.assign([0, 1e-3, 0])
    path = save(model, tmp_path / "model", expected)
    with pytest.raises(ServingError, match=r"2 weight\(s\) are not the trainer's, of shape \(3,\), \(24, 3\)$"):
        check_model(path, EXAMPLES)
    change_expected(path, weights=None)
    with pytest.raises(ServingError, match="^serving_default, head 'noun': .* from the trainer's"):
        check_model(path, EXAMPLES)


@in_both_dtypes
def test_another_normalisation_is_refused(dtype, tmp_path):
    model = network(dtype)
    clip = keras.Input((*CLIP.shape, 3))
    # From [-1, 1] to [0, 1].
    other = keras.Model(clip, model(keras.layers.Rescaling(0.5, 0.5)(clip)))
    path = save(other, tmp_path / "model", expected_of(model, dtype))
    with pytest.raises(ServingError, match="^serving_default, head '(verb|noun)': .* from the trainer's"):
        check_model(path, EXAMPLES)


def test_weights_that_no_trainer_recorded_are_not_compared(model):
    change_expected(model, weights=None)
    assert ", weights not compared: the trainer left no digests, " in check_model(str(model), EXAMPLES)


def test_a_missing_weight_is_refused(model):
    weights = serving.ExpectedLogits.read(str(model)).weights
    change_expected(model, weights=(*weights, serving.Weight((5, 6), "0")))
    with pytest.raises(
        ServingError, match=r"^serving_default: 1 weight\(s\) are not the trainer's, of shape \(5, 6\)$"
    ):
        check_model(str(model), EXAMPLES)


def test_another_first_class_is_refused_unless_the_two_nearly_tie():
    trained = np.array([[0.0, 1.0, 0.9]], np.float32)
    with pytest.raises(ServingError, match=r"^title: another class is first, which the trainer had 1\.00e-01 below"):
        serving_check._compare("title", np.array([[0.0, 0.94, 0.96]], np.float32), trained, tolerance=0.08)
    assert serving_check._compare("title", np.array([[0.0, 0.94, 0.96]], np.float32), trained, tolerance=0.11) < 0.07


def test_a_model_that_gives_nan_is_refused(dtype, tmp_path):
    model = network(dtype)
    expected = expected_of(model, dtype)
    model.get_layer("noun").weights[1].assign([np.nan] * 3)
    broken = dataclasses.replace(expected, weights=serving.weights_of(model.weights))
    with pytest.raises(ServingError, match="^serving_default, head 'noun': nan from the trainer's"):
        check_model(save(model, tmp_path / "model", broken), EXAMPLES)


def test_a_head_of_another_size_is_refused(model):
    expected = serving.ExpectedLogits.read(str(model))
    for logits in expected.views.values():
        logits["noun"].append(0.0)
    expected.write(str(model))
    with pytest.raises(ServingError, match=r"^serving_default, head 'noun': shape \(2, 3\); the trainer had \(2, 4\)$"):
        check_model(str(model), EXAMPLES)


def test_other_class_names_are_refused(model):
    card = serving.ModelCard.read(str(model))
    dataclasses.replace(card, classes={**CLASSES, "verb": ["run", "jump"]}).write(str(model))
    with pytest.raises(ServingError, match="^head 'verb' serves other class names than the model card"):
        check_model(str(model), EXAMPLES)


def test_a_class_that_the_model_does_not_know_is_refused(good_model):
    unknown = raw_example(0, {**LABELS[0], "verb": ["swim"]})
    with pytest.raises(ServingError, match="^head 'verb': class 'swim' is unknown to the model$"):
        check_model(good_model, [unknown, EXAMPLES[1]])


def resaved(folder, path, **changes):
    """A copy of a model with other signatures by name: those of other names of its own; None for none."""
    loaded = tf.saved_model.load(folder)
    shutil.copytree(folder, path)
    names = {name: name for name in loaded.signatures} | changes
    signatures = {name: loaded.signatures[of] for name, of in names.items() if of}
    tf.saved_model.save(loaded, str(path), signatures=signatures)
    return str(path)


@pytest.mark.parametrize("name", ["frames", "frames_one_view", "views", "network"])
def test_a_missing_signature_is_refused(good_model, tmp_path, name):
    path = resaved(good_model, tmp_path / "model", **{name: None})
    with pytest.raises(ServingError, match=f"^no signature '{name}'; the model has serving_default, "):
        check_model(path, EXAMPLES)


def test_one_view_that_is_not_the_centre_view_is_refused(good_model, tmp_path):
    path = resaved(good_model, tmp_path / "model", frames_one_view="frames")
    with pytest.raises(ServingError, match=r"^frames_one_view, head '(verb|noun)': \S+ from the trainer's"):
        check_model(path, EXAMPLES)


class DropsEmptyFrames(ServedModel):
    """Takes what is not "" for the frames of a clip, whatever their number."""

    @tf.function(input_signature=ServedModel.serve_frames.input_signature)
    def serve_frames(self, frames, num_frames):
        rows = tf.ragged.boolean_mask(frames, tf.strings.length(frames) > 0)
        return self._named(self.means(rows))


def test_a_model_that_sees_what_a_batch_is_padded_with_is_refused(dtype, tmp_path):
    model = network(dtype)
    path = save(model, tmp_path / "model", expected_of(model, dtype), DropsEmptyFrames)
    with pytest.raises(ServingError, match=r"^frames, head '(verb|noun)': \S+ from the trainer's"):
        check_model(path, EXAMPLES)


class EmbedsBackwards(ServedModel):
    """Gives the features in another order than the network."""

    def embed(self, frames, num_frames):
        return {key: value[:, ::-1] for key, value in super().embed(frames, num_frames).items()}


@pytest.fixture(scope="module")
def embedding_network():
    """A network with a head as `build_vivit` has it."""
    keras.utils.set_random_seed(7)
    clip = keras.Input((*CLIP.shape, 3))
    features = keras.layers.Dense(4)(keras.layers.Flatten()(keras.layers.AveragePooling3D((1, 8, 8))(clip)))
    logits = keras.layers.Dense(sum(map(len, CLASSES.values())), name=HEAD)(features)
    return keras.Model(clip, SplitHeads({head: len(names) for head, names in CLASSES.items()})(logits))


@pytest.fixture(scope="module")
def embedding_dir(embedding_network, tmp_path_factory):
    expected = expected_of(embedding_network, "float32")
    return save(embedding_network, tmp_path_factory.mktemp("embedding") / "model", expected)


def test_a_model_with_an_embedding_passes(embedding_dir):
    said = check_model(embedding_dir, EXAMPLES)
    assert said.startswith("2 clips through 6 signatures, ")
    assert said.endswith(" weights equal, 4 warm-up requests replayed")


def test_an_embedding_that_is_not_that_of_its_views_is_refused(embedding_network, tmp_path):
    expected = expected_of(embedding_network, "float32")
    path = save(embedding_network, tmp_path / "model", expected, EmbedsBackwards)
    with pytest.raises(ServingError, match=r"^embedding: \S+ from that of the views; at most 0\.0001 is allowed$"):
        check_model(path, EXAMPLES)


def test_a_network_with_an_embedding_that_no_signature_gives_is_refused(embedding_dir, tmp_path):
    path = resaved(embedding_dir, tmp_path / "model", embedding=None)
    with pytest.raises(ServingError, match="^of signature 'embedding' and output 'embedding' of 'network' one is miss"):
        check_model(path, EXAMPLES)


def test_a_clip_that_the_trainer_saw_but_the_examples_lack_is_refused(good_model):
    with pytest.raises(ServingError, match=r"^no raw example of clip\(s\) clip1$"):
        check_model(good_model, EXAMPLES[:1])


def test_a_model_without_expected_logits_is_refused(model):
    serving.ExpectedLogits({}, {}).write(str(model))
    with pytest.raises(ServingError, match="any"):
        check_model(str(model), EXAMPLES)


def verdict_of(monkeypatch, capsys, model, folder):
    monkeypatch.setattr(sys, "argv", ["serving_check", "--model", str(model), "--examples", str(folder)])
    assert serving_check.main() == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_the_command_prints_its_verdict_as_one_line_of_json(good_model, tmp_path, monkeypatch, capsys):
    with tf.io.TFRecordWriter(str(tmp_path / "data.gz"), "GZIP") as writer:
        for example in EXAMPLES:
            writer.write(example)
    verdict = verdict_of(monkeypatch, capsys, good_model, tmp_path)
    assert verdict["ok"]
    assert verdict["detail"].startswith("2 clips")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: shutil.rmtree(folder), "FileNotFoundError: .* holds no model of this pipeline"),
        (lambda folder: (folder / "saved_model.pb").write_bytes(b"torn"), "Error: "),
        (lambda folder: (folder / EXPECTED).write_text("{"), "JSONDecodeError: "),
        (lambda folder: (folder / EXPECTED).unlink(), "NotFoundError: .*expected_logits"),
        (lambda folder: (folder / "variables" / "variables.index").unlink(), "Error: "),
    ],
    ids=["no model", "torn graph", "torn logits", "no logits", "no weights"],
)
def test_a_model_that_does_not_load_is_a_verdict_not_a_crash(model, tmp_path, monkeypatch, capsys, spoil, said):
    spoil(model)
    verdict = verdict_of(monkeypatch, capsys, model, tmp_path)
    assert not verdict["ok"]
    assert re.search(said, verdict["detail"])
