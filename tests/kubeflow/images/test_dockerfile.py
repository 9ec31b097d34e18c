"""How a Dockerfile and its .dockerignore are read, and what ours says."""

import re
import subprocess
from itertools import product
from pathlib import Path

import pytest

from tests.kubeflow.images.check import names
from tests.kubeflow.images.context import copy_context, ignored
from tests.kubeflow.images.dockerfile import (
    DockerfileError,
    assignments,
    command,
    needed_stages,
    read_instructions,
    read_stages,
    substitute,
)

ROOT = Path(__file__).parents[3]
DOCKERFILE = (ROOT / "kubeflow" / "Dockerfile").read_text()
LOCKS, DEVICES, BEAMS = ("tfx121", "py310"), ("cpu", "cuda"), ("none", "boot")
TWO_STAGES = """
ARG BASE=debian
FROM ${BASE} AS build
RUN make \\
# between the lines
    install
FROM other AS unused
FROM scratch AS last
COPY --from=build /a /b
"""


def test_an_instruction_goes_on_over_lines_and_comments():
    (run,) = [each for each in read_instructions(TWO_STAGES) if each.keyword == "RUN"]
    assert (run.line, run.value) == (4, "make     install")


def test_only_the_stages_that_the_last_one_needs_are_built():
    stages, _ = read_stages(TWO_STAGES, {"BASE": "ubuntu"})
    assert [(stage.name, stage.base) for stage in needed_stages(stages)] == [("build", "ubuntu"), ("last", "scratch")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("FROM a\nADD b c", "line 2: ADD is not understood here"),
        ("FROM a\n\nRUN --mount=type=cache,target=/c make", "line 3: --mount of RUN is not understood here"),
        ("FROM a\nCOPY --chown=1 b c", "line 2: --chown of COPY is not understood here"),
        ("FROM a\nRUN cat <<EOF", "line 2: heredocs are not understood here"),
        ("FROM a b", "line 1: wanted FROM IMAGE [AS NAME], found 'a b'"),
        ("RUN make", "line 1: RUN before the first FROM"),
        ("FROM a\nUSER", "line 2: USER without a value"),
        ("", "no FROM"),
    ],
)
def test_what_is_not_understood_is_refused_with_its_line(text, message):
    with pytest.raises(DockerfileError, match=re.escape(message)):
        read_stages(text, {})


def test_a_build_argument_that_is_nowhere_declared_is_refused():
    with pytest.raises(DockerfileError, match="DEVISE is not declared; known: BEAM, DEVICE, LOCK"):
        read_stages(DOCKERFILE, {"DEVISE": "cuda"})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$A/${A}", "x/x"),
        ("${B:-no}${A:-no}", "nox"),
        ("${A:+yes}${B:+yes}", "yes"),
        (r"\$A", "$A"),
        ("$B.", "."),
    ],
)
def test_variables_are_filled_in(text, value):
    assert substitute(text, {"A": "x"}) == value


def test_env_has_several_variables_and_sees_those_before():
    (env,) = read_instructions('ENV PATH=/a:$PATH NAME="two words"')
    assert assignments(env, {"PATH": "/b"}) == {"PATH": "/a:/b", "NAME": "two words"}


def test_a_list_is_a_command_and_text_is_for_a_shell():
    assert command('["a", "b c"]') == ["a", "b c"]
    assert command("a && b") == ["/bin/sh", "-c", "a && b"]


def test_the_last_pattern_that_fits_decides():
    patterns = ["*", "!models", "**/__pycache__"]
    assert ignored("tests/a.py", patterns)
    assert not ignored("models/network/vivit.py", patterns)
    assert ignored("models/network/__pycache__/vivit.pyc", patterns)
    with pytest.raises(DockerfileError, match="is not understood"):
        ignored("a", ["[ab]"])


def test_the_context_is_what_the_dockerfile_copies_and_nothing_else(tmp_path):
    copy_context(ROOT, tmp_path)
    copied = [each for each in read_instructions(DOCKERFILE) if each.keyword == "COPY" and not each.flags]
    sources = {source for each in copied for source in each.value.split()[:-1]}
    assert {path.name for path in tmp_path.iterdir()} == sources
    assert not list(tmp_path.rglob("__pycache__"))


@pytest.mark.parametrize(("lock", "device", "beam"), product(LOCKS, DEVICES, BEAMS))
def test_every_image_starts_from_a_digest_and_its_user_is_not_root(lock, device, beam):
    stages, _ = read_stages(DOCKERFILE, {"LOCK": lock, "DEVICE": device, "BEAM": beam})
    needed = needed_stages(stages)
    known = {stage.name for stage in needed}
    bases = {stage.base for stage in needed if stage.base not in known}
    python = {base for base in bases if re.fullmatch(r"python:3\.\d+-slim-\w+@sha256:[0-9a-f]{64}", base)}
    assert len(python) == 1
    # Beam's is by its release, of the lock's version.
    beam_version = re.search(r"^apache-beam==(.+)$", (ROOT / "requirements" / f"{lock}.txt").read_text(), re.M)[1]
    assert {base.partition(":")[2] for base in bases - python} == ({beam_version} if beam == "boot" else set())
    users = [step.value for stage in needed for step in stage.instructions if step.keyword == "USER"]
    assert users == ["1000:0"]


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("tpu", "DEVICE=tpu: no registry has TensorFlow for TPUs at the version of tfx121; see docs/images.md"),
        ("gpu", "DEVICE=gpu: wanted cpu or cuda"),
    ],
)
def test_a_device_that_cannot_be_had_is_refused_before_anything_is_installed(device, message):
    (install,) = [step.value for step in read_instructions(DOCKERFILE) if "case ${DEVICE}" in step.value]
    environment = {"DEVICE": device, "LOCK": "tfx121", "PATH": ""}
    done = subprocess.run(["/bin/sh", "-c", install], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr.strip()) == (1, message)


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_of_cuda_adds_only_nvidias_libraries(lock):
    text = (ROOT / "requirements" / f"cuda-{lock}.txt").read_text()
    pins = [line for line in text.splitlines() if not line.startswith("#")]
    assert len(pins) > 10 and all(re.fullmatch(r"nvidia-[a-z-]+-cu12==[\d.]+", pin) for pin in pins)
    tensorflow = re.search(r"^tensorflow==.*$", (ROOT / "requirements" / f"{lock}.txt").read_text(), re.M)[0]
    assert tensorflow.replace("==", "[and-cuda]==") in text


def test_what_is_left_out_is_in_a_lock_and_the_package_does_not_require_it():
    left_out = names(ROOT / "requirements" / "not-in-image.txt")
    locked = set().union(*(names(ROOT / "requirements" / f"{lock}.txt") for lock in LOCKS))
    assert not left_out - locked
    required = (ROOT / "setup.py").read_text().partition("install_requires")[2].partition("extras_require")[0]
    assert not left_out & set(re.findall(r'"([a-z0-9-]+)', required))
