"""The model card of a candidate, as Markdown, under the headings of Mitchell et al. (2019), "Model Cards".

Names of classes, slices and files are anybody's: what Markdown would take for markup in them is escaped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from components.evaluation.assessment import Figure, Scored
from components.evaluation.gate import in_words
from components.evaluation.statistics import Interval
from components.registry.records import Candidate, Decision

# How the metrics are called wherever a person reads them.
TITLES = {
    "top_1": "top-1",
    "top_5": "top-5",
    "macro_top_1": "top-1, mean over classes",
    "ece": "calibration error (ECE)",
    "adaptive_ece": "calibration error, bins of equally many clips",
    "loss": "loss",
    "centre_top_1": "top-1, centre view alone",
}
# The page fills it in too, with what the reviewer writes there.
REVIEW = "## Review\n\n- Decision: {action}\n- By: {who}\n- When: {when}\n\n{why}\n"
ACTIONS = {"approve": "approved", "reject": "rejected"}

_NOT_REVIEWED = "## Review\n\nNobody has reviewed it yet.\n"
# Markup of CommonMark and of GitHub (tables, bare links, mentions, formulas) wherever it stands, and what is markup at
# the start of a line. `plainMarkdown` in decision.js does the same.
_MARKUP = re.compile(r"[\\`*_\[\]<>|~&$@#]|:(?=\S)|(?<=[Ww]{3})\.|^[-+=]")
_NUMBERED = re.compile(r"^([0-9]+)([.)])")
_DIRECTIONS, _RIGHT_TO_LEFT = (
    re.compile("[\u202a-\u202e\u2066-\u2069]"),
    re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]"),
)
_ISOLATED = "\u2068{}\u2069"
_GROUPS = 20


def model_card(candidate: Candidate, decision: Decision | None) -> str:
    """The whole card; a decision of None leaves the review open."""
    return f"{card_without_review(candidate)}\n{review_section(decision)}"


def card_without_review(candidate: Candidate) -> str:
    """Every heading but the last."""
    return "\n".join(
        [
            f"# Model card: {plain(candidate.id)}\n",
            _section("Model Details", _details(candidate)),
            _section("Intended Use", _use(candidate)),
            _section("Factors", _factors(candidate)),
            _section("Metrics", _metrics(candidate)),
            _section("Evaluation Data", _evaluation_data(candidate)),
            _section("Training Data", _training_data(candidate)),
            _section("Quantitative Analyses", _analyses(candidate)),
            _section(
                "Ethical Considerations",
                [
                    "Videos show people. Whether they agreed to be shown, and what a wrong answer does to them, is not "
                    "in the data and must be judged by whoever deploys the model."
                ],
            ),
            _section("Caveats and Recommendations", _caveats(candidate)),
        ]
    )


def review_section(decision: Decision | None) -> str:
    """The last heading: what a reviewer decided."""
    if decision is None:
        return _NOT_REVIEWED
    return REVIEW.format(
        action=ACTIONS[decision.action],
        who=plain(decision.who),
        when=plain(decision.when),
        why="\n".join(f"> {plain(line)}".rstrip() for line in decision.why.splitlines()),
    )


def plain(text: str) -> str:
    """Text on one line that Markdown shows as it is, and that leaves the direction of the text around it alone."""
    text = " ".join(_DIRECTIONS.sub("", text).split())
    escaped = _NUMBERED.sub(r"\1\\\2", _MARKUP.sub(r"\\\g<0>", text))
    return _ISOLATED.format(escaped) if _RIGHT_TO_LEFT.search(text) else escaped


def _details(candidate: Candidate) -> Iterable[str]:
    training = candidate.training
    yield f"- Candidate: {plain(candidate.id)}"
    if candidate.label:
        yield f"- Label: {plain(candidate.label)}"
    yield f"- Evaluated: {plain(candidate.made)}"
    yield "- Architecture: ViViT (Arnab et al. 2021)"
    yield f"- SavedModel: {plain(candidate.model_uri)}"
    yield f"- Hash of its content: {plain(candidate.digest)}"
    yield f"- Recipe: {plain(training.recipe)}"
    yield f"- Training: {training.steps} steps in {training.seconds:.0f} s on {_listed(training.devices) or 'unknown'}"
    for key, (published, used) in training.changes.items():
        yield f"- Changed from the published recipe: {plain(key)} is {plain(used)}, not {plain(published)}"
    for name, version in training.versions.items():
        yield f"- {plain(name)}: {plain(version)}"


def _use(candidate: Candidate) -> Iterable[str]:
    heads = ", ".join(f"{plain(head)} ({count} classes)" for head, count in candidate.data.classes.items())
    yield f"- Classification of short video clips by {heads}."
    yield "- Out of scope: classes that are not listed; the model always names one of its own."


def _factors(candidate: Candidate) -> Iterable[str]:
    for scored in candidate.assessment.scored:
        columns = dict.fromkeys(group.column for group in scored.groups)
        if columns:
            yield f"- {plain(scored.name)} was evaluated by {_listed(columns)}."


def _metrics(candidate: Candidate) -> Iterable[str]:
    temporal, spatial = candidate.assessment.views
    yield f"- Averaged over {temporal} × {spatial} views (in time × in space) of each clip."
    for scored in candidate.assessment.scored if temporal * spatial > 1 else ():
        found = {figure.metric: figure.candidate for figure in scored.figures}
        # An older record may be without it.
        if one := found.get("centre_top_1"):
            yield (
                f"- Of {plain(scored.name)}, signature `frames_one_view`, which computes 1 of {temporal * spatial} "
                f"views, has top-1 {in_words(one)}, not {in_words(found['top_1'])}."
            )
    yield "- Intervals are of 95 % and let whole sources vary."
    yield "- Production and difference are of the clips whose class both models know."


def _evaluation_data(candidate: Candidate) -> Iterable[str]:
    yield f"- Split: {plain(candidate.assessment.split)}"
    for scored in candidate.assessment.scored:
        yield f"- {plain(scored.name)}: {scored.clips} clips of {scored.sources} sources"


def _training_data(candidate: Candidate) -> Iterable[str]:
    data = candidate.data
    yield f"- Source: {plain(data.source)}"
    yield f"- Hash of its clips: {plain(data.manifest_hash)}"
    for split, clips in data.clips.items():
        yield f"- {plain(split)}: {clips} clips"
    for reason, clips in data.lost.items():
        yield f"- In quarantine, {plain(reason)}: {clips} clips"


def _analyses(candidate: Candidate) -> Iterable[str]:
    assessment = candidate.assessment
    version = f"version {plain(assessment.production)}" if assessment.production else "production"
    yield f"{plain(assessment.sentence)}."
    for scored in assessment.scored:
        yield f"\n### {plain(scored.name)}\n"
        yield f"| metric | candidate | {version} | difference |"
        yield "|---|---|---|---|"
        yield from (_row(TITLES[figure.metric], figure) for figure in scored.figures)
        yield from _changed_groups(scored)


def _changed_groups(scored: Scored) -> Iterable[str]:
    changed = [group for group in scored.groups if group.significant]
    if not changed:
        return
    yield "\nSignificantly changed (McNemar's exact test, Holm's correction):\n"
    for group in sorted(changed, key=lambda group: group.top_1.difference.value)[:_GROUPS]:
        change = in_words(group.top_1.difference, signed=True)
        yield f"- {plain(group.column)} {plain(group.value)}: {group.significant}, {change}"
    if len(changed) > _GROUPS:
        yield f"- and {len(changed) - _GROUPS} more"


def _caveats(candidate: Candidate) -> Iterable[str]:
    assessment = candidate.assessment
    yield from (f"- Refused: {plain(reason)}" for reason in assessment.reasons)
    yield from (f"- {plain(note)}" for note in assessment.notes)
    canary = "proven to serve" if candidate.canary.passed else "not proven to serve"
    yield f"- The SavedModel is {canary}: {plain(candidate.canary.detail)}"


def _row(title: str, figure: Figure) -> str:
    cells = (_cell(figure.candidate), _cell(figure.production), _cell(figure.difference, signed=True))
    return f"| {title} | {' | '.join(cells)} |"


def _cell(interval: Interval | None, signed: bool = False) -> str:
    return in_words(interval, signed) if interval else "–"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(plain, names))


def _section(title: str, lines: Iterable[str]) -> str:
    return f"## {title}\n\n" + "\n".join(lines) + "\n"
