"""VideoMAE and UMT of every naming give the logits, or the tokens, that they had, through the network they decide."""

import subprocess

import keras
import numpy as np
import pytest

from models.checkpoints.architecture import network_of
from models.checkpoints.initialise import InitOptions, initialise_model
from models.checkpoints.msgpack import CorruptFileError
from models.checkpoints.readers import read_checkpoint
from models.network.vivit import ViViTConfig, build_vivit, weights_by_name
from tests.models.checkpoints import videomaes
from tests.models.checkpoints.image_vits import write_safetensors
from tests.models.checkpoints.videomaes import CLIP_SHAPE, CLIPS, HIDDEN, LAYERS, PATCH, WIDTH, videomae

TOLERANCE = 2e-5
CONFIG = {"hidden_act": "gelu", "layer_norm_eps": 1e-12, "num_attention_heads": 2}


def read(path, tensors, config=None):
    return read_checkpoint(write_safetensors(path / "model.safetensors", tensors, config))


def network(source, clip_shape=CLIP_SHAPE, classes=videomaes.CLASSES, options=None, **fields):
    """The network of the source, or one that fields say, with its weights, those of its head too."""
    config = ViViTConfig(**{**network_of(source), **fields})
    model = build_vivit(config, clip_shape=clip_shape, heads={"label": classes})
    return model, initialise_model(model, source, config, clip_shape, options or InitOptions(restore_head=True))


def tokens_of(model, clips):
    return keras.Model(model.input, model.get_layer("Transformer").output)(clips).numpy()


class TestLogits:
    @pytest.mark.parametrize("frames", [1, 2])
    @pytest.mark.parametrize("prefix", ["", "module.", "model.", "backbone."])
    def test_of_the_authors_files(self, frames, prefix, tmp_path):
        weights = videomae(frames)
        model, report = network(read(tmp_path, videomaes.own(weights, prefix)))
        assert not (report.missing or report.unexpected or report.differing)
        np.testing.assert_allclose(model(CLIPS)["label"], videomaes.outputs(weights, CLIPS), atol=TOLERANCE)
        assert "normalisation by (0.485, 0.456, 0.406) folded in" in report.loaded["embedding/kernel"]

    def test_of_the_authors_with_a_scale_of_each_layer(self, tmp_path):
        weights = videomae(layer_scale=True)
        model, _ = network(read(tmp_path, videomaes.own(weights)))
        np.testing.assert_allclose(model(CLIPS)["label"], videomaes.outputs(weights, CLIPS), atol=TOLERANCE)

    @pytest.mark.parametrize("new_names", [False, True])
    def test_of_hugging_face(self, new_names, tmp_path):
        weights = videomae()
        tensors = videomaes.hugging_face(weights)
        if new_names:
            new = {"q_bias": "query.bias", "v_bias": "value.bias"}
            tensors = {
                ".".join([*n.split(".")[:-1], new.get(n.split(".")[-1], n.split(".")[-1])]): t
                for n, t in tensors.items()
            }
        model, report = network(read(tmp_path, tensors, CONFIG))
        assert not (report.missing or report.unexpected or report.differing)
        expected = videomaes.outputs(weights, CLIPS, epsilon=1e-12, epsilon_of_mean=1e-5)
        np.testing.assert_allclose(model(CLIPS)["label"], expected, atol=TOLERANCE)


class TestPretrained:
    @pytest.mark.parametrize("naming", [videomaes.hugging_face, lambda weights: videomaes.own(weights, "encoder.")])
    def test_tokens_are_the_same_and_the_decoder_is_listed(self, naming, tmp_path):
        weights = videomae(fine_tuned=False)
        others = {"mask_token": (1, 1, 8), "encoder_to_decoder.weight": (8, WIDTH), "decoder.norm1.weight": (8,)}
        others |= {"clip_decoder.0.head.weight": (8, WIDTH), "decoder.blocks.0.attn.q_bias": (8,)}
        tensors = {name: np.zeros(shape, np.float32) for name, shape in others.items()} | naming(weights)
        source = read(tmp_path, tensors, CONFIG if naming is videomaes.hugging_face else None)
        model, report = network(source)
        assert report.unexpected == tuple(others)
        assert not report.differing
        expected = videomaes.outputs(weights, CLIPS, epsilon=source.origin.layer_norm_epsilon)
        np.testing.assert_allclose(tokens_of(model, CLIPS), expected, atol=TOLERANCE)

    def test_a_normalisation_of_the_mean_starts_afresh_with_the_head(self, tmp_path):
        source = read(tmp_path, videomaes.own(videomae(fine_tuned=False), "encoder."))
        model, report = network(source, fc_norm=1e-6, options=InitOptions())
        assert set(report.missing) == {"fc_norm/scale", "fc_norm/bias"}
        assert report.unexpected == ("Transformer/encoder_norm/scale", "Transformer/encoder_norm/bias")
        np.testing.assert_array_equal(weights_by_name(model)["fc_norm/scale"], np.ones(WIDTH))

    def test_a_head_without_the_mean_reads_the_first_token(self, tmp_path):
        weights = videomae(fine_tuned=False) | {
            "head/kernel": np.ones((WIDTH, 3), np.float32),
            "head/bias": np.zeros(3),
        }
        weights["head/bias"] = weights["head/bias"].astype(np.float32)
        source = read(tmp_path, videomaes.own(weights))
        assert network_of(source)["classifier"] == "0"
        model, _ = network(source)
        expected = videomaes.outputs(videomae(fine_tuned=False), CLIPS)[:, :1].sum(-1)
        np.testing.assert_allclose(model(CLIPS)["label"][:, :1], expected, atol=2e-4)


def test_the_network_is_model_1_without_a_class_token(tmp_path):
    assert network_of(read(tmp_path, videomaes.own(videomae(1)))) == {
        "hidden_size": WIDTH,
        "num_layers": LAYERS,
        "num_heads": 2,
        "mlp_dim": HIDDEN,
        "tubelet": (1, PATCH, PATCH),
        "registers": 0,
        "gelu": "exact",
        "layer_norm_epsilon": 1e-6,
        "variant": "spacetime",
        "classifier": "gap",
        "position_embedding": "sinusoidal_1d",
        "spatial_pool": True,
        "attention_logit_cap": None,
        "fc_norm": 1e-6,
    }


def test_a_network_of_another_function_is_listed_or_refused(tmp_path):
    source = read(tmp_path, videomaes.own(videomae()))
    _, report = network(source, position_embedding="none", gelu="tanh")
    assert report.differing == (
        "gelu: exact is usual for these weights, the network has tanh",
        "position_embedding: sinusoidal_1d is usual for these weights, the network has none",
    )
    with pytest.raises(ValueError, match=r"nothing for 2 weights of the network: Transformer/encoder_norm/scale"):
        network(source, fc_norm=None)


class TestDamagedFiles:
    @pytest.mark.parametrize("naming", [videomaes.hugging_face, videomaes.own])
    def test_without_a_tensor_or_with_one_of_an_odd_shape_name_the_file(self, naming, tmp_path):
        tensors = naming(videomae())
        config = ViViTConfig(**network_of(read(tmp_path, tensors)))
        model = build_vivit(config, clip_shape=CLIP_SHAPE, heads={"label": 3})
        # The blocks are alike, and a head may be missing.
        for name in (name for name in tensors if ".1." not in name):
            tensor, rest = tensors[name], {other: tensors[other] for other in tensors if other != name}
            odds = [tensor.ravel()[:-1], tensor[..., None, :], np.float32(tensor.sum()), tensor[..., :0]]
            for odd in odds if name.startswith(("classifier", "head")) else [None, *odds]:
                with pytest.raises(ValueError, match=r"model\.safetensors"):
                    source = read(tmp_path, rest if odd is None else {**rest, name: np.asarray(odd)})
                    initialise_model(model, source, config, CLIP_SHAPE, InitOptions(restore_head=True))

    @pytest.mark.parametrize("name", ["cls_token", "blocks.0.attn.q_norm.weight", "blocks.0.attn.qkv.bias"])
    def test_with_a_tensor_of_another_network_are_refused_by_its_name(self, name, tmp_path):
        with pytest.raises(CorruptFileError, match=name):
            read(tmp_path, {**videomaes.own(videomae()), name: np.ones(3 * WIDTH, np.float32)})


# In a process of its own: PyTorch and TensorFlow do not always load side by side.
TRANSFORMERS_SCRIPT = """
import sys
import numpy as np, torch, transformers
folder, name, frames = sys.argv[1:]
torch.manual_seed(0)
sizes = {"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 96}
sizes |= {"image_size": 32, "patch_size": 8, "num_frames": 8, "tubelet_size": int(frames), "num_labels": 5}
sizes |= {"decoder_hidden_size": 24, "decoder_num_hidden_layers": 1, "decoder_num_attention_heads": 2}
sizes |= {"decoder_intermediate_size": 48, "use_mean_pooling": name == "ForVideoClassification"}
model = getattr(transformers, "VideoMAE" + name)(transformers.VideoMAEConfig(**sizes)).eval()
with torch.no_grad():
    for weight in model.parameters():
        weight.add_(0.1 * torch.randn_like(weight))
model.save_pretrained(folder)
clips = np.random.RandomState(0).uniform(-1, 1, (2, 8, 32, 32, 3)).astype(np.float32)
mean, std = (np.float32(values) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
pixels = torch.from_numpy((((clips + 1) / 2 - mean) / std).transpose(0, 1, 4, 2, 3))
with torch.no_grad():
    if name == "ForVideoClassification":
        out = model(pixels).logits
    else:
        out = (model.videomae if name == "ForPreTraining" else model)(pixels).last_hidden_state
np.savez(folder + "/io.npz", clips=clips, out=out.numpy())
"""


@pytest.mark.parametrize(
    ("name", "frames"),
    [("Model", 2), ("ForPreTraining", 2), ("ForVideoClassification", 1), ("ForVideoClassification", 2)],
)
def test_transformers_networks_give_the_same(name, frames, python_with_transformers, tmp_path):
    arguments = [str(tmp_path), name, str(frames)]
    subprocess.run([python_with_transformers, "-c", TRANSFORMERS_SCRIPT, *arguments], check=True)
    golden, source = np.load(tmp_path / "io.npz"), read_checkpoint(tmp_path)
    model, report = network(source, (8, 32, 32), classes=5)
    assert not report.differing
    out = model(golden["clips"])["label"] if name.endswith("Classification") else tokens_of(model, golden["clips"])
    assert out.shape == golden["out"].shape
    difference = np.abs(out - golden["out"]).max()
    print(f"VideoMAE{name}, tubelets of {frames}: largest difference {difference:.1e}")
    assert difference <= TOLERANCE
