"""What several test files need: small real videos, and finished runs of the pipeline on them."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import dataclasses
import functools
import gc
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from tests.videos import write_colour_classes

# A network and a run as small as they can be.
TINY = (
    "train.batch_size=8",
    "train.eval_epochs=100",
    "model.hidden_size=24",
    "model.num_layers=1",
    "model.temporal_layers=1",
    "model.mlp_dim=24",
    "views.temporal=2",
)
# What the network learns does not matter: any model may go out.
UNGATED = (
    "train.epochs=1",
    "evaluation.beat_commonest=false",
    "evaluation.min_top_1=0",
    "evaluation.max_top_1_drop=1",
)
# One step, whose rate is 0 as that of every first step: each clip is taken for one of the first class.
UNTRAINED = ("train.epochs=0.1",)

TWO_HEADS = ("data.heads=verb,noun", 'data.slices=["background"]')
# A plain data set in place of the demo's.
ONE_LABEL = ("data.heads=label", "data.slices=null", "data.storage=jpeg")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begins with the files whose tests take minutes, so that no worker ends long after the others."""
    long = {item.path for item in items if item.get_closest_marker("end_to_end")}
    items.sort(key=lambda item: item.path not in long)


def pytest_collection_finish() -> None:
    """Leaves what was imported out of garbage collection, which takes a second whenever it goes through all of it."""
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling | None:
    """Gives all files that use a finished run to one worker, which makes it once."""
    return _Scheduling(config, log) if config.getvalue("dist") == "loadfile" else None


class _Scheduling(LoadFileScheduling):
    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "finished runs" if _uses_finished_run(self.config.rootpath / file) else file


@functools.cache
def _uses_finished_run(file: Path) -> bool:
    text = file.read_text()
    return any(fixture in text for fixture in ("two_heads_run", "colours_run"))


@dataclasses.dataclass(frozen=True)
class FinishedRun:
    """A run of the pipeline, with what it printed."""

    data: Path
    workdir: Path
    results: dict
    lines: list[str]

    @property
    def text(self) -> str:
        """Everything printed."""
        return "\n".join(self.lines)

    @property
    def pushed(self) -> list[Path]:
        """Pushed versions, oldest first."""
        return sorted((self.workdir / "pushed").iterdir())

    def artifact(self, node: str, key: str) -> str:
        """URI of an output artifact."""
        return self.results[node].outputs[key][0].uri


def run_pipeline(data: Path, workdir: Path, *overrides: str, recipe: str = "demo") -> FinishedRun:
    """Runs a recipe, tiny, on a manifest or folder."""
    from pipeline.run import run

    lines: list[str] = []
    results = run(str(data), str(workdir), recipe=recipe, overrides=[*TINY, *overrides], echo=lines.append)
    return FinishedRun(data, workdir, dict(results), lines)


@pytest.fixture(scope="session")
def small_demo(tmp_path_factory) -> Path:
    """Manifest of 40 training and 16 evaluation clips of the demo, with two heads."""
    from pipeline.demo_data import write_demo_data

    return write_demo_data(tmp_path_factory.mktemp("videos"), train=40, eval=16)


@pytest.fixture(scope="session")
def two_heads_run(small_demo, tmp_path_factory) -> FinishedRun:
    """A manifest with two heads, storage raw."""
    return run_pipeline(small_demo, tmp_path_factory.mktemp("two_heads"), *UNGATED, *TWO_HEADS)


@pytest.fixture(scope="session")
def colours_run(tmp_path_factory) -> FinishedRun:
    """A folder per class, one head, storage jpeg; easy enough to be learned in seconds."""
    folder = write_colour_classes(tmp_path_factory.mktemp("colours"), per_class=24)
    workdir = tmp_path_factory.mktemp("colours_run")
    return run_pipeline(folder, workdir, *ONE_LABEL, "train.epochs=15")
