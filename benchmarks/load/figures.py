"""What a row of the load table says: what was wanted, what was measured, and whether that is enough."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

UNKNOWN = "–"


class Verdict(Enum):
    IMPRESSIVE = "impressive"
    MUST = "must"
    SHORT = "**falls short**"
    NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Target:
    """As the load table has it. limit and aim: of the figure that decides, in its unit."""

    must: str
    impressive: str
    limit: float
    aim: float
    is_rate: bool = False  # True: more is better

    def verdict(self, figure: float) -> Verdict:
        """A figure that is not a number was not measured."""
        if math.isnan(figure):
            return Verdict.NOT_MEASURED
        sign = -1 if self.is_rate else 1
        if sign * figure <= sign * self.aim:
            return Verdict.IMPRESSIVE
        return Verdict.MUST if sign * figure <= sign * self.limit else Verdict.SHORT


@dataclass(frozen=True)
class Spread:
    """Milliseconds."""

    p50: float
    p95: float
    p99: float
    largest: float

    @classmethod
    def of(cls, times_ms: Sequence[float]) -> Spread | None:
        """None without times."""
        if not times_ms:
            return None
        ordered = sorted(times_ms)
        p50, p95, p99 = (percentile(ordered, share) for share in (0.5, 0.95, 0.99))
        return cls(p50, p95, p99, ordered[-1])


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest of the ordered figures that at least `share` of them do not exceed (nearest rank)."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


@dataclass(frozen=True)
class Usage:
    """What the server took meanwhile, its children included, except for threads."""

    cores: float  # processor seconds per second
    peak_bytes: int  # resident, of the web process
    grown_bytes: int  # the peak over what the web process had at the beginning
    threads: int  # of the web process at most


@dataclass(frozen=True)
class Row:
    """figure: what decides, in the target's unit; NaN when it could not be measured."""

    title: str
    target: Target
    figure: float
    measured: str  # in words
    times_ms: Sequence[float] = ()
    errors: int = 0
    usage: Usage | None = None
    notes: Sequence[str] = field(default=())

    @property
    def verdict(self) -> Verdict:
        return self.target.verdict(self.figure)

    def cells(self) -> list[str]:
        spread = Spread.of(self.times_ms)
        times = [UNKNOWN] * 4
        if spread is not None:
            times = [milliseconds(ms) for ms in (spread.p50, spread.p95, spread.p99, spread.largest)]
        usage = [UNKNOWN] * 2
        if self.usage is not None:
            usage = [f"{self.usage.cores:.2f}", f"{self.usage.peak_bytes / 2**20:.0f}"]
        wanted = [self.target.must, self.target.impressive]
        return [self.title, *wanted, self.measured, *times, str(self.errors), *usage, self.verdict.value]


HEADS = (
    "", "must", "impressive", "measured", "p50", "p95", "p99", "max, ms", "errors", "server CPU, cores", "RSS, MiB",
    "reached",
)  # fmt: skip


def milliseconds(ms: float) -> str:
    return f"{ms:.1f}" if ms < 100 else f"{ms:.0f}"
