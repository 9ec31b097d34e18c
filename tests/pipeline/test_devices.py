"""A run whose device is not there says so before it looks at the data."""

import pytest

from pipeline.run import run
from pipeline.settings import ConfigError


def test_a_device_that_is_not_there_is_said_before_the_data_is_read(tmp_path, monkeypatch):
    monkeypatch.delenv("TPU_NAME", raising=False)
    with pytest.raises(ConfigError, match=r"^train.strategy: strategy 'tpu': no TPU can be reached"):
        run("no-such-manifest.csv", str(tmp_path / "run"), recipe="demo", overrides=["train.strategy=tpu"])
    assert not list(tmp_path.iterdir())
