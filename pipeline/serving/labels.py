"""Which versions a model server loads, and the labels by which its clients name them.

Contract: ``stable`` is the version in production, or an older one that is kept there for a while; ``canary`` is always
the newest. A server moves a label only to a version that it has loaded, and unloads what is listed no more; so the
versions that labels were at before stay listed once more.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from components.registry.records import RegistryError
from components.registry.versions import PushedModel, in_force

STABLE, CANARY = "stable", "canary"


@dataclasses.dataclass(frozen=True)
class Served:
    """What a model server has of a model.

    Attributes:
      stable, canary: The versions that the labels are at.
      versions: The versions that are loaded, in order.
    """

    stable: PushedModel
    canary: PushedModel
    versions: tuple[PushedModel, ...]


def served_versions(models: Sequence[PushedModel], *, stable: str = "", labelled: Iterable[str] = ()) -> Served:
    """Chooses versions and labels.

    Args:
      models: All versions of a run, in order.
      stable: The version for the label; empty for the one in production.
      labelled: Versions that labels of the running server are at.

    Raises:
      RegistryError: If nothing is pushed, or `stable` is no version or was rolled back.
    """
    if not models:
        raise RegistryError("no version is pushed: run the pipeline until a model is blessed, or approve one")
    standing, newest = in_force(models), models[-1]
    chosen = next((model for model in standing if model.version == (stable or newest.version)), None)
    if chosen is None:
        versions = ", ".join(model.version for model in standing)
        raise RegistryError(f"no version {stable} that was not rolled back; there is {versions}")
    loaded = {chosen.version, newest.version, *labelled}
    return Served(chosen, newest, tuple(model for model in models if model.version in loaded))
