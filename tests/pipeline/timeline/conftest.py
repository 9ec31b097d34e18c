"""A model that knows colours, and a video of colours: what it sees is known without training."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from models.clips.sampling import ClipConfig, ViewsConfig
from models.serving.export import ServedModel
from schemas import serving
from tests.videos import write_video

CLIP = ClipConfig(num_frames=4, stride=2, min_resize=20, crop_size=16)
COLOURS = ["blue", "green", "red"]
FPS = 10
GREY, RED, GREEN = (110, 110, 110), (230, 30, 30), (30, 230, 30)


def colour_network():
    """Logits of two heads from the mean colour: which one it is, and whether it is a colour or none."""
    clip = keras.Input((*CLIP.shape, 3))
    mean = keras.layers.GlobalAveragePooling3D()(clip)
    colour, kind = keras.layers.Dense(3, name="colour"), keras.layers.Dense(2, name="kind")
    model = keras.Model(clip, {"colour": colour(mean), "kind": kind(mean)})
    colour.set_weights([2 * np.eye(3)[::-1], np.zeros(3)])
    kind.set_weights([np.array([[4, -4], [-8, 8], [4, -4]]), np.zeros(2)])
    return model


@pytest.fixture(scope="session")
def colour_model(tmp_path_factory):
    """The folder of a model whose videos are stored at 10 frames a second."""
    folder = str(tmp_path_factory.mktemp("colour") / "model")
    classes = {"colour": COLOURS, "kind": ["no green", "green & <all>"]}
    card = serving.ModelCard(
        classes=classes,
        views=(1, 3),
        ingest={"fps": FPS, "short_side": 24, "max_seconds": 20},
        config={"weights": {"clip": {"num_frames": 4, "stride": 2, "min_resize": 20, "crop_size": 16}}},
    )
    served = ServedModel(colour_network(), clip=CLIP, views=ViewsConfig(1, 3), classes=classes)
    served.save(folder, card, serving.ExpectedLogits({}, {}))
    return folder


def write_colours(path, *stretches, fps=FPS):
    """Writes a video of (seconds, colour) stretches."""
    frames = [
        np.full((48, 64, 3), colour, np.uint8) for seconds, colour in stretches for _ in range(round(seconds * fps))
    ]
    return str(write_video(path, np.stack(frames), fps=fps))


@pytest.fixture(scope="session")
def colours_video(tmp_path_factory):
    """12 s: red from 3 s to 6 s, green from 8 s on."""
    path = tmp_path_factory.mktemp("colours") / "colours.mp4"
    return write_colours(path, (3, GREY), (3, RED), (2, GREY), (4, GREEN))
