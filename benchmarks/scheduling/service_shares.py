"""Who got how much of the devices while there was not enough for all, beside an equal share."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable


class ServiceShares:
    """Work that was begun for each owner while tasks had to wait, and what an equal share of it would have been.

    An owner is entitled to a share only while tasks of its own wait: of each piece of work that begins, one part in as
    many as there are such owners.
    """

    def __init__(self) -> None:
        self._waiting: Counter[str] = Counter()  # tasks of each owner that wait
        self._level = 0.0  # what an owner would be entitled to that had waited from the beginning
        self._since: dict[str, float] = {}  # the level at which each owner's tasks began to wait
        self._entitled: defaultdict[str, float] = defaultdict(float)  # seconds of work, as the next one
        self._received: defaultdict[str, float] = defaultdict(float)

    def wait(self, owner: str) -> None:
        self._waiting[owner] += 1
        self._since.setdefault(owner, self._level)

    def start(self, owner: str, work_seconds: float, *, is_contended: bool) -> None:
        """A waiting task of the owner starts. is_contended: whether the round before had left tasks waiting."""
        if is_contended:
            self._level += work_seconds / len(self._since)
            self._received[owner] += work_seconds
        self._waiting[owner] -= 1
        if not self._waiting[owner]:
            self._entitled[owner] += self._level - self._since.pop(owner)

    def ratios(self, least_entitled_s: float) -> dict[str, float]:
        """What each owner received, as a multiple of what it was entitled to. least_entitled_s: seconds of work; owners
        who were entitled to less are left out, because a single task would decide about their ratio."""
        return {
            owner: self._received[owner] / entitled
            for owner, entitled in self._entitled.items()
            if entitled >= least_entitled_s
        }


def jain_index(figures: Iterable[float]) -> float:
    """1 when all are equal, 1/n when one has everything; 1 for none."""
    values = list(figures)
    squares = sum(value * value for value in values)
    return sum(values) ** 2 / (len(values) * squares) if squares else 1.0
