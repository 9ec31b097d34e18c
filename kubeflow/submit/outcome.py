"""What came of a run: how it ended, the steps that failed, and the models that it left in its workdir."""

from __future__ import annotations

import datetime
from collections.abc import Iterator

from kubeflow.submit.service import Progress
from kubeflow.submit.waiting import duration


def ending(progress: Progress, link: str) -> Iterator[str]:
    """How a run ended: each failed step with its error and its log."""
    failed = [step for step in progress.steps if step.state == "failed"]
    if progress.state == "succeeded":
        ran = [step for step in progress.steps if step.state == "succeeded"]
        seconds, cached = sum(step.seconds or 0 for step in ran), len(progress.steps) - len(ran)
        steps = "1 step" if len(ran) == 1 else f"{len(ran)} steps"
        yield f"The run succeeded: {steps} ran, {cached} unchanged from cache, {duration(seconds)} in all."
    elif progress.state == "stopped":
        yield f"The run was stopped by somebody: {link}"
    else:
        names = ", ".join(step.name for step in failed)
        yield f"The run failed at {names}." if failed else "The run failed before any step did."
        for step in failed:
            yield f"  {step.name}: {step.error or progress.error or 'the server gives no reason; its log has it'}"
            yield f"    its log: {step.log or link}"
        if not failed:
            yield f"  {progress.error or f'the server gives no reason; see {link}'}"


def models(workdir: str, since: datetime.datetime | None) -> Iterator[str]:
    """The candidates and versions that a workdir has got since then; where to look, if it cannot be read here."""
    if not workdir:
        return
    import tensorflow as tf

    from components.registry.candidates import page_path
    from components.registry.history import history
    from components.registry.records import RegistryError
    from pipeline.versions.listing import table

    try:
        entries = history(workdir)
        made = [one for one in entries if not since or datetime.datetime.fromisoformat(one.when) >= since]
        pages = [page_path(workdir, one.candidate.id) for one in made if one.candidate]
        pages = [page for page in pages if tf.io.gfile.exists(page)]
    except (RegistryError, OSError, tf.errors.OpError) as error:
        yield f"What came of it cannot be read from here ({str(error).splitlines()[0]})."
        yield f"The review page is {page_path(workdir, '<id>')}; `vivit models list --workdir {workdir}` has the ids."
        return
    if not made:
        yield f"No new candidate: the newest model of {workdir} is {entries[0].id}, {entries[0].state}."
        return
    yield table(made)
    for page in pages:
        yield f"review page: {page}"
