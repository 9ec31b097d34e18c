"""Production finds what a candidate is compared with; and when it looks again, in runs of a pipeline with a cache."""

import json
import shutil

import pytest
from tfx.dsl.components.common.importer import Importer
from tfx.orchestration import metadata
from tfx.orchestration.pipeline import Pipeline
from tfx.types import standard_artifacts
from tfx.utils import import_utils

from components.gates.production import Production, ProductionModel, read_production
from components.registry.approval import approve, rollback, submit
from components.registry.candidates import write_candidate
from components.registry.versions import content_digest
from pipeline.local.runner import run_pipeline
from tests.components.registry.runs import candidate, compared_with, put, refused, write_model


class Run:
    """A workdir, and runs of a pipeline in it: a model that was trained, and what it is compared with."""

    def __init__(self, workdir):
        self.workdir, self.versions = workdir, str(workdir / "pushed")

    def train(self, name):
        """The artifact of a model, as a Trainer leaves it."""
        uri = self.workdir / "trained" / name
        if not uri.exists():
            write_model(uri / "Format-Serving", name.encode())
        return uri

    def record(self, name, version=""):
        """The record of a candidate that was compared with a version."""
        record = compared_with(candidate(self.train(name) / "Format-Serving"), version)
        write_candidate(str(self.workdir), record)
        return record

    def push(self, name):
        return put(self.workdir, self.record(name))

    def find(self, name):
        """Runs the pipeline with a model: what it is compared with, and whether that came from the cache."""
        model = Importer(str(self.train(name)), standard_artifacts.Model).with_id("Trainer")
        nodes = [model, Production(model=model.outputs["result"], pushed=self.versions)]
        pipeline = Pipeline(
            pipeline_name="production",
            pipeline_root=str(self.workdir / "pipeline"),
            components=nodes,
            enable_cache=True,
            metadata_connection_config=metadata.sqlite_metadata_connection_config(str(self.workdir / "metadata.db")),
        )
        result = run_pipeline(pipeline, echo=lambda line: None)["Production"]
        found = read_production(result.outputs["production"][0].uri)
        return found and found.version, result.cached


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path)


def test_an_unchanged_run_comes_from_the_cache_though_its_candidate_was_pushed_meanwhile(run):
    assert run.find("a") == (None, False)
    first = run.push("a")
    assert run.find("a") == (None, True)
    assert run.find("b") == (first, False)
    run.push("b")
    assert run.find("b") == (first, True)


def test_a_candidate_that_was_refused_is_compared_with_the_same_again_and_the_next_one_too(run):
    first = run.push("a")
    assert run.find("b") == (first, False)
    assert not submit(str(run.workdir), refused(run.record("b", first)), model_card="").version
    assert run.find("b") == (first, True)
    assert run.find("c") == (first, False)


def test_a_candidate_that_was_approved_later_comes_from_the_cache(run):
    first = run.push("a")
    assert run.find("b") == (first, False)
    approve(str(run.workdir), run.record("b", first).id, who="ann", why="good")
    assert run.find("b") == (first, True)


def test_after_a_rollback_it_looks_again(run):
    first = run.push("a")
    assert run.find("b") == (first, False)
    run.push("b")
    third = rollback(str(run.workdir), who="ann", why="it is slow").version
    assert run.find("b") == (third, False)
    assert run.find("c") == (third, False)


def test_after_a_push_by_somebody_else_it_looks_again(run):
    first = run.push("a")
    assert run.find("b") == (first, False)
    write_model(run.workdir / "pushed" / "3000000000", b"by hand")
    assert run.find("b") == ("3000000000", False)
    shutil.rmtree(run.workdir / "pushed" / "3000000000")
    assert run.find("b") == (first, True)


def test_a_candidate_of_an_earlier_run_is_compared_with_what_came_after_it(run):
    assert run.find("a") == (None, False)
    run.push("a")
    run.find("b")
    second = run.push("b")
    assert run.find("a") == (second, False)


def test_it_finds_what_is_served_with_its_content(run, tmp_path):
    first = run.push("a")
    # As on Kubeflow, which runs no driver.
    model, found = standard_artifacts.Model(), ProductionModel()
    model.uri, found.uri = str(run.train("b")), str(tmp_path / "found")
    component = Production(model=Importer(model.uri, standard_artifacts.Model).outputs["result"], pushed=run.versions)
    executor = component.executor_spec.executor_class()
    executor.Do({"model": [model]}, {"production": [found]}, dict(component.exec_properties))
    path = f"{run.versions}/{first}"
    wanted = {"version": first, "path": path, "digest": content_digest(path)}
    assert json.loads((tmp_path / "found" / "production.json").read_text()) == wanted


def test_kubeflow_finds_the_type_of_its_artifact():
    assert import_utils.import_class_by_path(ProductionModel.TYPE_NAME) is ProductionModel
