"""The monitor's samples of a week, thinned with age: all of the last hour, then one per 2 minutes, after a day per 15.

Merging keeps what a plot is read for: rates and numbers of tasks are averaged over the time that each sample stands
for, counts are added, and of memory the peak stays.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from typing import Any

from sqlalchemy import delete, insert, select

from optimizer.common.clock import Clock
from optimizer.storage.database import Database
from optimizer.storage.mapping import Row
from optimizer.storage.schema import samples

log = logging.getLogger(__name__)

HOUR_S, DAY_S = 3600.0, 86400.0
KEPT_FOR_S = 7 * DAY_S
THINNING = ((HOUR_S, 120.0), (DAY_S, 900.0))  # from that age on, seconds that one sample stands for
THIN_EVERY_S = 600.0
MAX_POINTS = 1500  # of one answer


@dataclass(frozen=True)
class DeviceSample:
    """Bytes of one device's memory; see PoolSnapshot."""

    total: int
    headroom: int
    reserved: int
    used: int
    others: int
    models: dict[str, int] = field(default_factory=dict)  # reserved for each resident model


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What went on during the `span_seconds` before `at`."""

    at: float  # seconds since 1970
    span_seconds: float
    throughput: float  # seconds of sound transcribed per second, on all devices
    running: float  # tasks, on average
    waiting: float
    retrying: float
    started: int  # tasks that began their first attempt
    completed: int
    failed: int
    mean_wait_seconds: float | None  # of the tasks that started; None when there were none
    p95_wait_seconds: float | None
    occupancy: float  # running tasks as a fraction of those that limits and slots allow, 0 to 1
    devices: dict[str, DeviceSample]  # by device
    speeds: dict[str, dict[str, float]]  # seconds of sound that one task got done per second, by device and model

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Sample:
        """Raises KeyError, TypeError or ValueError when the document is not a sample."""
        devices = {name: DeviceSample(**device) for name, device in document["devices"].items()}
        return cls(**{**document, "devices": devices})


def merged(parts: Sequence[Sample]) -> Sample:
    """One sample that stands for all of these. parts: at least one, in order of time."""
    if len(parts) == 1:
        return parts[0]
    started = sum(part.started for part in parts)
    waits = [(part.mean_wait_seconds, part.started) for part in parts if part.mean_wait_seconds is not None]
    return Sample(
        at=parts[-1].at,
        span_seconds=sum(part.span_seconds for part in parts),
        throughput=_over_time(parts, lambda part: part.throughput),
        running=_over_time(parts, lambda part: part.running),
        waiting=_over_time(parts, lambda part: part.waiting),
        retrying=_over_time(parts, lambda part: part.retrying),
        started=started,
        completed=sum(part.completed for part in parts),
        failed=sum(part.failed for part in parts),
        mean_wait_seconds=sum(wait * count for wait, count in waits) / started if waits and started else None,
        # The single waits are not kept, so the worst of the percentiles has to do.
        p95_wait_seconds=max(
            (part.p95_wait_seconds for part in parts if part.p95_wait_seconds is not None), default=None
        ),
        occupancy=_over_time(parts, lambda part: part.occupancy),
        devices=_merged_devices(parts),
        speeds=_merged_speeds(parts),
    )


def bucketed(parts: Iterable[Sample], width_s: float) -> list[Sample]:
    """At most one sample for each `width_s` seconds. parts: in order of time."""
    return [merged(list(bucket)) for _, bucket in groupby(parts, key=lambda part: part.at // width_s)]


def thinned(parts: Sequence[Sample], now: float) -> list[Sample]:
    """What to keep of `parts`, which are in order of time. now: seconds since 1970."""
    kept: list[Sample] = []
    for width_s, group in groupby(parts, key=lambda part: _width_s(part.at, now)):
        of_one_age = list(group)
        if width_s is not None:
            kept += bucketed(of_one_age, width_s) if width_s else of_one_age
    return kept


def _width_s(at: float, now: float) -> float | None:
    """Seconds that a sample of that age is merged to: 0 leaves it as it is, None drops it.

    Whole buckets change together, so that none is merged while samples are still added to it.
    """
    if now - at > KEPT_FOR_S:
        return None
    widths = [width for age, width in THINNING if (at // width + 1) * width <= now - age]
    return max(widths, default=0.0)


class SampleStore:
    """`add` from one thread; `read` from any."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._thinned_at: float | None = None

    def add(self, sample: Sample) -> None:
        """Stores it and, now and then, thins out older ones.

        Raises StoreBusyError, DiskFullError, DatabaseDamagedError.
        """
        with self._database.writing() as connection:
            # The wall clock may have been set back to a moment that already has a sample.
            connection.execute(delete(samples).where(samples.c.at == sample.at))
            connection.execute(insert(samples).values(_row(sample)))
        now = self._clock.monotonic()
        if self._thinned_at is None or now - self._thinned_at >= THIN_EVERY_S:
            self._thinned_at = now
            self._thin(sample.at)

    def read(self, hours: float) -> list[Sample]:
        """The samples of that many last hours, oldest first, MAX_POINTS at most.

        Raises StoreBusyError, DatabaseDamagedError.
        """
        now = self._clock.now().timestamp()
        found = self._between(now - hours * HOUR_S, None)
        return found if len(found) <= MAX_POINTS else bucketed(found, hours * HOUR_S / (MAX_POINTS - 1))

    def _thin(self, now: float) -> None:
        old = self._between(None, now - HOUR_S)
        kept = {sample.at: sample for sample in thinned(old, now)}
        gone = [sample.at for sample in old if kept.get(sample.at) != sample]
        changed = [_row(sample) for sample in kept.values() if sample.at in set(gone)]
        if not gone:
            return
        with self._database.writing() as connection:
            for start in range(0, len(gone), 500):
                connection.execute(delete(samples).where(samples.c.at.in_(gone[start : start + 500])))
            if changed:
                connection.execute(insert(samples), changed)

    def _between(self, first: float | None, last: float | None) -> list[Sample]:
        query = select(samples).order_by(samples.c.at)
        if first is not None:
            query = query.where(samples.c.at >= first)
        if last is not None:
            query = query.where(samples.c.at <= last)
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return [sample for sample in map(_sample, rows) if sample is not None]


def _over_time(parts: Sequence[Sample], value: Callable[[Sample], float]) -> float:
    span = sum(part.span_seconds for part in parts)
    if span <= 0:
        return value(parts[-1])
    return sum(value(part) * part.span_seconds for part in parts) / span


def _merged_devices(parts: Sequence[Sample]) -> dict[str, DeviceSample]:
    found: dict[str, list[DeviceSample]] = {}
    for part in parts:
        for name, device in part.devices.items():
            found.setdefault(name, []).append(device)
    return {name: _peak(devices) for name, devices in found.items()}


def _peak(devices: Sequence[DeviceSample]) -> DeviceSample:
    models: dict[str, int] = {}
    for device in devices:
        for model, nbytes in device.models.items():
            models[model] = max(nbytes, models.get(model, 0))
    return DeviceSample(
        total=devices[-1].total,
        headroom=devices[-1].headroom,
        reserved=max(device.reserved for device in devices),
        used=max(device.used for device in devices),
        others=max(device.others for device in devices),
        models=models,
    )


def _merged_speeds(parts: Sequence[Sample]) -> dict[str, dict[str, float]]:
    weights: dict[tuple[str, str], tuple[float, float]] = {}
    for part in parts:
        for device, speeds in part.speeds.items():
            for model, speed in speeds.items():
                total, span = weights.get((device, model), (0.0, 0.0))
                weights[device, model] = total + speed * part.span_seconds, span + part.span_seconds
    found: dict[str, dict[str, float]] = {}
    for (device, model), (total, span) in weights.items():
        found.setdefault(device, {})[model] = total / span if span > 0 else total
    return found


def _row(sample: Sample) -> dict[str, Any]:
    document = sample.to_dict()
    at, span_seconds = document.pop("at"), document.pop("span_seconds")
    return {"at": at, "span_seconds": span_seconds, "data": json.dumps(document)}


def _sample(row: Row) -> Sample | None:
    """None for a row that cannot be read: it leaves a gap in a plot, nothing worse."""
    try:
        return Sample.from_dict({"at": row.at, "span_seconds": row.span_seconds, **json.loads(row.data)})
    except (KeyError, TypeError, ValueError, AttributeError):
        log.warning("event=unreadable_sample at=%s", row.at)
        return None
