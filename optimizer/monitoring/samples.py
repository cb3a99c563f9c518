"""The monitor's samples, thinned with age: all of the last hour are kept, then one per 2 minutes, after a day per 15.

Merging keeps what a plot is read for: rates and numbers of tasks are averaged over the time that each sample stands
for, counts are added, and of memory the peak stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from typing import Any

HOUR_S, DAY_S = 3600.0, 86400.0
KEPT_FOR_S = 7 * DAY_S
THINNING = ((HOUR_S, 120.0), (DAY_S, 900.0))  # from that age on, seconds that one sample stands for


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
    extra: dict[str, float] = field(default_factory=dict)  # of metrics that other packages brought, by name

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
        extra=_merged_extra(parts),
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


def _merged_extra(parts: Sequence[Sample]) -> dict[str, float]:
    """Each averaged over the samples that have it."""
    names = sorted({name for part in parts for name in part.extra})
    having = {name: [part for part in parts if name in part.extra] for name in names}
    return {name: _over_time(those, lambda part, name=name: part.extra[name]) for name, those in having.items()}  # type: ignore[misc]


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
