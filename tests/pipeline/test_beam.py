"""Beam arguments: this machine's by default, and Beam's own options unchanged."""

import argparse
import re
from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions

from pipeline.beam import ingest_args, step_args
from pipeline.settings import ConfigError

DOCUMENTED = re.findall(r"--beam ([^\s`]+)", (Path(__file__).parents[2] / "docs" / "scale.md").read_text())


def test_steps_run_on_this_machine_unless_another_runner_is_named():
    assert PipelineOptions(step_args()).view_as(StandardOptions).runner == "FnApiRunner"
    assert step_args(["runner=FlinkRunner", "flink_master=host:8081"]) == [
        "--runner=FlinkRunner",
        "--flink_master=host:8081",
    ]


def test_ingest_has_a_thread_per_decoder_unless_another_number_is_named():
    for settings, workers in (((), 3), (("direct_num_workers=5",), 5)):
        options = PipelineOptions(ingest_args(3, settings)).view_as(DirectOptions)
        assert (options.direct_running_mode, options.direct_num_workers) == ("multi_threading", workers)


@pytest.mark.parametrize("setting", ["--runner=FlinkRunner", "=x", "run ner=x", ""])
def test_what_is_no_option_is_refused(setting):
    with pytest.raises(ConfigError, match=r"wanted KEY=VALUE or KEY, e.g. --beam runner=FlinkRunner"):
        step_args([setting])


def test_beam_knows_every_option_that_the_documentation_names():
    settings = [setting for setting in DOCUMENTED if re.match(r"[a-z_]+=", setting)]
    assert {"runner=DataflowRunner", "runner=FlinkRunner", "runner=SparkRunner"} <= set(settings)
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for options in PipelineOptions.__subclasses__():
        options._add_argparse_args(parser)
    _, unknown = parser.parse_known_args(step_args(settings))
    assert not unknown
