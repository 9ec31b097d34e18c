"""The candidates of a workdir, what was decided about them, and how a reviewer names one."""

from __future__ import annotations

import datetime
import logging
import os
from collections.abc import Iterable

import tensorflow as tf

from components.registry.records import Candidate, Decision, RegistryError, read_record, write_record

_RECORD, _DECISION, _PAGE = "record.json", "decision.json", "review.html"
_ID_LENGTH = 12
_logger = logging.getLogger("vivit.registry")


def candidate_id(digest: str) -> str:
    """The id of a candidate: the first characters of its content's hash."""
    return digest[:_ID_LENGTH]


def now() -> str:
    """The time as records have it: ISO 8601, UTC, to the second."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def candidate_folder(workdir: str, candidate: str) -> str:
    """Folder of a candidate's record, decision and page."""
    return os.path.join(workdir, "candidates", candidate)


def page_path(workdir: str, candidate: str) -> str:
    """Where the review page of a candidate is, if it was made."""
    return os.path.join(candidate_folder(workdir, candidate), _PAGE)


def write_candidate(workdir: str, candidate: Candidate) -> None:
    """Writes the record of a candidate, in place of an earlier evaluation of the same model."""
    write_record(os.path.join(candidate_folder(workdir, candidate.id), _RECORD), candidate)


def candidates(workdir: str) -> list[Candidate]:
    """Candidates in the order in which they were evaluated. A record that cannot be read is left out, and logged."""
    folder = os.path.join(workdir, "candidates")
    names = tf.io.gfile.listdir(folder) if tf.io.gfile.isdir(folder) else []
    found = []
    for name in sorted(name.rstrip("/") for name in names):
        path = os.path.join(folder, name, _RECORD)
        # The page may be there first.
        if not tf.io.gfile.exists(path):
            continue
        try:
            found.append(read_record(Candidate, path))
        except RegistryError as error:
            _logger.warning("a candidate is left out: %s", error)
    return sorted(found, key=lambda candidate: candidate.made)


def find_candidate(workdir: str, name: str) -> Candidate:
    """A candidate by its id or the beginning of it.

    Raises:
      RegistryError: If there is none, or several; lists them.
    """
    by_id = {candidate.id: candidate for candidate in candidates(workdir)}
    return by_id[the_one(name, by_id, "candidate")]


def the_one(name: str, names: Iterable[str], what: str) -> str:
    """The name that is meant: the very one, or the only one that begins so.

    Raises:
      RegistryError: If there is none, or several; lists them.
    """
    names = list(names)
    found = [name] if name in names else [other for other in names if name and other.startswith(name)]
    if len(found) == 1:
        return found[0]
    if found:
        raise RegistryError(f"{what} {name!r} may be any of {', '.join(found)}")
    raise RegistryError(f"no {what} {name!r}; there is {', '.join(names) or 'none'}")


def decision_path(workdir: str, candidate: str) -> str:
    """The file of what was decided about a candidate."""
    return os.path.join(candidate_folder(workdir, candidate), _DECISION)


def write_decision(workdir: str, candidate: Candidate, decision: Decision) -> None:
    """Writes what was decided about a candidate."""
    write_record(decision_path(workdir, candidate.id), decision)


def read_decision(workdir: str, candidate: Candidate) -> Decision | None:
    """What was decided about a candidate as it was evaluated last; None where nobody has.

    Raises:
      RegistryError: If there is a decision that cannot be read.
    """
    path = decision_path(workdir, candidate.id)
    if not tf.io.gfile.exists(path):
        return None
    decision = read_record(Decision, path)
    return decision if decision.evaluation == candidate.made else None
