"""models.training.steps with the published recipes: the whole step of each one compiles for an accelerator."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from models.checkpoints.pretrained import build_model
from models.clips import input_pipeline
from models.training.optimizers import ScheduleConfig, build_optimizer
from models.training.steps import train_step
from pipeline import recipes
from pipeline.recipe import load_recipe
from tests.processes import assert_compiles


def reduced(recipe):
    """A published recipe with a network and clips as small as its structure allows, in bfloat16."""
    config = load_recipe(recipe).weights_config(("verb",))
    frames, height, width = config.model.tubelet
    # Stochastic depth grows from layer to layer, from 0 on.
    layers = 2 if config.model.stochastic_depth else 1
    small = {"hidden_size": 24, "num_heads": 4, "num_layers": layers, "mlp_dim": 32, "dtype": "bfloat16"}
    if config.model.temporal_layers:
        small |= {"temporal_layers": 1, "temporal_num_heads": None, "temporal_mlp_dim": None}
    return dataclasses.replace(
        config,
        clip=dataclasses.replace(
            config.clip, num_frames=2 * frames, stride=1, min_resize=height * 2 + height // 2, crop_size=height * 2
        ),
        model=dataclasses.replace(config.model, **small),
    )


def that_differ():
    """A recipe of each reduced step; rates and classes make no other graph."""
    found = {}
    for recipe in recipes.names():
        config = reduced(recipe)
        optimizer = dataclasses.replace(config.train.optimizer, schedule=ScheduleConfig())
        found.setdefault(repr((config.clip, config.augment, config.model, optimizer)), recipe)
    return list(found.values())


@tf.autograph.experimental.do_not_convert
def compile_step(recipe, clips):
    """Compiles the step of a recipe, and takes it."""
    config = reduced(recipe)
    source = input_pipeline.transformed_source([str(path) for path in clips.glob("*.gz")], ("verb",), "raw")
    model = build_model(config.model, clip_shape=config.clip.shape, classes={"verb": ["a", "b", "c"]})
    optimizer = build_optimizer(config.train.optimizer, 100)
    optimizer.build(model.trainable_variables)
    step = train_step(
        model,
        optimizer,
        config.augment,
        clipping=config.train.optimizer,
        label_smoothing=config.train.label_smoothing,
        accumulate_steps=2,
        remat="blocks",
    )
    batches = input_pipeline.train_dataset(source, clip=config.clip, augmentation=config.augment, batch_size=4, seed=0)
    batch = next(iter(batches.map(lambda batch: {name: batch[name] for name in ("clip", "draws", "labels")})))
    metrics = tf.function(step, jit_compile=True, autograph=False)(batch)
    assert np.isfinite(metrics["loss"].numpy())
    assert metrics["gradient_norm"].numpy() > 0


@pytest.mark.parametrize("recipe", that_differ())
def test_the_whole_step_of_every_recipe_compiles_for_an_accelerator_with_all_that_saves_memory(recipe, clips, tmp_path):
    assert_compiles(compile_step, recipe, clips, log=tmp_path / "log")
