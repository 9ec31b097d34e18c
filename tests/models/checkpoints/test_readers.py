"""Checkpoint files of every layout, whole and damaged."""

import io
import subprocess
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from models.checkpoints.initialise import InitOptions, initialise_model
from models.checkpoints.msgpack import CorruptFileError
from models.checkpoints.readers import read_checkpoint, renumber
from models.network.vivit import ViViTConfig, build_vivit
from tests.models.checkpoints.image_vits import write_safetensors

GOLDEN = Path(__file__).parents[2] / "golden"
VIT = GOLDEN / "init_from_vit" / "sources" / "vit_token_32"
# Sizes of the Hugging Face network of this file.
HF_CONFIG = {"hidden_act": "gelu_fast", "layer_norm_eps": 1e-6, "num_attention_heads": 2}


@pytest.mark.parametrize("name", ["big_vision_train_state.npz", "original_layout.npz"])
def test_npz_layouts_hold_the_same_vit_as_scenics(name):
    scenic, npz = read_checkpoint(VIT / "checkpoint_5"), read_checkpoint(VIT / name)
    assert (scenic.layout, npz.layout) == ("scenic", "npz")
    assert set(npz.parameters) == set(scenic.parameters)
    for weight, values in scenic.parameters.items():
        np.testing.assert_array_equal(npz.parameters[weight], values)


@pytest.mark.parametrize("case", ["epic_fe_token/checkpoint_7", "fe_gap/checkpoint_params_layout_9"])
def test_both_layouts_of_a_train_state_are_read(case):
    path = GOLDEN / "models" / case
    read, expected = read_checkpoint(path).parameters, np.load(path.with_name("params.npz"))
    assert set(read) == set(expected)
    for weight, values in expected.items():
        np.testing.assert_array_equal(read[weight], values)


def test_older_flax_names_are_counted_anew_by_class():
    names = ["b/LayerNorm_0/scale", "b/Attention_1/key", "b/LayerNorm_2/scale", "b/Mlp_3/Dense_0/kernel"]
    renamed = ["b/LayerNorm_0/scale", "b/Attention_0/key", "b/LayerNorm_1/scale", "b/Mlp_0/Dense_0/kernel"]
    assert list(renumber(dict.fromkeys(names))) == renamed
    assert list(renumber(dict.fromkeys(renamed))) == renamed


def test_hugging_face_kernels_are_turned_and_split_into_heads(tmp_path):
    query = np.arange(16, dtype=np.float32).reshape(4, 4)
    layer = "vivit.encoder.layer.3.attention"
    tensors = {f"{layer}.attention.query.weight": query, f"{layer}.output.dense.weight": query}
    read = read_checkpoint(write_safetensors(tmp_path / "model.safetensors", tensors, HF_CONFIG)).parameters
    prefix = "Transformer/encoderblock_3/MultiHeadDotProductAttention_0"
    np.testing.assert_array_equal(read[f"{prefix}/query/kernel"], query.T.reshape(4, 2, 2))
    np.testing.assert_array_equal(read[f"{prefix}/out/kernel"], query.T.reshape(2, 2, 4))


# In a process of its own: PyTorch and TensorFlow do not always load side by side.
HUGGING_FACE_SCRIPT = """
import sys
import numpy as np, torch, transformers
torch.manual_seed(0)
sizes = {"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 96, "num_labels": 7}
config = transformers.VivitConfig(image_size=32, num_frames=8, tubelet_size=[2, 8, 8], **sizes)
model = transformers.VivitForVideoClassification(config).eval()
model.save_pretrained(sys.argv[1])
clip = np.random.RandomState(0).uniform(-1, 1, (2, 8, 32, 32, 3)).astype(np.float32)
with torch.no_grad():
    logits = model(torch.from_numpy(clip.transpose(0, 1, 4, 2, 3))).logits.numpy()
np.savez(sys.argv[1] + "/io.npz", clip=clip, logits=logits)
"""


def test_a_hugging_face_network_gives_the_same_logits(python_with_transformers, tmp_path):
    subprocess.run([python_with_transformers, "-c", HUGGING_FACE_SCRIPT, str(tmp_path)], check=True)
    config = ViViTConfig(variant="spacetime", tubelet=(2, 8, 8), hidden_size=48, num_layers=3, num_heads=4, mlp_dim=96)
    model = build_vivit(config, clip_shape=(8, 32, 32), heads={"label": 7})
    report = initialise_model(model, read_checkpoint(tmp_path), config, (8, 32, 32), InitOptions(restore_head=True))
    assert not (report.initialised or report.missing or report.unexpected)
    golden = np.load(tmp_path / "io.npz")
    np.testing.assert_allclose(model(golden["clip"])["label"], golden["logits"], atol=1e-4)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({**HF_CONFIG, "hidden_act": "relu"}, "hidden_act 'relu'"),
        ({**HF_CONFIG, "layer_norm_eps": 0}, "layer_norm_eps 0"),
        ({**HF_CONFIG, "num_attention_heads": "2"}, "num_attention_heads '2'"),
        ([HF_CONFIG], "config.json: wanted an object, found list"),
    ],
)
def test_a_hugging_face_network_that_is_another_function_is_refused(config, message, tmp_path):
    path = write_safetensors(tmp_path / "model.safetensors", {"classifier.bias": np.zeros(3, np.float32)}, config)
    with pytest.raises(CorruptFileError, match=message):
        read_checkpoint(path)


class TestDamagedFiles:
    def test_are_named(self, tmp_path):
        path = tmp_path / "checkpoint_1"
        path.write_bytes(b"\x81\xa1")
        with pytest.raises(CorruptFileError, match=str(path)):
            read_checkpoint(path)

    @pytest.mark.parametrize("source", [VIT / "checkpoint_5", VIT / "original_layout.npz"])
    def test_are_refused_wherever_they_are_cut_off(self, source, tmp_path):
        data = source.read_bytes()
        for size in range(0, len(data), len(data) // 40):
            path = tmp_path / f"{size}"
            path.write_bytes(data[:size])
            with pytest.raises(CorruptFileError):
                read_checkpoint(path)

    @pytest.mark.parametrize("source", [VIT / "checkpoint_5", VIT / "original_layout.npz"])
    def test_with_one_byte_changed_never_crash(self, source, tmp_path):
        data, random = bytearray(source.read_bytes()), np.random.RandomState(0)
        path = tmp_path / "changed"
        for position in random.randint(0, len(data), 200):
            changed = data.copy()
            changed[position] ^= 1 << random.randint(8)
            path.write_bytes(changed)
            try:
                read_checkpoint(path)
            except CorruptFileError:
                continue

    def test_that_hold_python_objects_are_not_unpickled(self, tmp_path):
        class Bomb:
            def __reduce__(self):
                return (Path.touch, (tmp_path / "exploded",))

        path = tmp_path / "objects.npz"
        np.savez(path, **{"embedding/kernel": np.array([Bomb()], dtype=object)})
        with pytest.raises(CorruptFileError, match="Python objects"):
            read_checkpoint(path)
        assert not (tmp_path / "exploded").exists()

    def test_that_promise_more_than_they_hold_are_refused(self, tmp_path):
        buffer = io.BytesIO()
        np.lib.format.write_array_header_1_0(buffer, {"descr": "<f4", "fortran_order": False, "shape": (10**12,)})
        path = tmp_path / "promise.npz"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("embedding/kernel.npy", buffer.getvalue())
        with pytest.raises(CorruptFileError, match="1000000000000"):
            read_checkpoint(path)

    def test_that_would_inflate_beyond_measure_are_refused(self, tmp_path):
        path = tmp_path / "bomb.npz"
        with (
            zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
            archive.open("x.npy", "w") as member,
        ):
            for _ in range(1100):
                member.write(bytes(2**20))
        with pytest.raises(CorruptFileError, match="inflate"):
            read_checkpoint(path)

    def test_with_values_that_are_not_finite_name_the_weight(self, tmp_path):
        arrays = dict(np.load(VIT / "original_layout.npz"))
        arrays["Transformer/encoder_norm/bias"][0] = np.nan
        np.savez(tmp_path / "nan.npz", **arrays)
        with pytest.raises(CorruptFileError, match="Transformer/encoder_norm/bias"):
            read_checkpoint(tmp_path / "nan.npz")

    @pytest.mark.parametrize(
        ("header", "message"),
        [
            (b'{"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 8]}}', "bytes 0 to 8"),
            (b'{"a": {"dtype": "F32", "shape": [-2], "data_offsets": [0, -8]}}', "shape"),
            (b'{"a": {"dtype": "PYTHON", "shape": [2], "data_offsets": [0, 8]}}', "PYTHON"),
            (b'{"a": {"dtype": "F32"}}', "damaged safetensors header"),
            (b'{"a": ' + b"[" * 100_000, "damaged safetensors header"),
            (b'{"a": 1', "Expecting"),
        ],
    )
    def test_with_a_false_safetensors_header_are_refused(self, header, message, tmp_path):
        path = tmp_path / "model.safetensors"
        path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
        with pytest.raises(CorruptFileError, match=message):
            read_checkpoint(path)

    def test_that_are_empty_say_so(self, tmp_path):
        (tmp_path / "checkpoint").touch()
        with pytest.raises(CorruptFileError, match="empty"):
            read_checkpoint(tmp_path / "checkpoint")


def test_a_keras_weights_file_is_recognised(tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.save_weights(tmp_path / "model.weights.h5")
    with pytest.raises(CorruptFileError, match=r"model\.weights\.h5"):
        read_checkpoint(tmp_path / "model.weights.h5")
