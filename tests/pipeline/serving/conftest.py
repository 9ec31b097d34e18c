"""A tiny model in two versions with other weights, and its videos."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import tensorflow as tf

from components.media.decoder import Decoder
from models.clips.sampling import ClipConfig, ViewsConfig
from models.network.vivit import ViViTConfig, build_vivit
from models.serving.export import ServedModel
from pipeline.inference.model import decode_config
from schemas import serving
from tests.components.media.videos import write_video

CLASSES = {"label": ["jump", "rün", "swim"]}
CLIP, VIEWS = ClipConfig(num_frames=4, stride=1, min_resize=16, crop_size=16), ViewsConfig(temporal=2, spatial=1)
NETWORK = ViViTConfig(
    tubelet=(2, 8, 8), hidden_size=16, num_layers=1, temporal_layers=1, num_heads=2, mlp_dim=16, classifier="gap"
)
INGEST = {"fps": 10, "short_side": 16, "max_seconds": 20}


def write_version(folder) -> None:
    """A SavedModel with random weights."""
    model = build_vivit(NETWORK, clip_shape=CLIP.shape, heads={"label": 3})
    card = serving.ModelCard(CLASSES, (2, 1), ingest=INGEST, config={})
    served = ServedModel(model, clip=CLIP, views=VIEWS, classes=CLASSES)
    served.save(str(folder), card, serving.ExpectedLogits({}, {}))


def change_weights(folder, seed: int) -> None:
    """Gives a SavedModel other weights, faster than another could be made."""
    prefix, rng = str(folder / "variables" / "variables"), np.random.default_rng(seed)
    reader = tf.train.load_checkpoint(prefix)
    tensors = {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
    changed = [
        value + rng.normal(0, 0.3, value.shape).astype(value.dtype) if isinstance(value, np.ndarray) else value
        for value in tensors.values()
    ]
    tf.raw_ops.SaveV2(prefix=prefix, tensor_names=list(tensors), shape_and_slices=[""] * len(tensors), tensors=changed)


@pytest.fixture(scope="session")
def versions(tmp_path_factory):
    """A folder of versions 1 and 2."""
    folder = tmp_path_factory.mktemp("versions")
    write_version(folder / "1")
    shutil.copytree(folder / "1", folder / "2")
    for version in (1, 2):
        change_weights(folder / str(version), version)
    return folder


@pytest.fixture(scope="session")
def videos(tmp_path_factory):
    """Five videos of other lengths."""
    folder = tmp_path_factory.mktemp("videos")
    return [str(write_video(folder / f"{count}.mp4", range(count, 3 * count))) for count in (4, 9, 15, 22, 30)]


@pytest.fixture(scope="session")
def clips(versions, videos):
    """Their stored frames."""
    with Decoder(decode_config(str(versions))) as decoder:
        return [next(decoder.store_segments(video, [(0, None)]))[1].frames for video in videos]


@pytest.fixture(scope="session")
def signatures(versions):
    """The versions, loaded: version -> signatures."""
    return {version: tf.saved_model.load(str(versions / str(version))).signatures for version in (1, 2)}


@pytest.fixture(scope="session")
def expected(signatures, clips):
    """Logits by version of each clip, alone, from the SavedModel itself: version -> [clips, 3]."""
    found = {}
    for version, functions in signatures.items():
        function = functions[serving.FRAMES_SIGNATURE]
        found[version] = np.array(
            [
                function(frames=tf.constant([frames]), num_frames=tf.constant([len(frames)]))["label/logits"][0]
                for frames in clips
            ]
        )
    assert np.ptp(found[1], axis=0).max() > 0.01, "clips that do not differ prove nothing"
    assert np.abs(found[1] - found[2]).max() > 0.01
    return found
