"""What a built image must be: not root, nothing that builds or tests, every step can start, small enough."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.kubeflow.images.build import Config, load_config
from tests.kubeflow.images.root import run

ROOT = Path(__file__).parents[3]
# Programs that have no place in an image.
UNWANTED = ("cc", "gcc", "g++", "c++", "clang", "make", "uv", "pytest", "ruff", "jupyter")
COMMANDS = (
    ("vivit", "--help"),
    ("vivit", "compile", "--help"),
    ("python", "-c", "import kubeflow.compile, components.ingest.example_gen, pipeline.nodes.trainer"),
)
# As OpenShift does: a user of no name in group 0.
ANY_USER = "1234567:0"
ENVIRONMENT = "/opt/vivit"


@dataclasses.dataclass(frozen=True)
class Image:
    """A built image: its root, and what it says of its containers."""

    root: Path
    config: Config

    def run(self, *words: str, user: str = "", **options) -> subprocess.CompletedProcess:
        """Runs a command as the image's user or another; see `root.run`."""
        config = self.config
        return run(self.root, words, env=config.env, user=user or config.user, folder=config.folder, **options)

    def output(self, *words: str, user: str = "") -> str:
        """What a command prints.

        Raises:
          AssertionError: If it fails, with the end of what it said.
        """
        try:
            return self.run(*words, user=user, capture_output=True, text=True).stdout.strip()
        except subprocess.CalledProcessError as error:
            raise AssertionError(f"{' '.join(words).strip().splitlines()[0]} fails: {error.stderr[-2000:]}") from None


def check(root: Path, lock: str, *, limit: float, echo: Callable[[str], None] = print) -> None:
    """Checks an image.

    Args:
      root: Root that `build` has made.
      lock: Name of its lock.
      limit: Most GB (1e9 bytes on disk) of what the image has beside Debian and Python.
      echo: Called with what was found.

    Raises:
      AssertionError: If the image is not as it must be.
    """
    image = Image(root, load_config(root))
    for user in (image.config.user, ANY_USER):
        found = image.output("id", "-u", user=user)
        assert found != "0", "the image's user is root"
        image.output("sh", "-c", 'test -w "$HOME" && python -c "import getpass; getpass.getuser()"', user=user)
        for words in COMMANDS:
            image.output(*words, user=user)
        echo(f"user {found}: home can be written, and {len(COMMANDS)} commands work")
    present = [name for name in UNWANTED if image.output("sh", "-c", f"command -v {name} || true")]
    assert not present, f"in the image: {', '.join(present)}"
    _check_python(image, lock, echo)
    answered = _inside(image, "first_step.py")
    assert "Trainer" in answered, f"the spec's first step answered with {answered}"
    echo(f"compiled a spec; its first step made the settings of {len(answered)} others")
    _check_size(image, limit, echo)


def _inside(image: Image, script: str) -> Any:
    """What a script of this folder prints in the image, as its last line."""
    code = (Path(__file__).parent / script).read_text()
    return json.loads(image.output("python", "-c", code).splitlines()[-1])


def _check_python(image: Image, lock: str, echo: Callable[[str], None]) -> None:
    report = _inside(image, "inside.py")
    assert not report["failures"], f"modules that do not import: {report['failures']}"
    left_out = names(ROOT / "requirements" / "not-in-image.txt")
    unmet = [each for each in report["unmet"] if each[1] not in left_out]
    assert not unmet, f"requirements that are not met: {unmet}"
    assert not left_out & set(report["installed"]), f"in the image: {left_out & set(report['installed'])}"
    absent = sorted(left_out & names(ROOT / "requirements" / f"{lock}.txt"))
    echo(f"{len(report['installed'])} distributions; every module of ours imports")
    echo(f"{len(absent)} left out: {', '.join(absent)}")


def _check_size(image: Image, limit: float, echo: Callable[[str], None]) -> None:
    def size(path: str) -> float:
        # In blocks, which is more than the bytes: what it takes on a node's disk.
        words: Sequence[str] = ("du", "-sx", "--block-size=1", path)
        return int(image.output(*words, user="0:0").split()[0]) / 1e9

    installed = size(ENVIRONMENT)
    echo(f"{installed:.2f} GB in {ENVIRONMENT}")
    assert installed < limit, f"{installed:.2f} GB in {ENVIRONMENT}, wanted less than {limit}"


def names(requirements: Path) -> set[str]:
    """The distributions that a file of requirements names."""
    lines = [line.partition("#")[0].strip() for line in requirements.read_text().splitlines()]
    return {line.partition("==")[0].strip() for line in lines if line}
