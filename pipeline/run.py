"""One run on this machine: check the recipe and the manifest, run the pipeline, report the results."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence

from tfx.orchestration import metadata

from components.registry.records import RunInfo
from pipeline.beam import step_args
from pipeline.dag import build_pipeline
from pipeline.data import PreparedData, prepare
from pipeline.local import NodeResult, run_pipeline
from pipeline.recipe import Recipe, describe, load_recipe
from pipeline.report import summary
from pipeline.settings import ConfigError


def run(
    data: str,
    workdir: str,
    *,
    recipe: str,
    overrides: Iterable[str] = (),
    beam: Sequence[str] = (),
    label: str = "",
    echo: Callable[[str], None] = print,
) -> Mapping[str, NodeResult]:
    """Runs a recipe on a data set.

    Args:
      data: CSV, JSONL or folder of classes.
      workdir: Local folder of all outputs: examples, models, metadata, logs, and ``pushed/``.
      recipe: Name of the recipe.
      overrides: ``key=value`` settings.
      beam: Beam options, as in `step_args`.
      label: What the user calls this run, for the reviewer.
      echo: Called with each line for the user.

    Returns:
      What each node did, by node id.

    Raises:
      ConfigError: If a setting is wrong.
      ManifestError: If the manifest is wrong.
      TooManyBadVideosError: If too many files cannot be read.
      NodeFailedError: If a step fails.
    """
    if "://" in workdir:
        raise ConfigError(
            f"--workdir {workdir} is no folder of this machine: vivit run reads --data from anywhere, and keeps its "
            "models and metadata here; vivit compile makes a pipeline that keeps them in a bucket"
        )
    workdir = os.path.abspath(workdir)
    settings = load_recipe(recipe, overrides)
    step_args(beam)  # A wrong option is reported before anything is read.
    echo(f"Checking {data} …")
    prepared, manifest = prepare(data, workdir, settings)
    echo(f"      {len(manifest.clips)} clips, heads {', '.join(manifest.heads)}")
    if manifest.unreadable:
        echo(f"      {len(manifest.unreadable)} of them have no file that can be read; they go to the quarantine")
    info = describe(recipe, settings, source=data, label=label)
    results = run_nodes(settings, prepared, workdir, echo, info, beam=beam)
    echo(summary(settings, manifest, results))
    return results


def run_nodes(
    recipe: Recipe,
    data: PreparedData,
    workdir: str,
    echo: Callable[[str], None],
    info: RunInfo,
    *,
    last: str = "Pusher",
    beam: Sequence[str] = (),
) -> Mapping[str, NodeResult]:
    """Runs the pipeline on prepared data up to the node `last`; returns what each node did, by node id.

    Raises:
      ConfigError: If a Beam option is wrong.
      NodeFailedError: If a step fails.
    """
    metadata_path = os.path.join(workdir, "metadata.db")
    pipeline = build_pipeline(
        recipe,
        data,
        workdir=workdir,
        run=info,
        decoders=len(os.sched_getaffinity(0)),
        beam=beam,
        last=last,
        metadata_connection_config=metadata.sqlite_metadata_connection_config(metadata_path),
    )
    return run_pipeline(pipeline, echo)
