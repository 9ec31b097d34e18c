"""Image ViTs of every naming give the features that they had, through the network that their weights are read into."""

import subprocess

import keras
import numpy as np
import pytest

from models.checkpoints.architecture import network_of
from models.checkpoints.initialise import InitOptions, initialise_model
from models.checkpoints.msgpack import CorruptFileError
from models.checkpoints.normalisation import HALF, IMAGENET, Normalisation
from models.checkpoints.readers import read_checkpoint
from models.checkpoints.resizing import resize_bicubic
from models.network.vivit import ViViTConfig, build_vivit, weights_by_name
from tests.models.checkpoints import image_vits
from tests.models.checkpoints.image_vits import GRID, HIDDEN, IMAGES, LAYERS, PATCH, SIDE, WIDTH, image_vit

TOLERANCE = 2e-5
CONFIG = {"hidden_act": "gelu", "layer_norm_eps": 1e-6, "num_attention_heads": 2}
PROCESSOR = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4]}


def read(path, tensors, *settings, **more):
    return read_checkpoint(image_vits.write_safetensors(path / "model.safetensors", tensors, *settings, **more))


def network(source, clip_shape=(1, SIDE, SIDE), options=None, **fields):
    """A network of the source's sizes with its weights, model 2 without a temporal encoder unless fields say more."""
    config = ViViTConfig(**{"variant": "factorized_encoder", "temporal_layers": 0, **network_of(source), **fields})
    model = build_vivit(config, clip_shape=clip_shape, heads={"label": 3}, all_tokens=True)
    return model, initialise_model(model, source, config, clip_shape, options or InitOptions())


def encoded(model, clips):
    """What the encoder of frames, or of model 1, gives for clips [B, T, H, W, 3]."""
    names = {layer.name for layer in model.layers}
    encoder = model.get_layer("SpatialTransformer" if "SpatialTransformer" in names else "Transformer")
    return keras.Model(model.input, encoder.output)(clips).numpy()


def assert_same_features(source, weights, normalisation, **how):
    model, report = network(source)
    assert not report.missing
    expected = image_vits.features(weights, IMAGES, normalisation, **how)
    np.testing.assert_allclose(encoded(model, IMAGES[:, None])[:, 0], expected, atol=TOLERANCE)
    return report


class TestFeatures:
    @pytest.mark.parametrize("prefix", ["", "dinov2.", "dinov2_with_registers."])
    @pytest.mark.parametrize("registers", [0, 4])
    def test_of_dinov2(self, registers, prefix, tmp_path):
        weights = image_vit(registers)
        source = read(tmp_path, image_vits.hugging_face(weights, prefix))
        report = assert_same_features(source, weights, IMAGENET)
        assert report.unexpected == (f"{prefix}embeddings.mask_token",)
        assert "normalisation by (0.485, 0.456, 0.406) folded in" in report.loaded["embedding/kernel"]

    def test_of_hugging_faces_vit(self, tmp_path):
        weights = image_vit(layer_scale=False)
        source = read(tmp_path, image_vits.hugging_face(weights, "vit."), preprocessor=PROCESSOR)
        normalisation = Normalisation(PROCESSOR["image_mean"], PROCESSOR["image_std"])
        assert_same_features(source, weights, normalisation, epsilon=1e-12)

    @pytest.mark.parametrize(
        "how",
        [
            {"class_position": True},
            {"class_position": False},
            {"registers": 4, "class_position": False},
            {"registers": 4, "register_positions": True},
        ],
    )
    def test_of_timm(self, how, tmp_path):
        weights = image_vit(**how)
        assert_same_features(read(tmp_path, image_vits.timm(weights)), weights, IMAGENET)

    def test_of_dinov2s_own_code(self, tmp_path):
        weights = image_vit(registers=4)
        report = assert_same_features(
            read(tmp_path, image_vits.timm(weights, registers="register_tokens")), weights, IMAGENET
        )
        assert report.unexpected == ("mask_token",)

    def test_of_current_big_vision(self, tmp_path):
        weights = image_vit(layer_scale=False, class_position=False)
        np.savez(tmp_path / "vit.npz", **image_vits.big_vision(weights))
        source = read_checkpoint(tmp_path / "vit.npz")
        # As in the reference, model 2 leaves its class token as it was; model 1 takes it.
        model, report = network(source, variant="spacetime")
        assert not (report.missing or report.unexpected or report.differing)
        expected = image_vits.features(weights, IMAGES, gelu="tanh")
        np.testing.assert_allclose(encoded(model, IMAGES[:, None]), expected, atol=TOLERANCE)

    @pytest.mark.parametrize("variant", ["spacetime", "factorized_encoder"])
    def test_of_the_middle_frame_of_a_tubelet(self, variant, tmp_path):
        weights = image_vit(registers=4)
        source = read(tmp_path, image_vits.hugging_face(weights))
        clips = np.stack([IMAGES[::-1], IMAGES, np.zeros_like(IMAGES)], axis=1)
        model, _ = network(source, (3, SIDE, SIDE), variant=variant, tubelet=(3, PATCH, PATCH))
        expected = image_vits.features(weights, IMAGES, IMAGENET)
        np.testing.assert_allclose(encoded(model, clips).reshape(expected.shape), expected, atol=TOLERANCE)

    def test_of_frames_that_stand_still_by_their_average(self, tmp_path):
        weights = image_vit()
        source, options = read(tmp_path, image_vits.hugging_face(weights)), InitOptions(inflation="average_frame")
        model, _ = network(source, (2, SIDE, SIDE), options, tubelet=(2, PATCH, PATCH))
        clips = np.stack([IMAGES, IMAGES], axis=1)
        expected = image_vits.features(weights, IMAGES, IMAGENET)
        np.testing.assert_allclose(encoded(model, clips)[:, 0], expected, atol=TOLERANCE)

    def test_rank_pooling_takes_the_constant_of_the_normalisation_away(self, tmp_path):
        weights = image_vit()
        source, options = read(tmp_path, image_vits.hugging_face(weights)), InitOptions(inflation="harmonic")
        model, _ = network(source, (3, SIDE, SIDE), options, tubelet=(3, PATCH, PATCH))
        bias = weights_by_name(model)["embedding/bias"].numpy()
        np.testing.assert_array_equal(bias, weights["patch/bias"])

    def test_are_of_a_few_tokens_whatever_the_classifier(self, tmp_path):
        weights = image_vit(registers=4)
        source = read(tmp_path, image_vits.hugging_face(weights))
        expected = image_vits.features(weights, IMAGES, IMAGENET)[:, 0]
        config = ViViTConfig(variant="spacetime", **network_of(source))
        model = build_vivit(config, clip_shape=(1, SIDE, SIDE), heads={"label": 3})
        initialise_model(model, source, config, (1, SIDE, SIDE), InitOptions())
        pooled = keras.Model(model.input, model.get_layer("pool").output)
        np.testing.assert_allclose(pooled(IMAGES[:, None]), expected, atol=TOLERANCE)


class TestNormalisation:
    VIT = image_vits.timm(image_vit(layer_scale=False))
    PRETRAINED = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}
    EXPECTED = Normalisation((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))

    def test_is_timms_of_config_json(self, tmp_path):
        assert read(tmp_path, self.VIT, {"pretrained_cfg": self.PRETRAINED}).origin.normalisation == self.EXPECTED

    def test_is_timms_of_the_files_metadata(self, tmp_path):
        metadata = {"pretrained_cfg": str(self.PRETRAINED).replace("'", '"')}
        assert read(tmp_path, self.VIT, metadata=metadata).origin.normalisation == self.EXPECTED

    def test_of_dinov2_gives_way_to_the_processors(self, tmp_path):
        source = read(tmp_path, image_vits.hugging_face(image_vit()), preprocessor=PROCESSOR)
        assert source.origin.normalisation == Normalisation((0.5, 0.4, 0.3), (0.2, 0.3, 0.4))

    def test_may_be_none_at_all(self, tmp_path):
        source = read(tmp_path, self.VIT, preprocessor={**PROCESSOR, "do_normalize": False})
        assert_same_features(source, image_vit(layer_scale=False), Normalisation((0, 0, 0), (1, 1, 1)))

    @pytest.mark.parametrize("tensors", [VIT, image_vits.hugging_face(image_vit(layer_scale=False))])
    def test_is_not_guessed(self, tensors, tmp_path):
        source = read(tmp_path, tensors)
        with pytest.raises(ValueError, match=r"model\.safetensors.*set init\.normalisation to imagenet"):
            network(source)
        for name, normalisation in {"half": HALF, "imagenet": IMAGENET}.items():
            model, _ = network(source, options=InitOptions(normalisation=name))
            epsilon = network_of(source)["layer_norm_epsilon"]
            expected = image_vits.features(image_vit(layer_scale=False), IMAGES, normalisation, epsilon=epsilon)
            np.testing.assert_allclose(encoded(model, IMAGES[:, None])[:, 0], expected, atol=TOLERANCE)

    def test_is_not_needed_without_the_embedding(self, tmp_path):
        _, report = network(read(tmp_path, self.VIT), options=InitOptions(restore_embedding=False))
        assert {"embedding/kernel", "embedding/bias"} <= set(report.initialised)

    @pytest.mark.parametrize(
        "processor",
        [
            {"image_mean": [0.5, 0.5, 0.5]},
            {"image_mean": [0.5, 0.5], "image_std": [1, 1]},
            {"image_mean": [0.5, 0.5, "x"], "image_std": [1, 1, 1]},
            {"image_mean": [0.5, 0.5, 0.5], "image_std": [1, 1, 0]},
            {"image_mean": [0.5, 0.5, float("nan")], "image_std": [1, 1, 1]},
            [],
        ],
    )
    def test_that_is_damaged_is_refused(self, processor, tmp_path):
        with pytest.raises(CorruptFileError, match=r"model\.safetensors: (image|preprocessor_config)"):
            read(tmp_path, self.VIT, preprocessor=processor)


class TestNetworkOf:
    def test_dinov2_is_its_sizes_and_functions(self, tmp_path):
        assert network_of(read(tmp_path, image_vits.hugging_face(image_vit(registers=4)))) == {
            "hidden_size": WIDTH,
            "num_layers": LAYERS,
            "num_heads": 2,
            "mlp_dim": HIDDEN,
            "tubelet": (1, PATCH, PATCH),
            "registers": 4,
            "gelu": "exact",
            "layer_norm_epsilon": 1e-6,
        }

    def test_takes_heads_and_functions_from_config_json(self, tmp_path):
        config = {"hidden_act": "gelu_fast", "layer_norm_eps": 1e-5, "num_attention_heads": 8}
        found = network_of(read(tmp_path, image_vits.hugging_face(image_vit()), config))
        assert (found["num_heads"], found["gelu"], found["layer_norm_epsilon"]) == (8, "tanh", 1e-5)

    def test_of_half_a_checkpoint_names_what_is_missing(self, tmp_path):
        tensors = image_vits.timm(image_vit())
        del tensors["blocks.0.mlp.fc1.weight"], tensors["blocks.1.mlp.fc1.weight"]
        with pytest.raises(ValueError, match="MlpBlock"):
            network_of(read(tmp_path, tensors))


class TestAnotherFunction:
    def test_that_config_json_states_is_refused(self, tmp_path):
        source = read(tmp_path, image_vits.hugging_face(image_vit()), CONFIG)
        with pytest.raises(ValueError, match=r"gelu exact, the network has tanh: set model\.gelu"):
            network(source, gelu="tanh")
        with pytest.raises(ValueError, match=r"layer_norm_epsilon 1e-06, the network has 1e-05"):
            network(source, layer_norm_epsilon=1e-5)

    def test_that_is_unusual_for_the_weights_is_reported(self, tmp_path):
        _, report = network(read(tmp_path, image_vits.hugging_face(image_vit())), gelu="tanh")
        assert report.differing == ("gelu: exact is usual for these weights, the network has tanh",)
        assert "differing 1\n  gelu: exact" in str(report)

    def test_without_the_registers_of_the_weights_lists_them(self, tmp_path):
        _, report = network(read(tmp_path, image_vits.hugging_face(image_vit(registers=4))), registers=0)
        assert "Transformer/registers" in report.unexpected

    def test_with_registers_that_the_weights_lack_is_refused(self, tmp_path):
        with pytest.raises(ValueError, match="SpatialTransformer/registers"):
            network(read(tmp_path, image_vits.hugging_face(image_vit())), registers=4)


def test_positions_of_another_grid_are_interpolated(tmp_path):
    weights = image_vit()
    source = read(tmp_path, image_vits.hugging_face(weights))
    model, report = network(source, (1, 2 * PATCH, 5 * PATCH))
    name = "SpatialTransformer/posembed_input/pos_embedding"
    fitted, given = weights_by_name(model)[name].numpy()[0], weights["positions"]
    np.testing.assert_array_equal(fitted[0], given[0])
    expected = resize_bicubic(given[1:], (GRID, GRID), (2, 5), antialias=False)
    np.testing.assert_array_equal(fitted[1:], expected)
    assert report.loaded[name] == "resized bicubically to (2, 5), tiled 1 times"


class TestResizeBicubic:
    @pytest.mark.parametrize("antialias", [False, True])
    def test_keeps_what_is_the_same_everywhere_and_a_grid_of_the_same_size(self, antialias):
        even, table = np.ones((12, 1), np.float32), np.random.RandomState(0).randn(12, 5).astype(np.float32)
        for target in ((2, 2), (5, 9)):
            np.testing.assert_allclose(resize_bicubic(even, (3, 4), target, antialias=antialias), 1, atol=1e-6)
        same = resize_bicubic(table, (3, 4), (3, 4), antialias=antialias)
        np.testing.assert_allclose(same, table, atol=1e-6)

    def test_is_keyss_filter_half_way_between_cells(self):
        # Of 4 cells to 2: each new centre lies between the first two, and between the last two.
        table = np.array([[1.0], [2.0], [4.0], [8.0]], np.float32)
        outer, inner = -0.09375, 0.59375
        first = outer * 1 + inner * 1 + inner * 2 + outer * 4
        last = outer * 2 + inner * 4 + inner * 8 + outer * 8
        found = resize_bicubic(table, (4, 1), (2, 1), antialias=False)
        np.testing.assert_allclose(found[:, 0], [first, last], rtol=1e-6)

    def test_a_grid_that_the_table_has_not_is_refused(self):
        with pytest.raises(ValueError, match=r"source_grid: given \(2, 2\), the source has 3"):
            resize_bicubic(np.zeros((3, 1), np.float32), (2, 2), (1, 1), antialias=False)


def test_the_classifier_of_a_vit_is_taken_and_that_of_dinov2_listed(tmp_path):
    vit, head = image_vits.timm(image_vit()), np.ones((3, WIDTH), np.float32)
    source = read(tmp_path, {**vit, "head.weight": head, "head.bias": head[:, 0]})
    model, report = network(source, options=InitOptions(restore_head=True))
    assert not (report.missing or report.unexpected)
    np.testing.assert_array_equal(weights_by_name(model)["output_projection/kernel"], head.T)
    dinov2, head = image_vits.hugging_face(image_vit(), "dinov2."), np.ones((3, 2 * WIDTH), np.float32)
    _, report = network(read(tmp_path, {**dinov2, "classifier.weight": head, "classifier.bias": head[:, 0]}))
    assert {"classifier/kernel", "classifier/bias"} <= set(report.unexpected)


class TestDamagedFiles:
    @pytest.mark.parametrize("naming", [image_vits.hugging_face, image_vits.timm])
    def test_with_one_tensor_of_an_odd_shape_name_the_file(self, naming, tmp_path):
        tensors = naming(image_vit(registers=4))
        whole = read(tmp_path, tensors)
        config = ViViTConfig(variant="spacetime", **network_of(whole))
        model = build_vivit(config, clip_shape=(1, SIDE, SIDE), heads={"label": 3})
        for name, tensor in tensors.items():
            for odd in (tensor.ravel()[:-1], tensor[..., None, :], np.float32(tensor.sum()), tensor[..., :0]):
                if "mask_token" not in name:
                    with pytest.raises(ValueError, match=r"model\.safetensors"):
                        source = read(tmp_path, {**tensors, name: np.asarray(odd)})
                        initialise_model(model, source, config, (1, SIDE, SIDE), InitOptions())

    @pytest.mark.parametrize("naming", [image_vits.hugging_face, image_vits.timm])
    def test_without_one_tensor_are_refused(self, naming, tmp_path):
        tensors = naming(image_vit(registers=4))
        config = ViViTConfig(variant="spacetime", **network_of(read(tmp_path, tensors)))
        model = build_vivit(config, clip_shape=(1, SIDE, SIDE), heads={"label": 3})
        for name in tensors:
            if "mask_token" not in name:
                with pytest.raises(ValueError, match=r"model\.safetensors"):
                    source = read(tmp_path, {other: tensors[other] for other in tensors if other != name})
                    initialise_model(model, source, config, (1, SIDE, SIDE), InitOptions())

    def test_that_are_cut_off_are_refused(self, tmp_path):
        path = image_vits.write_safetensors(tmp_path / "model.safetensors", image_vits.timm(image_vit()))
        data = path.read_bytes()
        for size in range(0, len(data), len(data) // 40):
            path.write_bytes(data[:size])
            with pytest.raises(CorruptFileError):
                read_checkpoint(path)

    def test_with_a_header_changed_by_one_bit_never_crash(self, tmp_path):
        path = image_vits.write_safetensors(tmp_path / "model.safetensors", image_vits.timm(image_vit(registers=4)))
        data, random = bytearray(path.read_bytes()), np.random.RandomState(0)
        for position in random.randint(0, 8 + int.from_bytes(data[:8], "little"), 200):
            changed = data.copy()
            changed[position] ^= 1 << random.randint(8)
            path.write_bytes(changed)
            try:
                read_checkpoint(path)
            except CorruptFileError:
                continue

    @pytest.mark.parametrize("name", ["blocks.0.attn.q_norm.weight", "norm_pre.weight", "blocks.0.mlp.w12.weight"])
    def test_with_a_tensor_of_another_network_are_refused_by_its_name(self, name, tmp_path):
        tensors = {**image_vits.timm(image_vit()), name: np.ones(WIDTH, np.float32)}
        with pytest.raises(CorruptFileError, match=name):
            read(tmp_path, tensors)

    def test_with_the_same_weight_twice_are_refused(self, tmp_path):
        tensors = image_vits.hugging_face(image_vit())
        tensors["dinov2.layernorm.bias"] = tensors["layernorm.bias"]
        with pytest.raises(CorruptFileError, match="a second tensor for Transformer/encoder_norm/bias"):
            read(tmp_path, tensors)


# In a process of its own: PyTorch and TensorFlow do not always load side by side.
TRANSFORMERS_SCRIPT = """
import sys
import numpy as np, torch, transformers
folder, name, side = sys.argv[1:]
side = int(side)
torch.manual_seed(0)
sizes = {"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4, "image_size": 32, "patch_size": 8}
more = {"intermediate_size": 96} if name == "ViT" else {"mlp_ratio": 2}
model = getattr(transformers, name + "Model")(getattr(transformers, name + "Config")(**sizes, **more)).eval()
with torch.no_grad():
    for weight in model.parameters():
        weight.add_(0.1 * torch.randn_like(weight))
model.save_pretrained(folder)
images = np.random.RandomState(0).uniform(-1, 1, (2, side, side, 3)).astype(np.float32)
mean, std = (np.float32(values) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
pixels = torch.from_numpy((((images + 1) / 2 - mean) / std).transpose(0, 3, 1, 2))
with torch.no_grad():
    features = model(pixels, **({"interpolate_pos_encoding": True} if name == "ViT" else {})).last_hidden_state.numpy()
np.savez(folder + "/io.npz", images=images, features=features)
"""


@pytest.mark.parametrize("side", [32, 24, 56])
@pytest.mark.parametrize("name", ["ViT", "Dinov2", "Dinov2WithRegisters"])
def test_transformers_networks_have_the_same_features(name, side, python_with_transformers, tmp_path):
    subprocess.run([python_with_transformers, "-c", TRANSFORMERS_SCRIPT, str(tmp_path), name, str(side)], check=True)
    golden = np.load(tmp_path / "io.npz")
    source = read_checkpoint(tmp_path)
    assert network_of(source)["num_heads"] == 4
    model, report = network(source, (1, side, side), InitOptions(normalisation="imagenet"))
    assert not (report.missing or report.differing)
    registers = network_of(source)["registers"]
    features = np.delete(golden["features"], slice(1, 1 + registers), axis=1)
    difference = np.abs(encoded(model, golden["images"][:, None])[:, 0] - features).max()
    print(f"{name} at {side} pixels: largest difference {difference:.1e}")
    assert difference <= TOLERANCE
