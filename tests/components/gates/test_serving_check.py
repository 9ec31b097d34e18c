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
from models.serving.export import ServedModel
from schemas import features, serving

EXPECTED = "assets.extra/expected_logits.json"
CLIP, VIEWS = ClipConfig(num_frames=2, stride=1, min_resize=18, crop_size=16), ViewsConfig(temporal=2, spatial=3)
CLASSES = {"verb": ["jump", "run"], "noun": ["door", "jar", "ночь"]}
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


def network():
    keras.utils.set_random_seed(7)
    clip = keras.Input((*CLIP.shape, 3))
    pooled = keras.layers.AveragePooling3D((1, 4, 4))(clip)
    flat = keras.layers.Flatten()(pooled)
    return keras.Model(clip, {head: keras.layers.Dense(len(names))(flat) for head, names in CLASSES.items()})


def mean_logits(model, number, views):
    """Logits of one clip by head, without anything of what is served."""
    logits = model(images.normalise(images.make_views(tf.constant(frames_of(number)), CLIP, views)))
    return {head: value.numpy().mean(axis=0).tolist() for head, value in logits.items()}


def save(model, folder):
    card = serving.ModelCard(CLASSES, (VIEWS.temporal, VIEWS.spatial), ingest={}, config={})
    expected = serving.ExpectedLogits(
        views={f"clip{n}": mean_logits(model, n, VIEWS) for n in range(2)},
        centre={f"clip{n}": mean_logits(model, n, sampling.CENTRE_VIEW) for n in range(2)},
    )
    ServedModel(model, clip=CLIP, views=VIEWS, classes=CLASSES).save(str(folder), card, expected)
    return str(folder)


@pytest.fixture(scope="module")
def good_model(tmp_path_factory):
    return save(network(), tmp_path_factory.mktemp("served") / "model")


@pytest.fixture
def model(good_model, tmp_path):
    """A copy of the good model, to be damaged."""
    return shutil.copytree(good_model, tmp_path / "model")


def change_logit(model, table, by):
    expected = serving.ExpectedLogits.read(str(model))
    getattr(expected, table)["clip1"]["noun"][2] += by
    expected.write(str(model))


def test_a_model_that_serves_what_was_trained_passes_whatever_else_the_examples_hold(good_model):
    others = [raw_example(number, LABELS[0]) for number in range(5, 8)]
    said = check_model(good_model, [*others, *EXAMPLES[::-1]])
    assert said.startswith("2 clips through 4 signatures, logits within ")


@pytest.mark.parametrize(
    ("table", "by", "said"),
    [
        ("views", 1e-3, r"^serving_default, head 'noun': 1\.0\de-03 from the trainer's; at most 0\.0001 is allowed$"),
        ("views", float("nan"), r"^serving_default, head 'noun': nan from the trainer's"),
        ("centre", 0.1, r"^evaluation, centre view, head 'noun': \S+ from the trainer's"),
    ],
)
def test_logits_that_are_off_are_refused(model, table, by, said):
    change_logit(model, table, by)
    with pytest.raises(ServingError, match=said):
        check_model(str(model), EXAMPLES)


def test_a_model_that_gives_nan_is_refused(good_model, tmp_path):
    broken = network()
    broken.layers[-1].bias.assign([np.nan] * broken.layers[-1].units)
    path = save(broken, tmp_path / "model")
    serving.ExpectedLogits.read(good_model).write(path)
    with pytest.raises(ServingError, match="^serving_default, head '(verb|noun)': nan from the trainer's"):
        check_model(path, EXAMPLES)


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


def test_a_missing_signature_is_refused(good_model, tmp_path):
    loaded = tf.saved_model.load(good_model)
    path = str(shutil.copytree(good_model, tmp_path / "model"))
    kept = {name: loaded.signatures[name] for name in loaded.signatures if name != serving.FRAMES_SIGNATURE}
    tf.saved_model.save(loaded, path, signatures=kept)
    with pytest.raises(ServingError, match="^no signature 'frames'; the model has serving_default, "):
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
