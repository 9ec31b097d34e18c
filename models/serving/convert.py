"""Turns a published checkpoint into our weights and a SavedModel with the signatures of the pipeline's."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from models.checkpoints.initialise import InitReport
from models.checkpoints.own import HEAD, OwnCheckpoint, read_weights, start_model
from models.checkpoints.pretrained import ModelConfig
from models.clips.sampling import ClipConfig, ViewsConfig
from models.network.vivit import build_vivit
from models.serving.export import ServedModel
from schemas import serving

_VERSION = "1"
_BIAS = f"{HEAD}bias"


def convert(
    source: str,
    output: str,
    *,
    config: ModelConfig,
    clip: ClipConfig,
    views: ViewsConfig,
    ingest: Mapping[str, Any],
    num_classes: Mapping[str, int],
    classes: Mapping[str, Sequence[str]] | None = None,
    name: str | None = None,
) -> InitReport:
    """Writes the SavedModel ``output/1``, with the weights under the reference's names in a file of its own.

    Args:
      source: Local checkpoint file or folder, see `read_weights`.
      output: Local folder to write.
      config: The network; its `init` sets how weights are fitted. The source's head is taken if its width is ours.
      clip: What the network sees of a video.
      views: The views that are averaged.
      ingest: Ingest configuration, for the model's card.
      num_classes: Number of classes of each head where neither `classes` nor the source's head gives it.
      classes: Class names by head; where None, those of a model of ours, and generated ones for another source.
      name: Where the checkpoint comes from, for the model's card; `source` where None.

    Returns:
      What was loaded, initialised, missing and unexpected.

    Raises:
      ValueError: If the file is damaged, or a weight does not fit; names it and both shapes.
    """
    checkpoint = read_weights(source)
    width = checkpoint.parameters[_BIAS].shape[0] if _BIAS in checkpoint.parameters else None
    if classes is None and isinstance(checkpoint, OwnCheckpoint):
        classes = checkpoint.classes
    elif classes is None:
        counts = dict(num_classes)
        if len(counts) == 1 and width is not None:
            counts = {head: width for head in counts}
        classes = {head: [f"class_{number:03d}" for number in range(count)] for head, count in counts.items()}
    heads = {head: len(names) for head, names in classes.items()}
    model = build_vivit(config, clip_shape=clip.shape, heads=heads)
    options = dataclasses.replace(config.init, restore_head=width == sum(heads.values()))
    report = start_model(model, checkpoint, config, clip.shape, classes, options)

    card = serving.ModelCard(
        classes={head: list(names) for head, names in classes.items()},
        views=(views.temporal, views.spatial),
        ingest=dict(ingest),
        config={
            "converted_from": name or source,
            "model": dataclasses.asdict(config),
            "clip": dataclasses.asdict(clip),
        },
    )
    served = ServedModel(model, clip=clip, views=views, classes=classes)
    served.save(os.path.join(output, _VERSION), card, serving.ExpectedLogits({}, {}), config)
    return report


def read_class_names(path: str, heads: Sequence[str]) -> dict[str, list[str]]:
    """Class names of a text file: one a line, in the order of the logits; ``head<TAB>name`` with several heads.

    Raises:
      ValueError: If a line or a head is missing.
    """
    with tf.io.gfile.GFile(path) as file:
        lines = [line.rstrip("\r\n") for line in file if line.strip()]
    if len(heads) == 1:
        return {heads[0]: lines}
    names: dict[str, list[str]] = {head: [] for head in heads}
    for number, line in enumerate(lines, start=1):
        head, tab, name = line.partition("\t")
        if not tab or head not in names:
            raise ValueError(f"{path}, line {number}: wanted <head><TAB><class> with head one of {', '.join(heads)}")
        names[head].append(name)
    empty = [head for head, found in names.items() if not found]
    if empty:
        raise ValueError(f"{path}: no class of head {', '.join(empty)}")
    return names
