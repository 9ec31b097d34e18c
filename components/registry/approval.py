"""What people decide: a waiting candidate is approved or rejected, a version is brought back. And when they must.

Contract: only what the gate and the canary let pass, compared with what is in production now, goes out; nobody can
decide otherwise. What was rolled back does not go out again by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from components.registry.candidates import decision_path, find_candidate, now, read_decision, the_one, write_decision
from components.registry.push import alone, place, push
from components.registry.records import Candidate, Decision, RegistryError, Version
from components.registry.versions import PushedModel, production, pushed_folder, rolled_back_by, standing

ModelCard = Callable[[Candidate, Decision], str]


class Submitted(NamedTuple):
    """What became of a candidate that the pipeline submits.

    Attributes:
      version: Its version, if it is in production.
      why_not: Why it is not, in words; else empty.
      waits: Whether somebody may approve it.
    """

    version: PushedModel | None
    why_not: str = ""
    waits: bool = False


def submit(workdir: str, candidate: Candidate, *, model_card: str) -> Submitted:
    """Puts a candidate into production if it may go out and nobody has to approve it.

    Args:
      workdir: Folder (any URI) of the run.
      candidate: Its record.
      model_card: Markdown that travels with the model.

    Raises:
      RegistryError: If the SavedModel is not there, or is not what was evaluated.
    """
    pushed = pushed_folder(workdir)
    with alone(pushed):
        models = standing(pushed)
        if is_served(candidate, models) and not refusal(candidate):
            return Submitted(production(models))
        if reason := obstacle(candidate, models, read_decision(workdir, candidate)):
            return Submitted(None, reason)
        if reason := needs_approval(candidate, models):
            return Submitted(None, reason, waits=True)
        return Submitted(push(candidate, pushed, model_card=model_card))


def approve(workdir: str, name: str, *, who: str, why: str, model_card: ModelCard | None = None) -> PushedModel:
    """Puts a waiting candidate into production; returns its version.

    Args:
      workdir: Folder (any URI) of the run.
      name: Id of the candidate, or the beginning of it.
      who: Name of the reviewer.
      why: Reason.
      model_card: Makes the Markdown that travels with the model, if any.

    Raises:
      RegistryError: If there is no such candidate, it was decided about before, or it may not go out.
    """
    candidate = find_candidate(workdir, name)
    decision = _decision("approve", who, why, candidate)
    pushed = pushed_folder(workdir)
    with alone(pushed):
        models = standing(pushed)
        _check_undecided(workdir, candidate, models)
        if reason := obstacle(candidate, models, None):
            raise RegistryError(f"{candidate.id} cannot be approved: {reason}")
        card = model_card(candidate, decision) if model_card else ""
        version = push(candidate, pushed, decision=decision, model_card=card)
        write_decision(workdir, candidate, decision)
    return version


def reject(workdir: str, name: str, *, who: str, why: str) -> Candidate:
    """Keeps a waiting candidate from production; returns its record. Arguments as in `approve`.

    Raises:
      RegistryError: If there is no such candidate, it was decided about before, or it was refused anyway.
    """
    candidate = find_candidate(workdir, name)
    decision = _decision("reject", who, why, candidate)
    with alone(pushed_folder(workdir)):
        _check_undecided(workdir, candidate, standing(pushed_folder(workdir)))
        if reason := refusal(candidate):
            raise RegistryError(f"there is nothing to decide about {candidate.id}: {reason}")
        write_decision(workdir, candidate, decision)
    return candidate


def rollback(workdir: str, version: str = "", *, who: str, why: str) -> PushedModel:
    """Makes an older version the newest one, as a copy under a new number; returns it.

    Args:
      workdir: Folder (any URI) of the run.
      version: Its number, or the beginning of it. By default, the version that was in production before: not one that
        was rolled back, and no copy of what is in production.
      who: Name of the person.
      why: Reason.

    Raises:
      RegistryError: If there is no such version, none is older, or it is in production already.
    """
    decision = _decision("rollback", who, why)
    pushed = pushed_folder(workdir)
    with alone(pushed):
        models = standing(pushed)
        served = production(models)
        if not served:
            raise RegistryError(f"nothing is in production in {workdir}")
        if version:
            by_number = {model.version: model for model in models}
            target = by_number[the_one(version, by_number, "version")]
            if target.digest == served.digest:
                copy = "" if target is served else f", as version {served.version}"
                raise RegistryError(f"version {target.version} is in production already{copy}")
        else:
            target = production(models, besides=served.digest)
            if not target:
                raise RegistryError(f"there is nothing older than version {served.version} to roll back to")
        record = Version(
            version="",
            digest=target.digest,
            pushed=now(),
            how="rollback",
            rollback_of=target.version,
            decision=decision,
            candidate=target.record.candidate if target.record else None,
        )
        return place(target.path, pushed, record)


def is_served(candidate: Candidate, models: Sequence[PushedModel]) -> bool:
    """Whether the model of a candidate is in production, among all versions."""
    served = production(models)
    return served is not None and served.digest == candidate.digest


def refusal(candidate: Candidate) -> str:
    """Why gate or canary keep a candidate from production, in words; empty if they do not."""
    if not candidate.assessment.blessed:
        return f"the gate refused it: {'; '.join(candidate.assessment.reasons)}"
    return "" if candidate.canary.passed else f"it does not serve: {candidate.canary.detail}"


def obstacle(candidate: Candidate, models: Sequence[PushedModel], decision: Decision | None) -> str:
    """Why a candidate may not go into production now, in words; empty if it may.

    Args:
      candidate: Its record.
      models: All versions.
      decision: What was decided about it.
    """
    if reason := refusal(candidate):
        return reason
    if decision and decision.action == "reject":
        return f"{decision.who} rejected it: {decision.why}"
    compared, served = candidate.assessment.production, production(models, besides=candidate.digest)
    digests = {model.version: model.digest for model in models}
    # A rollback gives the same model another number.
    if served.version == compared or served.digest == digests.get(compared) if served else not compared:
        return ""
    was = f"compared with version {compared}" if compared else "evaluated when nothing was in production"
    is_now = f"version {served.version} is in production" if served else "that is not in production"
    return f"it was {was}, and now {is_now}; run the pipeline again, which compares it anew"


def needs_approval(candidate: Candidate, models: Sequence[PushedModel]) -> str:
    """Why a candidate waits until somebody approves it, in words; empty if the pipeline itself may push it.

    Args:
      candidate: Its record.
      models: All versions.
    """
    own = [model for model in models if model.digest == candidate.digest]
    if own and (over := rolled_back_by(models, own[-1])):
        by = over.record.decision if over.record else None
        return f"it was in production before, and was rolled back{f' by {by.who}: {by.why}' if by else ''}"
    return "the recipe requires it (push.approval)" if candidate.approval == "required" else ""


def _decision(action: str, who: str, why: str, candidate: Candidate | None = None) -> Decision:
    for name, text in (("who decides", who), ("why", why)):
        if not text.strip():
            raise RegistryError(f"say {name}: the record of a decision has a name and a reason")
    return Decision(action, who, why, now(), evaluation=candidate.made if candidate else "")


def _check_undecided(workdir: str, candidate: Candidate, models: Sequence[PushedModel]) -> None:
    if is_served(candidate, models):
        raise RegistryError(f"{candidate.id} is in production already, as version {production(models).version}")
    decided = read_decision(workdir, candidate)
    if decided:
        done = "approved" if decided.action == "approve" else "rejected"
        again = f"to decide again, remove {decision_path(workdir, candidate.id)}"
        raise RegistryError(f"{decided.who} {done} {candidate.id} on {decided.when}: {decided.why}; {again}")
