"""One run on this machine: check the recipe and the manifest, run the pipeline, report the results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tfx.orchestration import metadata

from components.manifest.reader import read_manifest
from components.registry.records import RunInfo
from components.storage.cores import cores
from pipeline.beam import check_reachable, step_args
from pipeline.dag import build_pipeline
from pipeline.data import PreparedData, prepare
from pipeline.local.runner import NodeResult, run_pipeline
from pipeline.local.workdir import Places, held, places
from pipeline.plan.choice import fitting_recipe, likely_recipe
from pipeline.plan.plan import plan_run, plan_text
from pipeline.plan.weights import with_network
from pipeline.recipe import Recipe, describe, load_recipe
from pipeline.report import summary
from pipeline.training.job import check_devices


def run(
    data: str,
    workdir: str,
    *,
    recipe: str | None,
    overrides: Sequence[str] = (),
    beam: Sequence[str] = (),
    label: str = "",
    local: str | None = None,
    echo: Callable[[str], None] = print,
) -> Mapping[str, NodeResult]:
    """Runs a recipe on a data set.

    Args:
      data: CSV, JSONL or folder of classes.
      workdir: Folder (any URI) of all outputs: examples, models, checkpoints, and ``pushed/``.
      recipe: Name of the recipe; None for the one that fits, see `fitting_recipe`.
      overrides: ``key=value`` settings.
      beam: Beam options, as in `step_args`.
      label: What the user calls this run, for the reviewer.
      local: As in `places`.
      echo: Called with each line for the user.

    Returns:
      What each node did, by node id.

    Raises:
      ConfigError: If a setting is wrong, a device that `train.strategy` names is not there, or another run holds the
        workdir.
      ManifestError: If the manifest is wrong.
      TooManyBadVideosError: If too many files cannot be read.
      NodeFailedError: If a step fails.
    """
    where = places(workdir, local)
    workdir = where.workdir
    # A wrong setting or option is reported before anything is read.
    settings = load_recipe(recipe or likely_recipe(overrides), overrides)
    step_args(beam)
    check_devices(settings.pace)
    with held(where.local):
        manifest = None
        if not recipe:
            echo(f"Looking through {data} …")
            manifest = read_manifest(data, heads=settings.data.heads, slices=settings.data.slices)
            recipe, overrides, reason = fitting_recipe(overrides, workdir, manifest)
            echo(f"Recipe {recipe}, as {reason}; --recipe takes another")
        settings = with_network(load_recipe(recipe, overrides), workdir)
        echo(f"Checking {data} …")
        prepared, manifest = prepare(data, workdir, settings, manifest)
        check_reachable(beam, [workdir, *(clip.path for clip in manifest.clips)])
        echo(plan_text(plan_run(manifest, settings, prepared.first_weights.words)))
        info = describe(recipe, settings, source=data, label=label)
        results = run_nodes(settings, prepared, where, echo, info, beam=beam)
        echo(summary(settings, manifest, results))
    return results


def run_nodes(
    recipe: Recipe,
    data: PreparedData,
    where: Places,
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
    where.fetch_metadata()
    pipeline = build_pipeline(
        recipe,
        data,
        workdir=where.workdir,
        run=info,
        decoders=cores(),
        beam=beam,
        last=last,
        metadata_connection_config=metadata.sqlite_metadata_connection_config(where.metadata),
    )
    return run_pipeline(pipeline, echo, after_each=where.keep_metadata)
