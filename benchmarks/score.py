"""Speed of scoring a SavedModel's clips, as a share of the rate of its network alone."""

from __future__ import annotations

import dataclasses
import statistics
import time
from pathlib import Path

import numpy as np
import tensorflow as tf

from benchmarks.input import natural_noise
from components.evaluation.scoring import fitting_views, score_split, scored_model
from models.checkpoints.pretrained import build_model
from models.serving.export import ServedModel
from pipeline.recipe import Recipe, heads_of
from schemas import features, serving
from schemas.predictions import CANDIDATE


@dataclasses.dataclass(frozen=True)
class ScoreRates:
    """Result of `bench_score`.

    Attributes:
      clips: Clips of each turn.
      views: Views of a clip that go through the network, the centre view included.
      scoring: Views per second of `score_split`: load the model, read, decode, cut, score, write; median of the turns.
      network: The same of the SavedModel's network on one batch that stays in place.
      share: Median over the turns of scoring / network.
    """

    clips: int
    views: int
    scoring: float
    network: float
    share: float


def bench_score(recipe: Recipe, folder: Path, *, clips: int, rounds: int = 3) -> ScoreRates:
    """Scores a recipe's network, and runs it bare on as many views, in turns.

    Args:
      recipe: Gives network, clip, views and the stored frames' size.
      folder: Where model and clips are written.
      clips: Clips of each turn.
      rounds: Turns, after one for warm-up.
    """
    model = scored_model(write_model(recipe, str(folder / "model")), "bench")
    shard = _write_clips(recipe, str(folder / "clips.gz"), clips)
    network = tf.saved_model.load(model.uri).signatures[serving.NETWORK_SIGNATURE]
    views = recipe.views.count + 1
    batch = tf.random.stateless_uniform(
        [fitting_views([*recipe.clip.shape, 3]), *recipe.clip.shape, 3], (0, 0), 0, 256, tf.int32
    )
    batch = tf.cast(batch, tf.uint8)

    def score(turn: int) -> None:
        output, kept = str(folder / f"table{turn}"), str(folder / f"kept{turn}")
        score_split(
            {CANDIDATE: model}, [shard], split="eval", paths={}, kept=kept, output=output, batch_views=len(batch)
        )

    def run_bare() -> None:
        for start in range(0, clips * views, len(batch)):
            # The last batch is as short as scoring's.
            logits = network(**{serving.CLIPS: batch[: clips * views - start]})
            _ = [value.numpy() for value in logits.values()]

    turns = [(_seconds(score, turn), _seconds(run_bare)) for turn in range(rounds + 1)][1:]
    return ScoreRates(
        clips=clips,
        views=views,
        scoring=clips * views / statistics.median(ours for ours, _ in turns),
        network=clips * views / statistics.median(bare for _, bare in turns),
        share=statistics.median(bare / ours for ours, bare in turns),
    )


def _seconds(function, *arguments) -> float:
    started = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - started


def write_model(recipe: Recipe, folder: str) -> str:
    """Writes a SavedModel of a recipe's network with random weights; returns its folder."""
    heads = heads_of(recipe)
    sizes = recipe.data.num_classes or [10] * len(heads)
    classes = {head: [f"class {number}" for number in range(size)] for head, size in zip(heads, sizes, strict=True)}
    network = build_model(recipe.model, clip_shape=recipe.clip.shape, classes=classes)
    served = ServedModel(network, clip=recipe.clip, views=recipe.views, classes=classes)
    views, clip = (recipe.views.temporal, recipe.views.spatial), dataclasses.asdict(recipe.clip)
    card = serving.ModelCard(classes, views, dataclasses.asdict(recipe.ingest), config={"clip": clip})
    served.save(folder, card, serving.ExpectedLogits({}, {}))
    return folder


def _write_clips(recipe: Recipe, path: str, count: int) -> str:
    """Raw examples of moving noise, ten seconds each, as ingest stores them."""
    rng, side = np.random.default_rng(0), recipe.ingest.short_side
    size, frames = (side, side * 4 // 3), round(10 * recipe.ingest.fps)
    with tf.io.TFRecordWriter(path, features.COMPRESSION) as writer:
        for number in range(count):
            image = natural_noise(rng, size)
            example = features.raw_example(
                clip_id=f"clip{number}",
                group=f"clip{number}",
                frames=[tf.io.encode_jpeg(np.roll(image, 2 * t, axis=1), quality=90).numpy() for t in range(frames)],
                size=size,
                fps=recipe.ingest.fps,
                start=0.0,
                duration=10.0,
                labels={head: ["class 0"] for head in heads_of(recipe)},
                slices={},
            )
            writer.write(example.SerializeToString())
    return path
