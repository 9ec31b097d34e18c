"""QuarantineGate's executor behind VideoExampleGen's, on real files: what may be lost, and what stops the run."""

import pytest
from tfx.types import channel_utils, standard_artifacts

from components.gates.quarantine_gate import QuarantineGate
from components.ingest.config import PolicyConfig
from components.ingest.example_gen import Quarantine
from components.ingest.quarantine import TooManyBadVideosError
from tests.components.ingest.running import ingest, write_manifest

ROWS = [
    ("a.mp4", "", "", "run", "train", ""),
    ("b.mp4", "", "", "run", "eval", ""),
    ("c.mp4", "", "", "jump", "train", ""),
    ("d.mp4", "", "", "jump", "eval", ""),
    ("torn.mp4", "", "", "jump", "train", ""),
]


@pytest.fixture(scope="module")
def ingested(tmp_path_factory):
    """A folder with one video of five in quarantine, and its manifest."""
    folder = tmp_path_factory.mktemp("ingested")
    _, prepared = write_manifest(folder, ROWS, ["torn.mp4"])
    ingest(folder, prepared)
    return folder, prepared


def decide(ingested, tmp_path, allowed):
    folder, prepared = ingested
    quarantine, verdict = Quarantine(), standard_artifacts.String()
    quarantine.uri, verdict.uri = str(folder / "quarantine"), str(tmp_path / "verdict")
    channel = channel_utils.as_channel([quarantine])
    component = QuarantineGate(quarantine=channel, manifest_dir=prepared, policy=PolicyConfig(allowed))
    executor = component.executor_spec.executor_class()
    executor.Do({"quarantine": [quarantine]}, {"verdict": [verdict]}, dict(component.exec_properties))
    return verdict.read()


def test_a_run_goes_on_without_what_it_may_lose(ingested, tmp_path):
    assert decide(ingested, tmp_path, 0.2) == "1 of 5 clips are in quarantine"


def test_a_run_stops_when_too_much_is_lost_and_names_the_quarantine(ingested, tmp_path):
    with pytest.raises(TooManyBadVideosError) as caught:
        decide(ingested, tmp_path, 0.1)
    first, lost, kept, again = str(caught.value).splitlines()
    assert first == "1 of 5 clips cannot be decoded (20.0%; ingest.max_bad_fraction allows 10.0%):"
    assert lost.strip() == f"{ingested[0]}/torn.mp4: cannot open it: it is no video, or its header or index is lost"
    assert kept == f"  all of them: {ingested[0]}/quarantine"
    assert again == f"  to decode them again as they are, remove {ingested[0]}/quarantine"
