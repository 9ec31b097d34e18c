"""The checks before a run on Beam's workers, against Beam's own job server and worker pools."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipeline.cli import main
from pipeline.doctor.checks import check
from pipeline.settings import ConfigError
from tests.servers import http_server, job_server, worker_pool

ROOT = Path(__file__).parents[3]


def found(beam=(), workdir=None, **how):
    """What each check says: (whether all is well, words)."""
    return {finding.what: (finding.ok, finding.words) for finding in check(beam, workdir, **how)}


def pool(jobs, workers):
    return [
        "runner=PortableRunner",
        f"job_endpoint={jobs}",
        "environment_type=EXTERNAL",
        f"environment_config={workers}",
    ]


def test_a_workdir_of_this_machine_is_all_that_a_run_here_needs(tmp_path, capfd):
    assert main(["doctor", "--workdir", str(tmp_path)]) == 0
    shown = capfd.readouterr().out
    assert f"ok       workdir: {tmp_path} can be written" in shown
    assert "Nothing is missing." in shown
    assert not list(tmp_path.glob("vivit-doctor*"))


@pytest.mark.end_to_end
def test_a_worker_with_the_same_code_is_well_and_one_with_other_code_is_named(tmp_path):
    older = tmp_path / "older"
    for package in ("schemas", "components", "models", "pipeline"):
        shutil.copytree(ROOT / package, older / package, ignore=shutil.ignore_patterns("__pycache__"))
    with (older / "components" / "ingest" / "example_gen.py").open("a") as file:
        file.write("\nOLDER = True\n")
    with job_server() as jobs:
        with worker_pool(tmp_path) as workers:
            seen = found(pool(jobs, workers), str(tmp_path))
            assert seen["job server"] == (True, f"{jobs} answers, and knows 0 jobs")
            assert seen["worker pool"] == (True, f"{workers} listens")
            assert seen["worker"] == (True, "starts, has this machine's code and libraries, and writes to the workdir")
        with worker_pool(tmp_path, PYTHONPATH=str(older)) as workers:
            ok, words = found(pool(jobs, workers), str(tmp_path))["worker"]
            assert not ok and words.startswith("it has code ") and "build its image of this commit" in words


def test_servers_that_do_not_answer_are_named(tmp_path):
    with http_server(tmp_path) as web:
        address = web.removeprefix("http://")
        seen = found(pool("localhost:1", address), str(tmp_path), patience=1)
    assert seen["job server"] == (False, "nothing answers at localhost:1 in 1 s: start it, or name another")
    assert seen["worker pool"][0] is False
    assert seen["worker"] == (None, "was not looked at: it wants what is missing above")


def test_what_dataflow_wants_is_listed(tmp_path):
    seen = found(["runner=DataflowRunner", "region=europe-west4"], str(tmp_path))
    assert {name for name, (ok, _) in seen.items() if ok is False} == {
        "project",
        "temp_location",
        "sdk_container_image",
    }
    assert seen["worker"] == (None, "was not looked at: --job starts one")


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    ok, words = found(["runner=FlinkRunner", f"temp_location={tmp_path}/file/tmp"], str(tmp_path), job=False)[
        "temp_location"
    ]
    assert not ok and "cannot be written" in words


def test_an_option_that_beam_does_not_know_names_the_nearest():
    with pytest.raises(ConfigError, match="--beam job_endpont: Beam has no such option; did you mean job_endpoint?"):
        found(["job_endpont=localhost:8099"])
