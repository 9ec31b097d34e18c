"""The `vivit` command where it refuses: an exit status, one message in words, and no work done."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import cli
from pipeline.cli import main
from pipeline.local.workdir import held, places
from tests.servers import s3_server

ROOT = Path(__file__).parents[2]
# The demo's recipe, for any manifest.
ANY_COLUMNS = ("--recipe", "demo", "--set", "data.heads=", "--set", "data.slices=null")
MANIFEST = "path,label,split\na.mp4,run,train\nb.mp4,jump,train\nc.mp4,run,eval\n"


@pytest.fixture
def data(tmp_path):
    """A manifest without mistakes, of files that would fail if they were decoded."""
    for name in "abc":
        (tmp_path / f"{name}.mp4").write_text("no video")
    (tmp_path / "m.csv").write_text(MANIFEST)
    return tmp_path / "m.csv"


def refusal(capfd, *arguments):
    """What the terminal shows of a command that ends with status 1, besides the lines that say what it is doing."""
    assert main([str(argument) for argument in arguments]) == 1
    shown, errors = capfd.readouterr()
    assert errors == ""
    assert "Traceback" not in shown
    message = [line for line in shown.splitlines() if line and not line.endswith("…")]
    assert message[0].startswith("vivit: ")
    return message


def test_help_names_every_command_without_loading_tensorflow():
    code = (
        "import sys\nfrom pipeline.cli import main\n"
        "try:\n    main(['--help'])\nfinally:\n    print({'tensorflow', 'tfx'} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert {"demo", "run", "ablate", "prepare", "predict", "recipes"} <= set(done.stdout.split())
    assert done.stderr.strip() == "set()"


@pytest.mark.parametrize(
    "arguments",
    [[], ["fly"], ["run"], ["run", "--data", "x"], ["predict", "--model", "x"], ["manifest", "imagenet"]],
    ids=" ".join,
)
def test_a_command_that_is_none_or_lacks_arguments_ends_with_its_usage(capfd, arguments):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert capfd.readouterr().err.startswith("usage: vivit")


@pytest.mark.parametrize("command", ["run", "prepare"])
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--recipe", "demoo"], "no recipe 'demoo'; there are demo"),
        (["--set", "train.epoch=3"], "unknown setting 'train.epoch'; did you mean 'train.epochs'?"),
        (["--set", "train.epochs=soon"], "train.epochs is 'soon'; it must be of type float"),
        (["--set", "train.epochs"], "--set train.epochs: wanted key=value"),
        (["--set", "ingest.fps=0"], "ingest: ingest.fps is 0.0; it must be between 0.1 and 1000"),
        (["--set", "data.heads=verb"], "no head 'verb'; the manifest has label"),
        (["--set", "ingest.shard_mb=0"], "ingest: ingest.shard_mb is 0; it must be between 1 and 10000"),
        (["--set", "evaluation.split=test"], "no clip in split 'test', which evaluation.split names"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_setting_that_does_not_fit_is_reported_before_anything_is_decoded(capfd, data, command, arguments, said):
    workdir = data.parent / "work"
    arguments = [*ANY_COLUMNS, *arguments]
    shown = refusal(capfd, command, "--data", data, "--workdir", workdir, *arguments)
    assert said in "\n".join(shown)
    assert not {path.name for path in workdir.glob("*")} - {"logs", "in-use.json"}


@pytest.mark.parametrize("command", ["run", "prepare"])
def test_every_mistake_of_a_manifest_is_reported_before_anything_is_decoded(capfd, data, command):
    data.write_text(MANIFEST + "a.mp4,run,fly\na.mp4,,train\n")
    workdir = data.parent / "work"
    arguments = ["--data", data, "--workdir", workdir, *ANY_COLUMNS]
    shown = refusal(capfd, command, *arguments)
    assert shown[0].endswith(f"{data}: 2 problem(s)")
    assert shown[1] == "  - row 5: split 'fly'; wanted train, eval, test or nothing"
    assert shown[2] == "  - row 6: column 'label' is empty"
    assert not (workdir / "data").exists()


def test_a_manifest_that_is_not_there_is_reported(capfd, tmp_path):
    shown = refusal(capfd, "prepare", "--data", tmp_path / "gone.csv", "--workdir", tmp_path / "w", "--recipe", "demo")
    assert shown[0].endswith(f"{tmp_path}/gone.csv: 1 problem(s)")
    assert shown[1] == "  - no such file or folder"


def test_a_run_that_stops_keeps_its_traceback_in_its_log(capfd, tmp_path):
    shown = refusal(capfd, "run", "--data", tmp_path / "gone.csv", "--workdir", tmp_path / "w", "--recipe", "demo")
    label, log = shown[-1].split(": ")
    assert label == "The whole log"
    assert "Traceback" in Path(log).read_text()


def test_a_good_manifest_is_prepared_without_being_decoded(capfd, data):
    workdir = data.parent / "work"
    arguments = ["--data", data, "--workdir", workdir, *ANY_COLUMNS, "--set", "train.batch_size=1"]
    assert main([str(argument) for argument in ["prepare", *arguments]]) == 0
    assert "\n  clips     3 (2 train, 1 eval)\n" in capfd.readouterr().out
    (prepared,) = (workdir / "data").glob("manifest-*")
    assert sorted(path.name for path in prepared.iterdir()) == ["eval.jsonl", "train.jsonl"]


def test_a_manifest_of_a_public_set_is_reported_in_counts(capfd, tmp_path):
    rows = ["a,x,1,2,train", "b,y,1,2,train", "a,z,5,6,val", "a,gone,1,2,train"]
    (tmp_path / "k.csv").write_text("\n".join(["label,youtube_id,time_start,time_end,split", *rows]))
    for name in ("x_000001_000002", "y_000001_000002", "z_000005_000006"):
        (tmp_path / f"{name}.mp4").write_text("no video")
    output = tmp_path / "m.csv"
    assert main(["manifest", "kinetics", str(tmp_path / "k.csv"), "--output", str(output)]) == 0
    assert capfd.readouterr().out.splitlines()[1:] == [
        f"{output}: 3 clips (2 train, 1 eval, 0 test)",
        f"  label: 2 classes (a, b), in {output}.classes.txt",
        f"  left out, no video: 1 (gone_000001_000002), in {output}.missing.txt",
    ]


def test_predicting_without_a_model_is_refused(capfd, tmp_path):
    assert main(["predict", "--model", str(tmp_path / "gone"), "a.mp4"]) == 2
    (line,) = capfd.readouterr().out.splitlines()
    assert f"no SavedModel in {tmp_path}/gone" in line


@pytest.mark.parametrize(
    ("command", "workdir", "said"),
    [
        ("demo", "gs://bucket/run", "is no folder of this machine, and this command needs one"),
        ("demo", "run [1]", "TFX cannot read files below a name with [ ]; choose another"),
        ("run", "run [1]", "TFX cannot read files below a name with [ ]; choose another"),
        ("run", "gs://bucket/run --local run[1]", "TFX cannot read files below a name with [ ]; choose another"),
        ("run", "run --local here", "--local is for a workdir in a bucket; --workdir run is on this machine itself"),
    ],
)
def test_a_workdir_that_cannot_be_one_is_refused(capfd, data, monkeypatch, command, workdir, said):
    monkeypatch.chdir(data.parent)
    folder, *more = workdir.split(" --local ")
    given = ["--data", data] if command == "run" else []
    local = ["--local", *more] if more else []
    assert said in refusal(capfd, command, "--workdir", folder, *local, *given)[0]
    assert not (data.parent / "gs:").exists()


def test_machines_that_share_a_bucket_hand_over_the_metadata(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with s3_server():
        here, there = places("s3://videos/run/"), places("s3://videos/run", str(tmp_path / "there"))
        assert here.local == str(tmp_path / "vivit-runs" / "videos" / "run")
        with held(here.local), held(there.local):
            here.fetch_metadata()
            Path(here.metadata).write_bytes(b"of one step")
            here.keep_metadata()
            there.fetch_metadata()
            assert Path(there.metadata).read_bytes() == b"of one step"
    local = places(str(tmp_path / "run"))
    assert (local.workdir, local.metadata) == (str(tmp_path / "run"), str(tmp_path / "run" / "metadata.db"))


def test_a_workdir_that_cannot_be_made_is_refused(capfd, data):
    shown = refusal(capfd, "run", "--data", data, "--workdir", data / "work")
    assert shown == [f"vivit: --workdir {data}/work: cannot write there: Not a directory"]


def test_a_second_run_in_a_workdir_says_who_holds_it(capfd, data):
    code = "import sys, pipeline.local.workdir as w\nwith w.held(sys.argv[1]): print('held', flush=True); input()"
    command = [sys.executable, "-c", code, str(data.parent)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        (shown, *_) = refusal(capfd, "run", "--data", data, "--workdir", data.parent, *ANY_COLUMNS)
        assert f"--workdir {data.parent} is in use by process {holder.pid} on " in shown
        holder.kill()
    # Of a holder that was killed nothing is left.
    (shown, *_) = refusal(capfd, "run", "--data", data, "--workdir", data.parent, *ANY_COLUMNS)
    assert "in use" not in shown


def test_the_demo_is_a_run_on_data_of_its_own():
    run = cli._parser().parse_args(["run", "--data", "d", "--workdir", "w"])
    demo = cli._parser().parse_args(["demo"])
    assert vars(demo).keys() | {"data", "local"} == vars(run).keys()
