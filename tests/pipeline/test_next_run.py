"""A finished run starts the next one: its weights are found, read, and trained further."""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import tensorflow as tf

from components.registry.candidates import candidates
from models.checkpoints.own import WEIGHTS
from models.checkpoints.pretrained import build_model
from pipeline.data import prepare
from pipeline.local.workdir import places
from pipeline.plan.plan import plan_run, plan_text
from pipeline.recipe import describe, load_recipe
from pipeline.run import run_nodes
from pipeline.training.job import read_job
from schemas import serving
from tests import processes
from tests.conftest import ONE_LABEL, TINY

pytestmark = pytest.mark.end_to_end


def prepared(run, init_from, *overrides):
    """The recipe of a next run in the same workdir, its data, and its plan."""
    recipe = load_recipe("demo", [*TINY, *ONE_LABEL, f"model.init_from={init_from}", *overrides])
    data, manifest = prepare(str(run.data), str(run.workdir), recipe)
    return recipe, data, plan_text(plan_run(manifest, recipe, data.first_weights.words))


def test_each_way_to_name_a_run_gives_exactly_the_weights_that_it_trained(colours_run):
    version = colours_run.pushed[-1]
    last = candidates(str(colours_run.workdir))[-1]
    for init_from, model, words in (
        ("production", str(version), f"starts from version {version.name} of this workdir, which is in production"),
        (version, str(version), f"starts from the model {version}"),
        (colours_run.workdir, last.model_uri, f"starts from candidate {last.id} of"),
    ):
        recipe, data, plan = prepared(colours_run, init_from)
        assert words in " ".join(plan.split())
        assert data.first_weights.path == f"{model}/{WEIGHTS}"
        started = recipe.starting_from(data.first_weights.path)
        classes = serving.ModelCard.read(model).classes
        network = build_model(started.model, clip_shape=recipe.clip.shape, classes=classes)
        assert serving.weights_of(network.weights) == serving.ExpectedLogits.read(model).weights


def test_the_trainer_starts_from_production_and_trains_once(colours_run, caplog):
    recipe, data, _ = prepared(colours_run, "production", "train.epochs=0.1")
    info = describe("demo", recipe, source=str(colours_run.data))
    with caplog.at_level(logging.INFO, logger="vivit.train"):
        first = run_nodes(recipe, data, places(str(colours_run.workdir)), lambda line: None, info, last="Trainer")
    assert {node for node, result in first.items() if not result.cached} == {"Trainer"}
    assert f"weights of {colours_run.pushed[-1] / WEIGHTS}: loaded " in caplog.text
    assert "initialised 0\nmissing 0\nunexpected 0" in caplog.text
    again = run_nodes(recipe, data, places(str(colours_run.workdir)), lambda line: None, info, last="Trainer")
    assert all(result.cached for result in again.values())


def test_the_trainer_waits_for_another_machine_and_goes_on_with_its_weights(colours_run, caplog, tmp_path):
    changes = ("train.elsewhere=true", "train.epochs=1", "train.seed=5")
    recipe, data, _ = prepared(colours_run, "null", *changes)
    info = describe("demo", recipe, source=str(colours_run.data))

    log, started = tmp_path / "there.log", []

    def train_there():
        while "waiting for the training: run `vivit train --workdir " not in caplog.text:
            time.sleep(0.1)
        command = (processes.run_module, "pipeline.cli", "train", "--workdir", str(colours_run.workdir))
        started.append(processes.start(*command, log=log))

    with caplog.at_level(logging.INFO, logger="vivit.train"), ThreadPoolExecutor() as threads:
        threads.submit(train_there)
        here = run_nodes(recipe, data, places(str(colours_run.workdir)), lambda line: None, info, last="Trainer")
    assert [processes.wait(process) for process in started] == [0], log.read_text()
    assert log.read_text().endswith("Trained; the pipeline goes on from here.\n")
    outputs = here["Trainer"].outputs
    assert list(Path(outputs["model_run"][0].uri).glob("events*"))
    finished = tf.train.load_checkpoint(f"{read_job(str(colours_run.workdir / 'checkpoints')).checkpoints}/finished")
    names = [name for name in finished.get_variable_to_shape_map() if name.startswith("model/")]
    trained = serving.weights_of(tf.constant(finished.get_tensor(name)) for name in names)
    assert serving.ExpectedLogits.read(f"{outputs['model'][0].uri}/Format-Serving").weights == trained
