"""The settings of ingest: what its examples depend on, and the policy of the run, on which no byte depends."""

from __future__ import annotations

import dataclasses

from components.media.config import DecodeConfig, check_ranges


@dataclasses.dataclass(frozen=True)
class ExamplesConfig(DecodeConfig):
    """What the examples and the quarantine depend on: pixels, limits, and how clips are spread over files.

    Attributes:
      shard_mb: About as many megabytes of frames are stored in one file. An estimate, made before anything is decoded.
    """

    shard_mb: int = 150

    def __post_init__(self):
        super().__post_init__()
        check_ranges(self, {"shard_mb": (1, 10_000)})


@dataclasses.dataclass(frozen=True)
class PolicyConfig:
    """When a run stops.

    Attributes:
      max_bad_fraction: The run stops if more than this share of the clips of a data set cannot be decoded.
    """

    max_bad_fraction: float = 0.01

    def __post_init__(self):
        check_ranges(self, {"max_bad_fraction": (0, 1)})


@dataclasses.dataclass(frozen=True)
class IngestConfig(ExamplesConfig, PolicyConfig):
    """All settings of ingest, see `ExamplesConfig` and `PolicyConfig`."""

    def __post_init__(self):
        ExamplesConfig.__post_init__(self)
        PolicyConfig.__post_init__(self)
