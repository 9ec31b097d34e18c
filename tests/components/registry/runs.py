"""Workdirs with candidates and versions: SavedModels in miniature, and their records."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from components.evaluation.assessment import Assessment, Comparison, Figure, Group, Scored
from components.evaluation.statistics import Interval
from components.registry.candidates import candidate_id, write_candidate
from components.registry.push import alone, push
from components.registry.records import Canary, Candidate, Data, Training
from components.registry.versions import content_digest
from schemas.serving import ModelCard


def write_model(folder: Path, weights: bytes, classes: tuple[str, ...] = ("jump", "run")) -> Path:
    """The files of a SavedModel, whose weights are any bytes."""
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph")
    (folder / "variables" / "variables.data").write_bytes(weights)
    ModelCard({"label": list(classes)}, (4, 3), {}, {}).write(str(folder))
    return folder


def write_candidates(workdir: Path, *weights: str) -> list[Candidate]:
    """A candidate for each of some weights, blessed, and evaluated in this order when nothing was in production."""
    made = []
    for number, content in enumerate(weights):
        model = write_model(workdir / "models" / content, content.encode())
        made.append(candidate(model, made=f"2026-01-01T00:00:{number:02}+00:00"))
        write_candidate(str(workdir), made[-1])
    return made


def candidate(model: Path, **changes) -> Candidate:
    """The record of a blessed candidate."""
    digest = content_digest(str(model))
    record = Candidate(
        id=candidate_id(digest),
        made="2026-01-01T00:00:00+00:00",
        label="night run",
        model_uri=str(model),
        digest=digest,
        data=Data("videos.csv", "ab" * 32, {"train": 400, "eval": 100}, {"label": 2}, {"open: it is no video": 3}),
        training=Training(
            recipe="small",
            changes={"train.epochs": ("30", "5")},
            config={"train": {"epochs": 5, "lr": 0.1}, "views": [4, 3]},
            seconds=61.4,
            steps=500,
            devices=("1 x CPU",),
            versions={"vivit-tfx": "0.1.0", "tensorflow": "2.16.2"},
        ),
        canary=Canary(True, "8 clips through 4 signatures"),
        assessment=assessment(),
    )
    return dataclasses.replace(record, **changes)


def assessment(top_1: float = 0.8, **changes) -> Assessment:
    """What the gate found about a blessed candidate, of one head."""
    figures = (
        Figure("top_1", Interval(top_1, top_1 - 0.1, top_1 + 0.1), Interval(0.7, 0.6, 0.8), Interval(0.1, -0.1, 0.2)),
        Figure("ece", None),
    )
    worse = Group("label", "run", 60, 50, Figure("top_1", Interval(0.5, 0.4, 0.6), None, Interval(-0.3, -0.5, -0.1)))
    scored = Scored(
        name="label",
        clips=100,
        sources=80,
        classes=2,
        commonest="run",
        commonest_share=0.6,
        figures=figures,
        comparison=Comparison(100, "no measurable change", 8, 5, 0.58, 900),
        groups=(dataclasses.replace(worse, adjusted=0.01, significant="worse"),),
        passed=True,
    )
    found = Assessment(True, "It is as good as production.", (), ("a class came: jump",), "eval", (4, 3), "", (scored,))
    return dataclasses.replace(found, **changes)


def refused(record: Candidate) -> Candidate:
    """The same candidate, refused by the gate."""
    gate = assessment(0.067, blessed=False, reasons=("label: top-1 0.067 is not above 0.600", "train longer"))
    return dataclasses.replace(record, assessment=gate)


def compared_with(record: Candidate, version: str) -> Candidate:
    """The same candidate, compared with a version."""
    return dataclasses.replace(record, assessment=dataclasses.replace(record.assessment, production=version))


def put(workdir: Path, record: Candidate) -> str:
    """Pushes a candidate as the pipeline does, without a gate; returns its version."""
    pushed = str(workdir / "pushed")
    with alone(pushed):
        return push(record, pushed).version
