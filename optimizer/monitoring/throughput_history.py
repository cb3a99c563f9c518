"""How much got done with each point of settings that was in force lately."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, variance

from optimizer.monitoring.tuning import Observation, Point

LEAST_NOISE = 0.02  # of one sample, as a fraction; a few that happen to agree do not make it less
EARLY_SAMPLES = 5  # the fewest that a result may rest on
ALL_SAMPLES = 20  # as many as are kept of one point
REMEMBERED_SAMPLES = 240  # older ones no longer describe the present
SAME_MIX = 0.3  # two summaries whose models' shares differ by more, 0 to 1, are of different work


@dataclass(frozen=True)
class ThroughputSummary:
    """Several samples of one point taken together."""

    count: int
    work: float  # mean, as in Observation
    error: float  # standard error of `work`
    throughput: float  # mean
    mix: Mapping[str, float]  # mean

    @classmethod
    def of(cls, seen: Sequence[Observation]) -> ThroughputSummary:
        """Of at least one."""
        works = [each.work for each in seen]
        work = fmean(works)
        noise = max(variance(works) if len(works) > 1 else 0.0, (LEAST_NOISE * work) ** 2)
        models = {model for each in seen for model in each.mix}
        return cls(
            count=len(seen),
            work=work,
            error=sqrt(noise / len(seen)),
            throughput=fmean(each.throughput for each in seen),
            mix={model: fmean(each.mix.get(model, 0.0) for each in seen) for model in models},
        )

    def gain_over(self, other: ThroughputSummary) -> tuple[float, float]:
        """How much more work got done, as a fraction, and the standard error of that."""
        return self.work / other.work - 1, sqrt(self.error**2 + other.error**2) / other.work

    def is_other_work_than(self, other: ThroughputSummary) -> bool:
        """Whether other models ran, so that the two cannot be compared."""
        models = {*self.mix, *other.mix}
        return sum(abs(self.mix.get(model, 0.0) - other.mix.get(model, 0.0)) for model in models) / 2 > SAME_MIX


@dataclass(frozen=True)
class _Entry:
    number: int
    seen: Observation


class ThroughputHistory:
    """The latest samples of each point. Samples are numbered by the caller, upwards."""

    def __init__(self) -> None:
        self._by_point: dict[Point, deque[_Entry]] = {}

    def __iter__(self) -> Iterator[Point]:
        return iter(self._by_point)

    def add(self, number: int, point: Point, seen: Observation) -> None:
        """Also drops what has become too old."""
        self._by_point.setdefault(point, deque(maxlen=ALL_SAMPLES)).append(_Entry(number, seen))
        oldest = number - REMEMBERED_SAMPLES
        for each, entries in list(self._by_point.items()):
            while entries and entries[0].number < oldest:
                entries.popleft()
            if not entries:
                del self._by_point[each]

    def summary(self, point: Point, since: int = 0) -> ThroughputSummary | None:
        """Of the samples after number `since`; None when they are too few to say anything."""
        seen = [entry.seen for entry in self._by_point.get(point, ()) if entry.number > since]
        return ThroughputSummary.of(seen) if len(seen) >= EARLY_SAMPLES - 1 else None

    def best(self, like: ThroughputSummary, besides: Point) -> ThroughputSummary:
        """The point with the most work done, of those with the same mix of models; `like` itself if none did better."""
        known = [self.summary(point) for point in self if point != besides]
        same = [
            each
            for each in known
            if each is not None and each.count >= EARLY_SAMPLES and not each.is_other_work_than(like)
        ]
        return max([like, *same], key=lambda each: each.work)
