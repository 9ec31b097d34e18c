"""An image ViT from its file to a pushed model: probed, and fine-tuned."""

from __future__ import annotations

import re

import pytest

from pipeline.run import run
from tests.models.checkpoints import image_vits
from tests.videos import write_colour_classes

SETTINGS = (
    *("clip.crop_size=32", "clip.min_resize=32", "ingest.short_side=32"),
    *("train.probe.views=1", "train.probe.epochs=20", "train.probe.decays=0.0"),
)


@pytest.mark.end_to_end
def test_an_image_vit_that_is_left_as_it_is_tells_colours_apart(tmp_path):
    weights = image_vits.write_safetensors(
        tmp_path / "model.safetensors", image_vits.hugging_face(image_vits.image_vit(registers=2))
    )
    videos = write_colour_classes(tmp_path / "videos", per_class=24)
    settings, lines = [f"model.init_from={weights}", *SETTINGS], []
    first = run(str(videos), str(tmp_path / "run"), recipe="probe", overrides=settings, echo=lines.append)
    text = "\n".join(lines)
    assert "weights   starts from" in text
    assert re.search(r"accuracy  label: top-1 (0\.9|1\.0)", text)
    assert "\n  blessing  BLESSED" in text
    assert len(list((tmp_path / "run" / "pushed").iterdir())) == 1
    again = run(str(videos), str(tmp_path / "run"), recipe="probe", overrides=settings, echo=lines.append)
    assert not first["Trainer"].cached
    assert again["Trainer"].cached


@pytest.mark.end_to_end
def test_without_a_recipe_the_same_weights_are_fine_tuned_and_pushed(tmp_path):
    weights = image_vits.write_safetensors(
        tmp_path / "model.safetensors", image_vits.hugging_face(image_vits.image_vit())
    )
    videos, lines = write_colour_classes(tmp_path / "videos", per_class=24), []
    settings = [f"model.init_from={weights}", *SETTINGS]
    run(str(videos), str(tmp_path / "run"), recipe=None, overrides=settings, echo=lines.append)
    text = "\n".join(lines)
    assert "Recipe finetune, as there are pretrained weights; 8 epochs take about 1 min here" in text
    assert re.search(r"accuracy  label: top-1 (0\.9|1\.0)", text)
    assert len(list((tmp_path / "run" / "pushed").iterdir())) == 1
