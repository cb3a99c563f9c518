"""Which voices there are, on vectors whose groups are known."""

from __future__ import annotations

import numpy as np
import pytest

from whisper_core.speakers import clustering
from whisper_core.speakers.clustering import average_linkage, find_voices
from whisper_core.speakers.sound import Floats


def voices(*sizes: int, spread: float = 0.03, seed: int = 5) -> Floats:
    """Unit vectors around as many directions, which are far from each other."""
    generator = np.random.default_rng(seed)
    directions = np.linalg.qr(generator.normal(size=(192, len(sizes))))[0].T
    found = np.repeat(directions, sizes, 0) + generator.normal(0, spread, (sum(sizes), 192))
    found = found[generator.permutation(len(found))]
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def nearest_pair_merged(distances: np.ndarray, sizes: list[int], limit: float) -> list[int]:
    """Average linkage by its definition."""
    groups = [[number] for number in range(len(sizes))]
    weights = np.array(sizes, float)

    def between(one: list[int], other: list[int]) -> float:
        share = np.outer(weights[one], weights[other])
        return float((distances[np.ix_(one, other)] * share).sum() / share.sum())

    while len(groups) > 1:
        pairs = [(between(one, other), i, j) for i, one in enumerate(groups) for j, other in enumerate(groups) if i < j]
        least, i, j = min(pairs)
        if least >= limit:
            break
        groups[i] += groups.pop(j)
    return [min(next(group for group in groups if number in group)) for number in range(len(sizes))]


@pytest.mark.parametrize("limit", [0.2, 0.5, 0.8, 0.95, 2.0])
def test_average_linkage_is_that_of_the_definition(limit: float) -> None:
    generator = np.random.default_rng(int(limit * 100))
    points = generator.normal(size=(24, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    distances = (1 - points @ points.T).astype(np.float32)
    sizes = generator.integers(1, 9, 24)

    expected = nearest_pair_merged(distances.astype(float), sizes.tolist(), limit)

    assert average_linkage(distances.copy(), sizes, limit).tolist() == expected


def test_every_voice_is_found_once() -> None:
    assert len(find_voices(voices(40), None)) == 1
    assert len(find_voices(voices(40, 8, 100), None)) == 3


def test_a_few_odd_excerpts_are_no_voice_but_a_short_recording_has_one() -> None:
    assert len(find_voices(voices(40, 2, 30, 1), None)) == 2
    assert len(find_voices(voices(2, 1), None)) == 1
    assert len(find_voices(voices(1), None)) == 1


@pytest.mark.parametrize("number", [1, 2, 3, 4, 6])
def test_a_known_number_is_what_is_found(number: int) -> None:
    embeddings = voices(40, 12, 100, 7)
    expected = min(number, 4) if number <= 4 else number
    assert len(find_voices(embeddings, number)) <= expected
    if number <= 4:
        assert len(find_voices(embeddings, number)) == number


def test_a_long_recording_has_the_voices_of_its_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings = voices(120, 60, 90, 3)
    whole = find_voices(embeddings, None)
    monkeypatch.setattr(clustering, "BLOCK", 50)

    in_blocks = find_voices(embeddings, None)

    assert len(in_blocks) == len(whole) == 3
    assert (in_blocks @ whole.T).max(1).min() > 0.99


def test_excerpts_that_are_all_unlike_take_no_more_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more groups than can be compared at once, the largest are kept."""
    monkeypatch.setattr(clustering, "BLOCK", 20)
    embeddings = np.concatenate([voices(*[1] * 60), voices(*[1] * 60, seed=6), voices(30, seed=7)])
    assert len(find_voices(embeddings, None)) == 1
