"""Names of classes that a reader, or a network that sees mirrored clips, may take for one another; pure functions."""

from __future__ import annotations

import collections
import itertools
import re
import unicodedata
from collections.abc import Iterable, Mapping

from components.manifest.columns import is_one_mistake

# Of more classes not all pairs are compared.
_MOST_COMPARED = 1000
# A mistake in typing is rare: at most one clip in so many.
_MISTAKEN_SHARE = 10
_SHORTEST_MISTAKEN = 5
_WORD = re.compile(r"[^\W\d_]+")
_SIDE = re.compile(
    r"(?:turn|swipe|move|go|look|lean|slide|push|pull|pan|roll|rotate|step|wave|tilt|shift|hand|arm|leg|foot)?"
    r"(left|right)(?:wards?|most|side|hand|handed|turn)?"
)
_ANTICLOCKWISE = re.compile(r"(?:anti|counter|contra)[\W_]*clockwise|\b[ac]cw\b")
_CLOCKWISE = re.compile(r"clockwise|\bcw\b")


def nearly_equal(names: Iterable[str]) -> list[list[str]]:
    """Groups of names that differ in case, in blanks and signs between words, or in Unicode form only."""
    alike = collections.defaultdict(list)
    for name in sorted(names):
        plain = unicodedata.normalize("NFKC", name).casefold().strip()
        alike[re.sub(r"(?<=\w)[\s_-]+(?=\w)", " ", plain.replace("_", " "))].append(name)
    return [group for group in alike.values() if len(group) > 1]


def mistyped(counts: Mapping[str, int]) -> list[tuple[str, str]]:
    """Pairs of a rare name and a common one, which differ in one letter; `counts` has the clips of each."""
    if len(counts) > _MOST_COMPARED:
        return []
    pairs = []
    for one, other in itertools.combinations(sorted(counts), 2):
        rare, common = sorted((one, other), key=lambda name: counts[name])
        is_rare = counts[rare] * _MISTAKEN_SHARE <= counts[common]
        is_long = min(len(one), len(other)) >= _SHORTEST_MISTAKEN
        if is_rare and is_long and not re.search(r"\d", one + other) and is_one_mistake(one.lower(), other.lower()):
            pairs.append((rare, common))
    return pairs


def mirrored(names: Iterable[str]) -> list[str]:
    """Names that a horizontal flip may turn into each other: those of both sides, or of both senses of rotation."""
    sides = {name: _sides(name) for name in names}
    found = []
    for pair in (("left", "right"), ("anticlockwise", "clockwise")):
        of_pair = [name for name in sorted(sides) if sides[name] & set(pair)]
        if len(of_pair) > 1 and set().union(*(sides[name] for name in of_pair)) >= set(pair):
            found += of_pair
    return found


def _sides(name: str) -> set[str]:
    """The sides and senses of rotation that a name states."""
    # turnLeft and turn_left are two words.
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).replace("_", " ").lower()
    sides = {side[1] for word in _WORD.findall(text) if (side := _SIDE.fullmatch(word))}
    if _ANTICLOCKWISE.search(text):
        sides.add("anticlockwise")
    if _CLOCKWISE.search(_ANTICLOCKWISE.sub("", text)):
        sides.add("clockwise")
    return sides
