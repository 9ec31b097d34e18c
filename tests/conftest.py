"""What several test files need: small real videos and one finished run of the pipeline."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import dataclasses
from pathlib import Path

import pytest

# A network and a run as small as they can be: what they learn does not matter.
TINY = (
    "train.epochs=2",
    "train.batch_size=8",
    "model.hidden_size=24",
    "model.num_layers=1",
    "model.temporal_layers=1",
    "model.mlp_dim=24",
    "evaluation.min_top_1=0",
    "evaluation.max_top_1_drop=1",
    "views.temporal=2",
)


@dataclasses.dataclass(frozen=True)
class FinishedRun:
    """A run of the pipeline, with what it printed."""

    manifest: Path
    workdir: Path
    results: dict
    lines: list[str]

    @property
    def pushed(self) -> list[Path]:
        """Pushed versions, oldest first."""
        return sorted((self.workdir / "pushed").iterdir()) if (self.workdir / "pushed").exists() else []


@pytest.fixture(scope="session")
def small_demo(tmp_path_factory) -> Path:
    """Manifest of 40 training and 16 evaluation clips of the demo."""
    from pipeline.demo_data import write_demo_data

    return write_demo_data(tmp_path_factory.mktemp("videos"), train=40, eval=16)


def run_pipeline(manifest: Path, workdir: Path, *overrides: str, recipe: str = "demo") -> FinishedRun:
    """Runs a recipe, tiny, on a manifest."""
    from pipeline.run import run

    lines: list[str] = []
    results = run(str(manifest), str(workdir), recipe=recipe, overrides=[*TINY, *overrides], say=lines.append)
    return FinishedRun(manifest, workdir, dict(results), lines)


@pytest.fixture(scope="session")
def finished_run(small_demo, tmp_path_factory) -> FinishedRun:
    """One run of the demo's recipe, tiny: single head, storage raw."""
    return run_pipeline(small_demo, tmp_path_factory.mktemp("run"))
