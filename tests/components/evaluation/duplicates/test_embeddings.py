"""Similar embeddings: copies are found among clips of one class, exactly, whatever the blocks and in little memory."""

import tracemalloc

import numpy as np
import pytest

from components.evaluation.duplicates import embeddings as module
from components.evaluation.duplicates.embeddings import MOST_PAIRS, find_similar, whiten


def embeddings(count, width=32, seed=0):
    """Clips of 4 classes, which the first directions tell apart, and almost nothing else, as a trained network's do."""
    rng = np.random.default_rng(seed)
    spread = np.where(np.arange(width) < 4, 1, 0.05)
    of_class = 10 * np.eye(4, width)[rng.integers(4, size=count)]
    return (of_class + spread * rng.normal(size=(count, width))).astype(np.float32)


def copies(of, rng):
    return (of + rng.normal(scale=0.002, size=of.shape)).astype(np.float32)


def whitened(*sets):
    sets = [one.copy() for one in sets]
    whiten(sets)
    return sets


def pairs(found):
    return set(zip(found.clip.tolist(), found.of.tolist(), strict=True))


def test_copies_are_found_though_all_clips_of_a_class_have_a_cosine_of_nearly_one():
    clips = embeddings(500)
    clips[400:] = copies(clips[:100], np.random.default_rng(1))
    unit = clips / np.linalg.norm(clips, axis=1, keepdims=True)
    assert ((unit @ unit.T) > 0.95).mean() > 0.2
    found = find_similar(*whitened(clips), least=0.95)
    assert pairs(found) == {(400 + number, number) for number in range(100)}
    assert found.count == 100 and np.bincount(np.bincount(found.clusters)).tolist() == [0, 300, 100]


def test_blocks_find_what_one_product_of_all_finds(monkeypatch):
    monkeypatch.setattr(module, "_BLOCK", 100)
    clips, of = whitened(embeddings(330), embeddings(250, seed=1))
    least = 0.4
    everything = {tuple(pair) for pair in np.argwhere(clips @ of.T >= least).tolist()}
    found = find_similar(clips, of, least=least)
    assert pairs(found) == everything and found.clusters is None
    np.testing.assert_allclose(found.similarity, (clips[found.clip] * of[found.of]).sum(axis=1), atol=1e-6)
    assert (np.diff(found.similarity) <= 0).all()
    within = {(row, column) for row, column in np.argwhere(clips @ clips.T >= least).tolist() if row > column}
    assert pairs(find_similar(clips, least=least)) == within and len(within) > 100


def test_whitening_does_not_depend_on_blocks_sets_or_lengths(monkeypatch):
    clips = embeddings(300)
    (whole,) = whitened(clips)
    monkeypatch.setattr(module, "_BLOCK", 70)
    scaled = clips * np.random.default_rng(0).choice([1e-20, 1, 1e30], size=(300, 1)).astype(np.float32)
    for parts in (np.split(clips, [100]), np.split(scaled, [100])):
        # Directions are found up to their sign.
        found = np.concatenate(whitened(*parts))
        np.testing.assert_allclose(found @ found.T, whole @ whole.T, atol=2e-3)
    np.testing.assert_allclose(np.linalg.norm(whole, axis=1), 1, atol=1e-6)


def test_what_is_zero_or_not_finite_is_similar_to_nothing_and_changes_nothing():
    clips = embeddings(200)
    clips[199] = clips[0]
    broken = np.zeros((6, 32), np.float32)
    broken[2:4, 3], broken[4:, 5] = np.nan, np.inf
    found = find_similar(*whitened(np.concatenate([clips, broken])), least=0.95)
    assert pairs(found) == {(199, 0)}
    whole, (part,) = whitened(np.concatenate([clips, broken]))[0], whitened(clips)
    np.testing.assert_allclose(whole[:200] @ whole.T[:, :200], part @ part.T, atol=1e-4)


def test_of_more_pairs_than_are_kept_all_are_counted_and_all_their_clips_clustered(monkeypatch):
    monkeypatch.setattr(module, "MOST_PAIRS", 1000)
    monkeypatch.setattr(module, "_BLOCK", 64)
    clips = embeddings(400)
    clips[100:300:2] = clips[100]
    found = find_similar(*whitened(clips), least=0.95)
    assert (found.count, len(found.clip)) == (100 * 99 // 2, 1000) and MOST_PAIRS > 1000
    assert sorted(np.bincount(found.clusters).tolist())[-2:] == [1, 100]
    # Of equal ones, those that come first.
    assert (found.clip[0], found.of[0]) == (102, 100)


def test_memory_does_not_grow_with_the_square_of_the_clips():
    (clips,) = whitened(embeddings(12_000))
    tracemalloc.start()
    try:
        find_similar(clips, least=0.9)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # All similarities at a time would be 576 MB.
    assert peak < 100e6


def test_too_few_clips_and_clips_that_are_all_equal_are_refused():
    with pytest.raises(ValueError, match="99 clips have an embedding; 100 or more are needed"):
        whiten([embeddings(99), np.zeros((10, 32), np.float32)])
    with pytest.raises(ValueError, match="all clips have the same embedding"):
        whiten([np.tile(embeddings(1), (200, 1))])
