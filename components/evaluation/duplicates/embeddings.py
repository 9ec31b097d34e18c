"""Clips whose embeddings are nearly the same, in one set or of one in another, by exact search.

Contract: similarity is the cosine of whitened embeddings. What many clips have in common, above all the directions
that tell the classes apart, would else make every two clips of one class near duplicates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

# Fewer clips do not tell what clips of a model have in common.
LEAST_CLIPS = 100
# Pairs that are kept, the surest; five hundred clips of one still picture alone are more.
MOST_PAIRS = 100_000
# Clips whose embeddings are multiplied with those of as many others at a time.
_BLOCK = 1024
# Directions that are looked at, for each clip: with as many as clips, all clips would be equally far from each other.
_DIRECTIONS = 1 / 3
# Share of the largest variance that a direction has at least: below it, an embedding's arithmetic is noise.
_NOISE = 1e-6
_PAIR = np.dtype([("clip", np.int64), ("of", np.int64), ("similarity", np.float32)])


class Similar(NamedTuple):
    """Pairs of similar clips, the surest first, of equal ones in the order of the clips.

    Attributes:
      clip: int64 [P].
      of: int64 [P], index into what is searched; within one set an earlier clip.
      similarity: float32 [P].
      count: Pairs that there are; above P only where P is `MOST_PAIRS`.
      clusters: One set's clips by the cluster that they are in, int64 [N], which counts all pairs; None for two sets.
    """

    clip: np.ndarray
    of: np.ndarray
    similarity: np.ndarray
    count: int
    clusters: np.ndarray | None


def whiten(sets: Sequence[np.ndarray]) -> None:
    """Centres embeddings and gives their strongest directions one variance, over all sets; then each unit length.

    PCA whitening as in Jégou and Chum, "Negative evidences and co-occurrences in image retrieval" (2012).

    Args:
      sets: float32 [N, D] each, of any length; overwritten. What is zero, or not finite, becomes zero: it is similar
        to nothing.

    Raises:
      ValueError: If fewer than `LEAST_CLIPS` are left, or all are equal.
    """
    for part in _parts(sets):
        part[~np.isfinite(part).all(axis=1)] = 0
        _to_unit_length(part)
    width = sets[0].shape[1]
    total, products, count = np.zeros(width), np.zeros((width, width)), 0
    for part in _parts(sets):
        exact = part.astype(np.float64)
        total, products, count = total + exact.sum(axis=0), products + exact.T @ exact, count + int(part.any(1).sum())
    if count < LEAST_CLIPS:
        raise ValueError(f"{count} clips have an embedding; {LEAST_CLIPS} or more are needed to compare them")
    mean = total / count
    variances, directions = np.linalg.eigh(products / count - np.outer(mean, mean))
    if variances[-1] < np.finfo(np.float32).eps:
        raise ValueError("all clips have the same embedding")
    strongest = min(width, int(_DIRECTIONS * count))
    scales = 1 / np.sqrt(np.maximum(variances, _NOISE * variances[-1]))
    scales[: width - strongest] = 0
    whitening = (directions * scales).astype(np.float32)
    for part in _parts(sets):
        part[:] = np.where(part.any(axis=1, keepdims=True), (part - mean.astype(np.float32)) @ whitening, 0)
        _to_unit_length(part)


def find_similar(clips: np.ndarray, of: np.ndarray | None = None, *, least: float) -> Similar:
    """Finds the pairs of clips whose similarity is `least` or more.

    Compares all, block by block: N * M * D multiplications, half of them within one set. Beside the embeddings, 307 MB
    for 100,000 clips of D = 768, it takes 100 MB at most, whatever N and M are, and even if all clips are alike.

    Args:
      clips: From `whiten`, float32 [N, D].
      of: The clips that are searched, float32 [M, D]; None for `clips` themselves, each pair once.
      least: Least similarity, above 0.
    """
    parts, count = [], 0
    clusters = np.arange(len(clips)) if of is None else None
    for pairs in _blocks(clips, of, least):
        count += len(pairs)
        parts.append(pairs)
        if sum(map(len, parts)) > 2 * MOST_PAIRS:
            parts = [_surest(parts)]
        if clusters is not None:
            clusters = _joined(clusters, pairs)
    found = _surest(parts)
    return Similar(found["clip"], found["of"], found["similarity"], count, clusters)


def _blocks(clips: np.ndarray, of: np.ndarray | None, least: float) -> Iterator[np.ndarray]:
    """Yields the pairs of each two blocks that have some."""
    searched = clips if of is None else of
    for start in range(0, len(clips), _BLOCK):
        for other in range(0, start + 1 if of is None else len(searched), _BLOCK):
            similarity = clips[start : start + _BLOCK] @ searched[other : other + _BLOCK].T
            alike = similarity >= least
            if of is None and start == other:
                alike = np.tril(alike, -1)
            rows, columns = np.nonzero(alike)
            if len(rows):
                pairs = np.empty(len(rows), _PAIR)
                pairs["clip"], pairs["of"] = rows + start, columns + other
                pairs["similarity"] = np.minimum(similarity[rows, columns], 1)
                yield pairs


def _surest(parts: Sequence[np.ndarray]) -> np.ndarray:
    pairs = np.concatenate([np.empty(0, _PAIR), *parts])
    return pairs[np.lexsort((pairs["of"], pairs["clip"], -pairs["similarity"]))[:MOST_PAIRS]]


def _joined(clusters: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Clusters once the clips of pairs are in one."""
    edges = clusters[pairs["clip"]], clusters[pairs["of"]]
    graph = coo_array((np.ones(len(pairs), bool), edges), shape=(len(clusters), len(clusters)))
    return connected_components(graph, directed=False)[1].astype(np.int64)[clusters]


def _parts(sets: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    """Views of a block of clips each, to read or to overwrite."""
    return (one[start : start + _BLOCK] for one in sets for start in range(0, len(one), _BLOCK))


def _to_unit_length(part: np.ndarray) -> None:
    # The largest value first: the square of a large float32 is infinite.
    part /= np.maximum(np.abs(part).max(axis=1, keepdims=True), np.finfo(np.float32).tiny)
    part /= np.maximum(np.linalg.norm(part, axis=1, keepdims=True), np.finfo(np.float32).tiny)
