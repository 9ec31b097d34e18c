"""What became of every model of a workdir: one entry for each version, and for each candidate that is none."""

from __future__ import annotations

import dataclasses
import datetime
import os
from collections.abc import Sequence
from typing import Literal

import tensorflow as tf

from components.registry.approval import is_served, needs_approval, obstacle, refusal
from components.registry.candidates import candidates, read_decision, the_one
from components.registry.records import Candidate, Decision, RegistryError
from components.registry.versions import SAVED_MODEL, PushedModel, pushed_folder, rolled_back_by, standing

State = Literal[
    "in production", "was in production", "rolled back", "waiting for approval", "refused", "rejected", "out of date",
    "not pushed",
]  # fmt: skip
LATEST = "latest"


@dataclasses.dataclass(frozen=True)
class Entry:
    """A version, or a candidate that is none.

    Attributes:
      id: Number of the version, or id of the candidate.
      when: Time of the push or of the evaluation, ISO 8601 in UTC.
      state: What became of it.
      detail: Why, and who decided; may be empty.
      model: The version; None of a candidate.
      candidate: Its record; None of a version that was copied by hand and that no candidate equals.
      decision: Of a reviewer; None where nobody decided.
    """

    id: str
    when: str
    state: State
    detail: str
    model: PushedModel | None
    candidate: Candidate | None
    decision: Decision | None

    @property
    def model_uri(self) -> str:
        """Its SavedModel."""
        return self.model.path if self.model else self.candidate.model_uri


def history(workdir: str) -> list[Entry]:
    """Versions and candidates, the newest first; versions in the order of their numbers.

    Raises:
      RegistryError: If the workdir has neither.
    """
    models, evaluated = standing(pushed_folder(workdir)), candidates(workdir)
    if not models and not evaluated:
        raise RegistryError(f"no model in {workdir}: neither candidates/ nor pushed/ has one")
    entries = _versions(models, evaluated)
    shown = {(entry.candidate.id, entry.candidate.made) for entry in entries if entry.candidate}
    entries += [_candidate(workdir, one, models) for one in evaluated if (one.id, one.made) not in shown]
    return sorted(entries, key=lambda entry: entry.when, reverse=True)


def find(entries: Sequence[Entry], name: str) -> Entry:
    """The entry of a version or a candidate by its id or the beginning of it; "latest" is the newest one.

    Raises:
      RegistryError: If there is none, or several; lists them.
    """
    if name == LATEST:
        return entries[0]
    # A candidate that was pushed is found by its own id, too: the newest of its versions.
    by_id = {entry.candidate.id: entry for entry in reversed(entries) if entry.candidate}
    by_id.update({entry.id: entry for entry in entries})
    return by_id[the_one(name, by_id, "version or candidate")]


def _versions(models: Sequence[PushedModel], evaluated: Sequence[Candidate]) -> list[Entry]:
    by_digest = {candidate.digest: candidate for candidate in evaluated}
    entries, when = [], ""
    for model in models:
        record = model.record
        # A copy by hand may be older than its number says.
        when = max(when, record.pushed if record else _changed(model.path))
        if model is models[-1]:
            state, detail = "in production", _how(model)
        elif over := rolled_back_by(models, model):
            state, detail = "rolled back", f"by version {over.version}: {_how(over)}"
        else:
            state, detail = "was in production", _how(model)
        candidate = record.candidate if record else by_digest.get(model.digest)
        entries.append(Entry(model.version, when, state, detail, model, candidate, record.decision if record else None))
    # The newest first, as they are sorted by time alone.
    return entries[::-1]


def _candidate(workdir: str, candidate: Candidate, models: Sequence[PushedModel]) -> Entry:
    decision = read_decision(workdir, candidate)
    if refusal(candidate):
        state, detail = "refused", refusal(candidate)
    elif is_served(candidate, models):
        state, detail = "in production", f"as version {models[-1].version}, and evaluated again"
    elif decision and decision.action == "reject":
        state, detail = "rejected", f"by {decision.who}: {decision.why}"
    elif reason := obstacle(candidate, models, decision):
        state, detail = "out of date", reason
    elif decision:
        state, detail = "not pushed", f"approved by {decision.who}, but its version is gone"
    elif reason := needs_approval(candidate, models):
        state, detail = "waiting for approval", reason
    else:
        state, detail = "not pushed", "its run did not come to its end"
    return Entry(candidate.id, candidate.made, state, detail, None, candidate, decision)


def _how(model: PushedModel) -> str:
    if model.record is None:
        return "copied by hand"
    decision = model.record.decision
    by = f" by {decision.who}: {decision.why}" if decision else ""
    if model.record.how == "rollback":
        return f"rollback to version {model.record.rollback_of}{by}"
    return f"approved{by}" if by else "pushed by the pipeline"


def _changed(path: str) -> str:
    seconds = tf.io.gfile.stat(os.path.join(path, SAVED_MODEL)).mtime_nsec / 1e9
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).isoformat(timespec="seconds")
