"""Set-up: which Python and which lock a machine gets, and what it is told where none fits or something is missing."""

import shutil
import subprocess
from pathlib import Path

import pytest

SETUP = Path(__file__).parents[1] / "requirements" / "setup.sh"
TOOLS = ("cat", "dirname", "ls", "sed", "sort")
WHOLE = {"3.13": "3.13.5", "3.12": "3.12.4", "3.11": "3.11.9", "3.10": "3.10.14", "3.9": "3.9.2", "3.14": "3.14.1"}

LINUX, ALPINE, ARM = ("Linux", "x86_64"), ("Linux", "x86_64"), ("Linux", "aarch64")
INTEL_MAC, APPLE_MAC = ("Darwin", "x86_64"), ("Darwin", "arm64")


def script(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["#!/bin/sh", *lines]) + "\n")
    path.chmod(0o755)


@pytest.fixture
def choose(tmp_path):
    """What set-up chooses on a machine: its words, and whether it goes on."""
    machine = tmp_path / "bin"
    machine.mkdir()
    for tool in TOOLS:
        (machine / tool).symlink_to(shutil.which(tool))

    def chosen(system, libc, pythons, *, compiler=True, installers=("apt-get",), pyenv=(), lacks="", **environment):
        script(machine / "uname", f'[ "$1" = -s ] && echo {system[0]} || echo {system[1]}')
        script(machine / "getconf", f"echo {libc}" if libc else "exit 1")
        for version in pythons:
            name = f"python{version}" if version in WHOLE else version
            script(machine / name, f"echo {version} {WHOLE[version]} {lacks}" if version in WHOLE else "exit 1")
        for version in pyenv:
            home = tmp_path / ".pyenv" / "versions" / WHOLE[version] / "bin" / "python"
            script(home, f"echo {version} {WHOLE[version]}")
        for tool in (*(["c++"] if compiler else []), *installers):
            script(machine / tool, "exit 0")
        environment = {name: value.format(bin=machine) for name, value in environment.items()}
        done = subprocess.run(
            ["/bin/sh", SETUP, "--choose"],
            env={"PATH": str(machine), "HOME": str(tmp_path), **environment},
            capture_output=True,
            text=True,
        )
        (line,) = (done.stdout + done.stderr).splitlines()
        assert (done.returncode == 0) == line.startswith("Python ")
        return line

    return chosen


@pytest.mark.parametrize(
    ("system", "libc", "pythons", "version", "lock"),
    [
        (LINUX, "glibc 2.41", ["3.13"], "3.13.5", "TFX 1.21 (tfx121.txt)"),
        (LINUX, "glibc 2.39", ["3.10", "3.12", "3.14"], "3.12.4", "TFX 1.21 (tfx121.txt)"),
        (LINUX, "glibc 2.41", ["3.11", "3.9"], "3.11.9", "TFX 1.21 (tfx121.txt)"),
        (LINUX, "glibc 2.41", ["3.10", "3.14"], "3.10.14", "TFX 1.16 (py310.txt)"),
        (LINUX, "glibc 2.36", ["3.13", "3.11", "3.10"], "3.10.14", "TFX 1.16 (py310.txt)"),
        (LINUX, "glibc 2.17", ["3.10"], "3.10.14", "TFX 1.16 (py310.txt)"),
        (APPLE_MAC, "", ["3.10", "3.11", "3.12"], "3.12.4", "TFX 1.21 (tfx121.txt)"),
        (INTEL_MAC, "", ["3.10", "3.13"], "3.10.14", "TFX 1.16 (py310.txt)"),
    ],
)
def test_the_newest_python_that_fits_the_machine_is_chosen_with_its_lock(
    choose, tmp_path, system, libc, pythons, version, lock
):
    line = choose(system, libc, pythons)
    name = version.rpartition(".")[0]
    assert line.startswith(f"Python {version} ({tmp_path}/bin/python{name}) with {lock}, as this is {system[0]} ")
    assert libc in line


@pytest.mark.parametrize(
    ("system", "libc", "version", "lock"),
    [
        (LINUX, "glibc 2.41", "3.13", "tfx121"),
        (LINUX, "glibc 2.36", "3.10", "py310"),
        (APPLE_MAC, "", "3.13", "tfx121"),
    ],
)
def test_a_python_that_no_one_has_installed_is_fetched_and_the_fetch_is_told(choose, system, libc, version, lock):
    line = choose(system, libc, ["3.14", "3.9", "python3"])
    assert line.startswith(f"Python {version} (fetched with uv from beyond the package registries) with TFX")
    assert f"({lock}.txt)" in line


def test_a_python_of_pyenv_is_found_and_a_shim_that_fails_is_passed_over(choose, tmp_path):
    script(tmp_path / "bin" / "python3.10", "exit 127")
    assert choose(LINUX, "glibc 2.36", [], pyenv=["3.10", "3.13"]).startswith(
        f"Python 3.10.14 ({tmp_path}/.pyenv/versions/3.10.14/bin/python) with TFX 1.16"
    )


@pytest.mark.parametrize(
    ("system", "libc", "advice"),
    [
        (ARM, "glibc 2.41", "no wheels for Linux aarch64; use a container of linux/amd64"),
        (ALPINE, "", "no wheels for Linux x86_64 without glibc (musl, as in Alpine); use Debian 13 or Ubuntu 24.04"),
        (("MINGW64_NT-10.0-22631", "x86_64"), "", "no wheels for Windows; use Ubuntu 24.04 in WSL 2"),
        (("FreeBSD", "amd64"), "", "no wheels for FreeBSD amd64; use Linux x86_64"),
    ],
)
def test_a_machine_without_wheels_is_told_what_to_use(choose, system, libc, advice):
    assert f"Set-up stops: TFX has {advice}" in choose(system, libc, ["3.13"])


@pytest.mark.parametrize(
    ("python", "reason"),
    [
        ("{bin}/false", "{bin}/false does not run as Python 3 (a 64-bit CPython with a GIL)"),
        ("{bin}/missing", "{bin}/missing does not run as Python 3 (a 64-bit CPython with a GIL)"),
        (
            "{bin}/python3.9",
            "{bin}/python3.9 is Python 3.9.2, which TFX has no wheels for on Linux x86_64 with glibc 2.36",
        ),
        (
            "{bin}/python3.13",
            "{bin}/python3.13 is Python 3.13.5, which TFX has no wheels for on Linux x86_64 with glibc",
        ),
    ],
)
def test_a_named_python_that_does_not_fit_is_refused(choose, tmp_path, python, reason):
    script(tmp_path / "bin" / "false", "exit 1")
    line = choose(LINUX, "glibc 2.36", ["3.13", "3.10", "3.9"], PYTHON=python)
    assert line.startswith(f"Set-up stops: PYTHON={reason.format(bin=tmp_path / 'bin')}")
    assert line.endswith("; name an interpreter of Python 3.10, or unset PYTHON")


def test_a_named_python_that_fits_is_taken_though_a_newer_one_is_there(choose):
    assert choose(LINUX, "glibc 2.41", ["3.13", "3.11"], PYTHON="{bin}/python3.11").startswith("Python 3.11.9 (")


@pytest.mark.parametrize(
    ("machine", "missing", "how"),
    [
        ({"compiler": False}, "a C++ compiler", "apt-get install g++"),
        ({"lacks": "ensurepip"}, "Python's module venv with pip", "apt-get install python3.13-venv"),
        ({"lacks": "headers"}, "the headers of Python 3.13", "apt-get install python3.13-dev"),
        (
            {"compiler": False, "lacks": "ensurepip headers", "installers": ["dnf"]},
            "a C++ compiler, the headers of Python 3.13, Python's module venv with pip",
            "dnf install gcc-c++ python3.13-devel python3.13",
        ),
    ],
)
def test_what_is_missing_is_named_with_what_to_install(choose, machine, missing, how):
    line = choose(LINUX, "glibc 2.41", ["3.13"], **machine)
    assert line == f"Set-up stops: {missing} not found; {how}"


def test_a_compiler_is_needed_for_a_fetched_python_too(choose):
    assert "a C++ compiler not found" in choose(LINUX, "glibc 2.41", [], compiler=False)


def test_an_older_python_that_has_all_is_taken_before_a_newer_one_that_lacks_something(choose, tmp_path):
    script(tmp_path / "bin" / "python3.13", "echo 3.13 3.13.5 ensurepip")
    assert choose(LINUX, "glibc 2.41", ["3.12"]).startswith("Python 3.12.4 (")


def test_a_mac_without_its_command_line_tools_is_told_of_them(choose):
    line = choose(APPLE_MAC, "", ["3.13"], compiler=False, installers=[])
    advice = "run xcode-select --install, and take Python from python.org or Homebrew"
    assert line == f"Set-up stops: a C++ compiler not found; {advice}"
