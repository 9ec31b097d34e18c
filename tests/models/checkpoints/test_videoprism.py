"""VideoPrism of either naming gives the tokens, or the logits, that it had, through the network that it decides."""

import json
import subprocess
from pathlib import Path

import keras
import numpy as np
import pytest

from models.checkpoints.architecture import network_of
from models.checkpoints.initialise import InitOptions, initialise_model
from models.checkpoints.msgpack import CorruptFileError
from models.checkpoints.readers import read_checkpoint
from models.checkpoints.resizing import resize_bilinear
from models.network.vivit import ViViTConfig, build_vivit, weights_by_name
from tests.models.checkpoints import videoprisms
from tests.models.checkpoints.image_vits import write_safetensors
from tests.models.checkpoints.videoprisms import CAP, CLIP_SHAPE, CLIPS, HEADS, HIDDEN, PATCH, WIDTH, videoprism

TOLERANCE = 2e-5
CONFIG = {"hidden_act": "gelu_python", "layer_norm_eps": 1e-6, "num_attention_heads": HEADS}
CONFIG |= {"attn_logit_softcapping": CAP}


def read_flax(folder, arrays):
    np.savez(folder / "videoprism.npz", **arrays)
    return read_checkpoint(folder / "videoprism.npz")


def read_hugging_face(folder, tensors, config=CONFIG):
    return read_checkpoint(write_safetensors(folder / "model.safetensors", tensors, config))


def network(source, clip_shape=CLIP_SHAPE, classes=videoprisms.CLASSES, options=None, **fields):
    """The network of the source, or one that fields say, with its weights, those of its head too."""
    config = ViViTConfig(**{**network_of(source), **fields})
    model = build_vivit(config, clip_shape=clip_shape, heads={"label": classes})
    return model, initialise_model(model, source, config, clip_shape, options or InitOptions(restore_head=True))


def tokens_of(model, clips):
    return keras.Model(model.input, model.get_layer("flatten").output)(clips).numpy()


class TestFeatures:
    def test_of_the_authors_file(self, tmp_path):
        weights = videoprism()
        source = read_flax(tmp_path, videoprisms.flax(weights))
        model, report = network(source, attention_logit_cap=CAP)
        assert report.differing == ("attention_logit_cap: 50.0 is usual for these weights, the network has 2.0",)
        assert report.missing == ("output_projection/kernel", "output_projection/bias")
        assert not report.unexpected
        np.testing.assert_allclose(tokens_of(model, CLIPS), videoprisms.outputs(weights, CLIPS), atol=TOLERANCE)

    def test_of_hugging_face(self, tmp_path):
        weights = videoprism()
        model, report = network(read_hugging_face(tmp_path, videoprisms.hugging_face(weights)))
        assert not (report.unexpected or report.differing)
        np.testing.assert_allclose(tokens_of(model, CLIPS), videoprisms.outputs(weights, CLIPS), atol=TOLERANCE)

    def test_logits_of_hugging_faces_classifier(self, tmp_path):
        weights = videoprism(classifier=True)
        model, report = network(read_hugging_face(tmp_path, videoprisms.hugging_face(weights)))
        assert not (report.missing or report.unexpected or report.differing)
        np.testing.assert_allclose(model(CLIPS)["label"], videoprisms.outputs(weights, CLIPS), atol=TOLERANCE)

    def test_another_cap_than_config_json_states_is_refused(self, tmp_path):
        source = read_hugging_face(tmp_path, videoprisms.hugging_face(videoprism()))
        with pytest.raises(ValueError, match=r"attention_logit_cap 2\.0, the network has None: set model\.attention"):
            network(source, attention_logit_cap=None)

    def test_a_cap_bends_them(self):
        weights = videoprism()
        bent = np.abs(videoprisms.outputs(weights, CLIPS) - videoprisms.outputs(weights, CLIPS, cap=1e9))
        assert bent.max() > 100 * TOLERANCE


def test_the_network_is_model_2_with_an_encoder_per_position(tmp_path):
    assert network_of(read_flax(tmp_path, videoprisms.flax(videoprism()))) == {
        "hidden_size": WIDTH,
        "num_layers": videoprisms.SPATIAL,
        "num_heads": HEADS,
        "mlp_dim": HIDDEN,
        "tubelet": (1, PATCH, PATCH),
        "registers": 0,
        "gelu": "exact",
        "layer_norm_epsilon": 1e-6,
        "variant": "factorized_encoder",
        "spatial_pool": False,
        "temporal_layers": videoprisms.TEMPORAL,
        "temporal_num_heads": None,
        "temporal_mlp_dim": None,
        "classifier": "gap",
        "fc_norm": None,
        "position_embedding": "learned_1d",
        "attention_logit_cap": 50.0,
    }


def test_an_attention_pooler_starts_afresh_with_the_head(tmp_path):
    source = read_flax(tmp_path, videoprisms.flax(videoprism()))
    model, report = network(source, classifier="attention_pooler", options=InitOptions())
    assert report.missing and all(name.startswith("pooler/") for name in report.missing)
    assert np.ptp(weights_by_name(model)["pooler/query/kernel"]) > 0


def test_positions_of_more_frames_and_a_larger_crop_are_stretched_linearly(tmp_path):
    weights = videoprism()
    source = read_flax(tmp_path, videoprisms.flax(weights))
    model, report = network(source, (2, 3 * PATCH, 5 * PATCH))
    for encoder, part, given, wanted in (
        ("Spatial", "spatial_positions", (2, 2), (3, 5)),
        ("Temporal", "temporal_positions", (3, 1), (2, 1)),
    ):
        name = f"{encoder}Transformer/posembed_input/pos_embedding"
        expected = resize_bilinear(weights[part], given, wanted)
        np.testing.assert_array_equal(weights_by_name(model)[name][0], expected)
    assert report.loaded[name] == "interpolated in time from 3 to 2"


def test_a_linear_filter_widens_where_the_grid_shrinks():
    table = np.array([[1.0], [2.0], [4.0], [8.0]], np.float32)
    # Of 4 cells to 2: a triangle of two cells to each side of 0.5, which is cut off at the edge.
    first = (1 * 0.75 + 2 * 0.75 + 4 * 0.25) / 1.75
    last = (2 * 0.25 + 4 * 0.75 + 8 * 0.75) / 1.75
    np.testing.assert_allclose(resize_bilinear(table, (4, 1), (2, 1))[:, 0], [first, last], rtol=1e-6)
    np.testing.assert_allclose(resize_bilinear(table[:2], (1, 2), (1, 4))[:, 0], [1, 1.25, 1.75, 2], rtol=1e-6)


class TestDamagedFiles:
    @pytest.mark.parametrize("naming", [videoprisms.flax, videoprisms.hugging_face])
    def test_without_a_tensor_or_with_one_of_an_odd_shape_name_the_file(self, naming, tmp_path):
        flax = naming is videoprisms.flax
        tensors, read = naming(videoprism(classifier=not flax)), read_flax if flax else read_hugging_face
        config = ViViTConfig(**network_of(read(tmp_path, tensors)))
        model = build_vivit(config, clip_shape=CLIP_SHAPE, heads={"label": 3})
        # The blocks are alike, and the classifier may be missing.
        for name in (name for name in tensors if ".1." not in name):
            tensor, rest = tensors[name], {other: tensors[other] for other in tensors if other != name}
            odds = [tensor.ravel()[:-1], tensor[..., None, :], np.float32(tensor.sum()), tensor[..., :0], tensor[:0]]
            for odd in odds if name.startswith("classifier") else [None, *odds]:
                with pytest.raises(ValueError, match=str(tmp_path)):
                    source = read(tmp_path, rest if odd is None else {**rest, name: np.asarray(odd)})
                    initialise_model(model, source, config, CLIP_SHAPE, InitOptions(restore_head=True))

    @pytest.mark.parametrize("flax", [False, True])
    def test_with_one_bit_changed_never_crash(self, flax, tmp_path):
        if flax:
            source = read_flax(tmp_path, videoprisms.flax(videoprism()))
        else:
            source = read_hugging_face(tmp_path, videoprisms.hugging_face(videoprism(classifier=True)))
        path, random = Path(source.path), np.random.RandomState(0)
        data = bytearray(path.read_bytes())
        # Of an archive any byte, of safetensors the header.
        end = len(data) if flax else 8 + int.from_bytes(data[:8], "little")
        for position in random.randint(0, end, 200):
            changed = data.copy()
            changed[position] ^= 1 << random.randint(8)
            path.write_bytes(changed)
            try:
                read_checkpoint(path)
            except CorruptFileError:
                continue

    def test_of_the_video_text_model_are_refused(self, tmp_path):
        arrays = videoprisms.flax(videoprism())
        lvt = {name.replace("params/", "params/vision_encoder/"): array for name, array in arrays.items()}
        with pytest.raises(CorruptFileError, match="vision_encoder.*take videoprism_public_v1_base"):
            read_flax(tmp_path, lvt)
        tensors = videoprisms.hugging_face(videoprism())
        with pytest.raises(CorruptFileError, match=r"auxiliary_layers\.0\.mlp\.fc1\.bias is not a tensor"):
            read_hugging_face(tmp_path, {**tensors, "auxiliary_layers.0.mlp.fc1.bias": np.zeros(3, np.float32)})

    def test_with_half_of_the_blocks_of_one_weight_are_refused(self, tmp_path):
        arrays = videoprisms.flax(videoprism())
        name = "params/spatial_encoder/transformers_stack/x_layers/ff_layer/layer_norm/bias"
        with pytest.raises(CorruptFileError, match=rf"{name}: shape \(1, 32\), wanted \[2, \.\.\.\], blocks first"):
            read_flax(tmp_path, {**arrays, name: arrays[name][:1]})

    def test_with_a_cap_that_is_none_are_refused(self, tmp_path):
        with pytest.raises(CorruptFileError, match="attn_logit_softcapping 'x'"):
            config = CONFIG | {"attn_logit_softcapping": "x"}
            read_hugging_face(tmp_path, videoprisms.hugging_face(videoprism()), config)


# In a process of its own: PyTorch and TensorFlow do not always load side by side.
TRANSFORMERS_SCRIPT = """
import sys
import numpy as np, torch, transformers
folder, name, frames, side = sys.argv[1:]
frames, side = int(frames), int(side)
torch.manual_seed(0)
sizes = {"hidden_size": 48, "num_attention_heads": 4, "intermediate_size": 96, "image_size": 54, "num_frames": 4}
sizes |= {"num_spatial_layers": 3, "num_temporal_layers": 2, "num_labels": 5}
model = getattr(transformers, name)(transformers.VideoPrismVisionConfig(**sizes)).eval()
with torch.no_grad():
    for weight in model.parameters():
        weight.add_(0.1 * torch.randn_like(weight))
model.save_pretrained(folder)
clips = np.random.RandomState(0).uniform(-1, 1, (2, frames, side, side, 3)).astype(np.float32)
pixels = torch.from_numpy(((clips + 1) / 2).transpose(0, 1, 4, 2, 3).copy())
with torch.no_grad():
    out = model(pixels, interpolate_pos_encoding=(frames, side) != (4, 54))
    out = out.logits[:, 0] if name.endswith("Classification") else out.last_hidden_state
np.savez(folder + "/io.npz", clips=clips, out=out.numpy())
"""


@pytest.mark.parametrize(
    ("name", "frames", "side"),
    [
        ("VideoPrismVisionModel", 4, 54),
        ("VideoPrismVisionModel", 6, 36),
        ("VideoPrismVisionModel", 3, 90),
        ("VideoPrismForVideoClassification", 4, 54),
    ],
)
def test_transformers_networks_give_the_same(name, frames, side, python_with_transformers, tmp_path):
    arguments = [str(tmp_path), name, str(frames), str(side)]
    subprocess.run([python_with_transformers, "-c", TRANSFORMERS_SCRIPT, *arguments], check=True)
    golden, source = np.load(tmp_path / "io.npz"), read_checkpoint(tmp_path)
    model, report = network(source, (frames, side, side), classes=5)
    assert not report.differing
    out = model(golden["clips"])["label"] if name.endswith("Classification") else tokens_of(model, golden["clips"])
    assert out.shape == golden["out"].shape
    difference = np.abs(out - golden["out"]).max()
    print(f"{name}, {frames} frames of {side} pixels: largest difference {difference:.1e}")
    assert difference <= TOLERANCE


# Its weights go into a file under the names of google-deepmind/videoprism.
KERAS_HUB_SCRIPT = """
import importlib.util, json, os, sys
os.environ.setdefault("KERAS_BACKEND", "torch" if importlib.util.find_spec("torch") else "tensorflow")
import keras, keras_hub, numpy as np
folder, sizes = sys.argv[1], json.loads(sys.argv[2])
model = keras_hub.models.VideoPrismBackbone(num_auxiliary_layers=0, image_shape=(54, 54, 3), **sizes)
random = np.random.RandomState(0)
for weight in model.weights:
    weight.assign(keras.ops.convert_to_numpy(weight) + 0.1 * random.randn(*weight.shape))
given = {weight.path: keras.ops.convert_to_numpy(weight) for weight in model.weights}
arrays = {"patch_projection/linear/" + part: given["spatial_patching_and_embedding/patch_embedding/" + part]
          for part in ("kernel", "bias")}
arrays["spatial_pos_emb/emb_var"] = given["spatial_patching_and_embedding/position_embedding/embeddings"]
arrays["temporal_pos_emb/emb_var"] = given["temporal_embedding/temporal_position_embedding/embeddings"]
layers = {"ln_1/gamma": "layer_norm/scale", "ln_1/beta": "layer_norm/bias"}
layers |= {"ln_2/gamma": "ff_layer/layer_norm/scale", "ln_2/beta": "ff_layer/layer_norm/bias"}
for part in ("kernel", "bias"):
    layers |= {f"mlp/dense_{n}/{part}": f"ff_layer/ffn_layer{n}/linear/{part}" for n in (1, 2)}
    for ours, theirs in {"query": "query", "key": "key", "value": "value", "output": "post"}.items():
        layers[f"mha/{ours}/{part}"] = f"self_attention/{theirs}/" + {"kernel": "w", "bias": "b"}[part]
for encoder in ("spatial", "temporal"):
    arrays[f"{encoder}_ln/scale"] = given[f"{encoder}_encoder/ln/gamma"] - 1
    arrays[f"{encoder}_ln/bias"] = given[f"{encoder}_encoder/ln/beta"]
    for ours, theirs in layers.items():
        blocks = [f"{encoder}_encoder/transformer_block_{n}/{ours}" for n in range(sizes[f"num_{encoder}_layers"])]
        stack = np.stack([given[block] for block in blocks])
        stack = np.moveaxis(stack, -1, 1) if theirs.endswith("post/w") else stack
        stack = stack - 1 if theirs.endswith("scale") else stack
        arrays[f"{encoder}_encoder/transformers_stack/x_layers/{theirs}"] = stack
np.savez(folder + "/videoprism.npz", **{"params/" + name: array for name, array in arrays.items()})
clips = random.uniform(-1, 1, (2, sizes["num_frames"], 54, 54, 3)).astype(np.float32)
out = keras.ops.convert_to_numpy(model((clips + 1) / 2))
np.savez(folder + "/io.npz", clips=clips, out=out)
"""


def test_keras_hubs_network_gives_the_same(python_with_keras_hub, tmp_path):
    sizes = {"num_frames": 4, "patch_size": 18, "hidden_dim": 48, "intermediate_dim": 96, "num_heads": 4}
    sizes |= {"num_spatial_layers": 3, "num_temporal_layers": 2, "attention_logit_soft_cap": 50.0}
    arguments = [str(tmp_path), json.dumps(sizes)]
    subprocess.run([python_with_keras_hub, "-c", KERAS_HUB_SCRIPT, *arguments], check=True)
    golden, source = np.load(tmp_path / "io.npz"), read_checkpoint(tmp_path / "videoprism.npz")
    model, report = network(source, (4, 54, 54))
    assert not (report.unexpected or report.differing)
    out, expected = tokens_of(model, golden["clips"]), golden["out"].reshape(2, -1, 48)
    assert out.shape == expected.shape
    difference = np.abs(out - expected).max()
    print(f"VideoPrism of keras-hub: largest difference {difference:.1e}")
    assert difference <= TOLERANCE
