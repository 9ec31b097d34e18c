"""Which Beam runner the steps use, and with what arguments: this machine's own, or any that ``--beam`` names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pipeline.settings import ConfigError

# Plain DirectRunner first tries to download the Prism binary (Beam 2.68).
LOCAL_RUNNER = "--runner=FnApiRunner"
# Without an image, TFX packages itself for the workers: seconds in each step. Here the workers are threads.
_NO_PACKAGE = "--sdk_container_image=none"


def step_args(settings: Sequence[str] = ()) -> list[str]:
    """Beam arguments of every step.

    Args:
      settings: Beam's own options as ``key=value``, or ``key`` alone; without ``runner=…`` the steps run here.

    Raises:
      ConfigError: If a setting is not of that form.
    """
    for setting in settings:
        if setting.startswith("-") or not setting.partition("=")[0].isidentifier():
            raise ConfigError(f"--beam {setting}: wanted KEY=VALUE or KEY, e.g. --beam runner=FlinkRunner")
    given = [f"--{setting}" for setting in settings]
    elsewhere = any(setting.startswith("runner=") for setting in settings)
    return given if elsewhere else [LOCAL_RUNNER, _NO_PACKAGE, *given]


def check_reachable(settings: Sequence[str], paths: Iterable[str]) -> None:
    """Checks that the workers of a runner that never runs here see what they read and write.

    Args:
      settings: As in `step_args`.
      paths: Workdir and videos.

    Raises:
      ConfigError: If one is a path of this machine. Workers of other runners may share its disks.
    """
    if "runner=DataflowRunner" not in settings:
        return
    if here := [path for path in paths if "://" not in path]:
        raise ConfigError(
            f"--beam runner=DataflowRunner: its workers see buckets alone, and {len(here)} of what they read and "
            f"write is on this machine, e.g. {here[0]}: use gs://"
        )


def ingest_args(decoders: int, settings: Sequence[str] = ()) -> list[str]:
    """Beam arguments of the step that decodes: `decoders` threads on this machine, unless `settings` say otherwise."""
    threads = ["direct_running_mode=multi_threading", f"direct_num_workers={decoders}"]
    return step_args([*threads, *settings])
