"""``vivit models``: the versions of a run, what waits for approval, and what people decide about them."""

from __future__ import annotations

import argparse
import getpass
import json

from pipeline.commands.arguments import Echo

HELP = "list, compare, approve, reject and roll back the versions of a run"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the actions, each with its arguments."""
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    for name, act, text in (
        ("list", _list, "versions and candidates, the newest first"),
        ("show", _show, "everything that is known of one"),
        ("diff", _diff, "how two of them differ"),
        ("approve", _approve, "put a waiting candidate into production"),
        ("reject", _reject, "keep a waiting candidate from production"),
        ("rollback", _rollback, "make an older version the newest one"),
    ):
        action = actions.add_parser(name, help=text, description=text)
        action.set_defaults(act=act)
        # Not `workdir`: to look at a run writes no log into it.
        action.add_argument("--workdir", dest="run", required=True, metavar="RUN", help="folder of the run")
        if name in ("list", "show"):
            action.add_argument("--json", action="store_true", help="as JSON")
        if name == "show":
            action.add_argument("id", metavar="VERSION|CANDIDATE|latest", help="id, or the beginning of it")
        if name == "diff":
            action.add_argument("ids", nargs=2, metavar="VERSION|CANDIDATE", help="id, or the beginning of it")
        if name in ("approve", "reject"):
            action.add_argument("id", metavar="CANDIDATE", help="id, or the beginning of it")
        if name == "rollback":
            action.add_argument(
                "version", nargs="?", default="", metavar="VERSION", help="default: the one in production before"
            )
        if name in ("approve", "reject", "rollback"):
            action.add_argument("--by", metavar="NAME", help="who decides (default: the login name)")
            action.add_argument("--why", metavar="TEXT", required=True, help="the reason, for those who come later")


def main(arguments: argparse.Namespace, echo: Echo) -> None:
    """Runs one action."""
    from components.registry.records import RegistryError
    from components.storage.folders import artifact_store_problem
    from pipeline.settings import ConfigError
    from pipeline.versions.listing import one_line

    if problem := artifact_store_problem(arguments.run):
        raise ConfigError(problem)
    try:
        arguments.act(arguments, echo)
    except RegistryError as error:
        # It may quote names and reasons.
        raise RegistryError(one_line(str(error))) from error


def _list(arguments: argparse.Namespace, echo: Echo) -> None:
    from components.registry.history import history
    from pipeline.versions import listing

    entries = history(arguments.run)
    echo(_json(listing.as_json(entries)) if arguments.json else listing.table(entries))


def _show(arguments: argparse.Namespace, echo: Echo) -> None:
    import tensorflow as tf

    from components.registry.candidates import page_path
    from components.registry.history import find, history
    from pipeline.versions import description

    entry = find(history(arguments.run), arguments.id)
    page = page_path(arguments.run, entry.candidate.id) if entry.candidate else ""
    page = page if page and tf.io.gfile.exists(page) else ""
    echo(_json(description.as_json(entry, page)) if arguments.json else description.description(entry, page))


def _diff(arguments: argparse.Namespace, echo: Echo) -> None:
    from components.registry.history import find, history
    from pipeline.versions.difference import difference

    entries = history(arguments.run)
    echo(difference(*(find(entries, name) for name in arguments.ids)))


def _approve(arguments: argparse.Namespace, echo: Echo) -> None:
    from components.registry.approval import approve
    from components.review.model_card import model_card

    version = approve(arguments.run, arguments.id, who=_who(arguments), why=arguments.why, model_card=model_card)
    echo(f"{version.record.candidate.id} is in production as version {version.version}: {version.path}")


def _reject(arguments: argparse.Namespace, echo: Echo) -> None:
    from components.registry.approval import reject

    candidate = reject(arguments.run, arguments.id, who=_who(arguments), why=arguments.why)
    echo(f"{candidate.id} is rejected; it stays out of production")


def _rollback(arguments: argparse.Namespace, echo: Echo) -> None:
    from components.registry.approval import rollback

    version = rollback(arguments.run, arguments.version, who=_who(arguments), why=arguments.why)
    echo(f"version {version.version} is in production, a copy of {version.record.rollback_of}: {version.path}")


def _who(arguments: argparse.Namespace) -> str:
    if arguments.by is not None:
        return arguments.by
    try:
        return getpass.getuser()
    except (KeyError, ImportError, OSError):
        # A container's user may have no name.
        return ""


def _json(values: object) -> str:
    return json.dumps(values, indent=1)
