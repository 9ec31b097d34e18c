"""Which model a candidate is compared with: the latest blessed one that is not the candidate itself."""

import pytest
from ml_metadata.proto import metadata_store_pb2
from tfx.types import standard_artifacts

from components.gates import baseline
from components.gates.baseline import PreviousBlessedModelStrategy


def model(number):
    artifact = standard_artifacts.Model()
    artifact.set_mlmd_artifact(metadata_store_pb2.Artifact(id=number, uri=f"/model/{number}"))
    return artifact


def blessing(number, *, of, blessed):
    artifact = standard_artifacts.ModelBlessing()
    artifact.set_mlmd_artifact(metadata_store_pb2.Artifact(id=number, uri=f"/blessing/{number}"))
    artifact.set_int_custom_property("current_model_id", of)
    artifact.set_int_custom_property("blessed", int(blessed))
    return artifact


@pytest.mark.parametrize(
    ("evaluated", "candidate", "resolved"),
    [
        ([], 1, []),
        ([(1, True)], 2, [1]),
        ([(1, True), (2, True)], 3, [2]),
        ([(1, True), (2, False)], 3, [1]),
        ([(1, False), (2, False)], 3, []),
        # A cached Trainer: the candidate was blessed by a run before.
        ([(1, True)], 1, []),
        ([(1, True), (2, True)], 2, [1]),
        ([(1, True), (2, True)], 1, [2]),
    ],
    ids=[
        "the first run",
        "the second run",
        "the latest",
        "the latest blessed",
        "none is blessed",
        "only the candidate is blessed",
        "the one before a cached candidate",
        "a candidate older than the latest",
    ],
)
def test_the_baseline_is_the_latest_blessed_model_but_the_candidate(evaluated, candidate, resolved):
    models = [model(number) for number in sorted({candidate, *(number for number, _ in evaluated)})]
    blessings = [blessing(10 + number, of=number, blessed=blessed) for number, blessed in evaluated]
    found = PreviousBlessedModelStrategy().resolve_artifacts(
        None,
        {
            baseline.MODEL_KEY: models,
            baseline.BLESSING_KEY: blessings,
            baseline.CANDIDATE_KEY: [model(candidate)],
        },
    )
    assert [artifact.id for artifact in found[baseline.MODEL_KEY]] == resolved
    assert [artifact.id for artifact in found[baseline.BLESSING_KEY]] == [10 + number for number in resolved]
    assert [artifact.id for artifact in found[baseline.CANDIDATE_KEY]] == [candidate]
