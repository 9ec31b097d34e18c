"""One check, from its arguments to its exit status; a stopped check still shows its results."""

from __future__ import annotations

import dataclasses
import os

from components.manifest.listing import is_table, list_clips
from components.manifest.table import ManifestError
from components.storage.files import FileError
from pipeline.check.checking import check, filmstrips_per_class
from pipeline.check.listing import data_set
from pipeline.check.outputs import OutputError, prepare_outputs, write_text
from pipeline.check.page import check_page, check_table
from pipeline.check.report import Report, as_csv, losses, settings_in_words
from pipeline.console import Console
from pipeline.plan.plan import plan_run, plan_text
from pipeline.recipe import Recipe


@dataclasses.dataclass(frozen=True)
class CheckRequest:
    """The arguments of a check.

    Attributes:
      path: Folder, manifest or video.
      recipe_name, recipe: The recipe of the run: its settings of ingest, heads and slices.
      csv, html: Files to write, or None.
      workers: Files decoded in parallel.
    """

    path: str
    recipe_name: str
    recipe: Recipe
    csv: str | None
    html: str | None
    workers: int


def run_check(request: CheckRequest, console: Console) -> int:
    """Checks, shows and writes; returns the exit status, see `pipeline.commands.check`."""
    recipe, data = request.recipe, request.recipe.data
    outputs = [(request.csv, lambda report: as_csv(report.clips)), (request.html, check_page)]
    outputs = [(path, as_text) for path, as_text in outputs if path]
    try:
        clips, skipped, _ = list_clips(request.path, data.slices)
        prepare_outputs([path for path, _ in outputs], request.path, clips)
        manifest, problems = data_set(request.path, clips, heads=data.heads, slices=data.slices)
    except (ManifestError, OutputError, OSError) as error:
        console(f"vivit: {error}")
        return 2
    plan = plan_run(manifest, recipe) if manifest else None
    if plan:
        console(plan_text(plan))
    filmstrips = filmstrips_per_class(clips) if request.html else 0
    results = check(clips, recipe.ingest, workers=request.workers, filmstrips=filmstrips)
    checked, failure, interrupted = [], None, False
    try:
        for found in console.show_progress(results, len(clips), "Checking", lambda found: found.is_bad):
            checked.append(found)
    except KeyboardInterrupt:
        interrupted = True
    except FileError as error:
        # A remote file system does not respond: no video is at fault, and the results are kept.
        failure = error
    is_whole = len(checked) == len(clips)
    report = Report(
        source=request.path,
        settings=settings_in_words(request.recipe_name, recipe.ingest),
        clips=checked,
        total=len(clips),
        problems=problems,
        plan=plan,
        skipped=skipped,
        losses=losses(manifest, checked, recipe.ingest.max_bad_fraction) if manifest and is_whole else "",
    )
    console(check_table(report))
    try:
        for path, as_text in outputs:
            write_text(path, as_text(report))
    except OutputError as error:
        failure = failure or error
    if failure:
        console(f"vivit: {failure}")
    if interrupted:
        # A thread would wait for its video, up to ingest.max_seconds. The decoders end with this process.
        os._exit(130)
    # Not every folder of videos that is checked is meant to be a data set.
    refused = problems if is_table(request.path) else ()
    return 2 if failure else int(bool(report.bad or refused or skipped))
