"""Which voices there are: embeddings grouped by average linkage of their cosine distance.

The mean cosine between two groups of unit vectors is the product of their means, so groups can be grouped further
exactly as their members would be. Long recordings are therefore grouped in blocks, and memory stays flat.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from whisper_core.speakers.sound import Floats

Counts = npt.NDArray[np.int64]

SAME_VOICE = 0.67  # cosine distance up to which excerpts are grouped; of one person 0.4 to 0.6, of two 0.75 or more
SAME_CENTROID = 0.80  # cosine similarity from which two groups are one voice
BLOCK = 3000  # embeddings or groups that are compared with each other at once: 36 MB

_FEWEST_EXCERPTS = 4  # of a voice: 3 s. Smaller groups are noise, laughter, or two people at once
_STRICTER = (0.67, 0.60, 0.55, 0.50, 0.45, 0.40, 0.35, 0.30, 0.25, 0.20)  # distances tried when the number is known


@dataclass(frozen=True)
class Groups:
    """means: float32 (groups, 192), shorter than 1 the more a group's members differ. sizes: how many these are."""

    means: Floats
    sizes: Counts

    def __len__(self) -> int:
        return len(self.sizes)

    def chosen(self, which: npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> Groups:
        return Groups(self.means[which], self.sizes[which])


def find_voices(embeddings: Floats, num_speakers: int | None) -> Floats:
    """Float32 (voices, 192): what each voice is like, of length 1. At least one voice.

    embeddings: (excerpts, 192), each of length 1, at least one. With num_speakers, as many if they can be told apart.
    """
    if num_speakers is None:
        return _directions(_alike_merged(_large_enough(_grouped(embeddings, SAME_VOICE))))
    best: Groups | None = None
    for groups in _ever_finer(embeddings):
        if best is None or len(groups) > len(best):
            best = groups
        if len(best) >= num_speakers:
            break
    assert best is not None  # noqa: S101 - there is at least one distance to try
    return _directions(_merged_down_to(best, num_speakers))


def _ever_finer(embeddings: Floats) -> Iterator[Groups]:
    for distance in _STRICTER:
        yield _large_enough(_grouped(embeddings, distance))
    yield _grouped(embeddings, _STRICTER[0])  # short recordings: any group is a voice


def _grouped(embeddings: Floats, distance: float) -> Groups:
    found = [
        _joined(Groups(part, np.ones(len(part), np.int64)), distance)
        for part in (embeddings[first : first + BLOCK] for first in range(0, len(embeddings), BLOCK))
    ]
    groups = Groups(np.concatenate([each.means for each in found]), np.concatenate([each.sizes for each in found]))
    if len(groups) > BLOCK:
        groups = groups.chosen(np.sort(np.argsort(-groups.sizes, kind="stable")[:BLOCK]))
    return _joined(groups, distance) if len(found) > 1 else groups


def _joined(groups: Groups, distance: float) -> Groups:
    """Those nearer to each other than `distance`, on average over their members, as one; in order of their first."""
    labels = average_linkage(1.0 - groups.means @ groups.means.T, groups.sizes, distance)
    _, numbers = np.unique(labels, return_inverse=True)
    sizes = np.bincount(numbers, groups.sizes).astype(np.int64)
    sums = np.zeros((len(sizes), groups.means.shape[1]))
    np.add.at(sums, numbers, groups.means * groups.sizes[:, None])
    return Groups((sums / sizes[:, None]).astype(np.float32), sizes)


def average_linkage(distances: Floats, sizes: Counts, limit: float) -> npt.NDArray[np.intp]:
    """For each of n things the first of those in its group.

    distances: float32 (n, n), symmetric; overwritten. sizes: how many members a thing stands for.
    Follows nearest neighbours until two are each other's, which is as good as merging the nearest pair each time.
    """
    count = len(distances)
    weights = sizes.astype(np.float32)
    np.fill_diagonal(distances, np.inf)
    first_of = np.arange(count)
    chain: list[int] = []
    is_open = np.ones(count, bool)
    for _ in range(count - 1):
        if not chain:
            chain.append(int(is_open.argmax()))
        while True:
            row = distances[chain[-1]]
            nearest = int(row.argmin())
            if len(chain) > 1 and row[chain[-2]] <= row[nearest]:
                break
            chain.append(nearest)
        one, other = sorted((chain.pop(), chain.pop()))
        if distances[one, other] < limit:
            first_of[other] = one
        _merge(distances, weights, one, other)
        is_open[other] = False
    return _roots(first_of)


def _merge(distances: Floats, weights: Floats, kept: int, gone: int) -> None:
    total = weights[kept] + weights[gone]
    row = (weights[kept] * distances[kept] + weights[gone] * distances[gone]) / total
    row[[kept, gone]] = np.inf
    weights[kept] = total
    distances[kept] = row
    distances[:, kept] = row
    distances[gone] = np.inf
    distances[:, gone] = np.inf


def _roots(first_of: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Each refers to an earlier one, or to itself."""
    for number, first in enumerate(first_of):
        first_of[number] = first_of[first]
    return first_of


def _large_enough(groups: Groups) -> Groups:
    """All that are large enough to be a voice; the largest if none is."""
    large = groups.sizes >= _FEWEST_EXCERPTS
    if not large.any():
        large[groups.sizes.argmax()] = True
    return groups.chosen(large)


def _alike_merged(groups: Groups) -> Groups:
    while len(groups) > 1:
        one, other, similarity = _nearest(groups)
        if similarity < SAME_CENTROID:
            break
        groups = _pair_merged(groups, one, other)
    return groups


def _merged_down_to(groups: Groups, count: int) -> Groups:
    while len(groups) > count:
        one, other, _ = _nearest(groups)
        groups = _pair_merged(groups, one, other)
    return groups


def _nearest(groups: Groups) -> tuple[int, int, float]:
    """The two whose centroids are nearest, and the cosine between them."""
    directions = _directions(groups)
    similarity = directions @ directions.T
    np.fill_diagonal(similarity, -np.inf)
    one, other = divmod(int(similarity.argmax()), len(groups))
    return one, other, float(similarity[one, other])


def _pair_merged(groups: Groups, one: int, other: int) -> Groups:
    kept, gone = sorted((one, other))
    total = groups.sizes[kept] + groups.sizes[gone]
    means, sizes = groups.means.copy(), groups.sizes.copy()
    means[kept] = (means[kept] * sizes[kept] + means[gone] * sizes[gone]) / total
    sizes[kept] = total
    return Groups(np.delete(means, gone, 0), np.delete(sizes, gone))


def _directions(groups: Groups) -> Floats:
    lengths = np.linalg.norm(groups.means, axis=1, keepdims=True)
    directions: Floats = (groups.means / np.maximum(lengths, 1e-6)).astype(np.float32)
    return directions
