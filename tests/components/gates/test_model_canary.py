"""The canary's process: its verdict is recorded; a hang or a crash refuses the model and leaves nothing running."""

import os
import select
from pathlib import Path

import pytest
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import path_utils

from components.gates.model_canary import DETAIL_PROPERTY, ModelCanaryExecutor

TIMEOUT_S = 600


@pytest.fixture
def artifacts(tmp_path):
    """A model without anything in it, examples without a file, and a blessing to be."""
    model, examples, blessing = (
        standard_artifacts.Model(),
        standard_artifacts.Examples(),
        standard_artifacts.InfraBlessing(),
    )
    for artifact, name in ((model, "model"), (examples, "examples"), (blessing, "blessing")):
        artifact.uri = str(tmp_path / name)
    examples.split_names = artifact_utils.encode_split_names(["eval"])
    (tmp_path / "examples" / "Split-eval").mkdir(parents=True)
    Path(path_utils.serving_model_path(model.uri), "assets.extra").mkdir(parents=True)
    return model, examples, blessing


def refusal(artifacts, timeout_s):
    """Why the canary does not bless the model."""
    model, examples, blessing = artifacts
    ModelCanaryExecutor().Do(
        {"model": [model], "examples": [examples]},
        {"blessing": [blessing]},
        {"split": "eval", "timeout_s": timeout_s},
    )
    detail = blessing.get_string_custom_property(DETAIL_PROPERTY)
    assert os.listdir(blessing.uri) == ["INFRA_NOT_BLESSED"]
    assert Path(blessing.uri, "INFRA_NOT_BLESSED").read_text() == detail
    assert blessing.get_int_custom_property("blessed") == 0
    return detail


def at_start_of_python(monkeypatch, folder, code):
    """Runs code at the start of every Python process that this one starts."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(folder))


def test_a_model_that_hangs_is_refused_in_time_and_nothing_of_it_is_left(artifacts, tmp_path, monkeypatch):
    # Reading a pipe that nobody writes to never ends.
    os.mkfifo(Path(path_utils.serving_model_path(artifacts[0].uri), "assets.extra", "vivit.json"))
    os.mkfifo(tmp_path / "held")
    held = os.open(tmp_path / "held", os.O_RDONLY | os.O_NONBLOCK)
    child = f"import subprocess; subprocess.Popen(['sleep', '1000'], stdout=open({str(tmp_path / 'held')!r}, 'w'))"
    at_start_of_python(monkeypatch, tmp_path / "start", child)
    assert refusal(artifacts, timeout_s=5) == "the serving process was ended after 5 s: it neither served nor failed"
    # A pipe is at its end once the last process that writes to it has ended.
    ended, _, _ = select.select([held], [], [], 60)
    assert ended
    assert os.read(held, 1) == b""
    os.close(held)


def test_a_process_that_crashes_refuses_the_model_with_its_last_words(artifacts, tmp_path, monkeypatch):
    at_start_of_python(monkeypatch, tmp_path / "start", "import os; os.write(2, b'out of memory'); os.abort()")
    assert refusal(artifacts, TIMEOUT_S) == "the serving process ended with status -6: out of memory"


def test_a_model_that_does_not_load_is_refused_in_words(artifacts):
    assert "holds no model of this pipeline: assets.extra/vivit.json is missing" in refusal(artifacts, TIMEOUT_S)
