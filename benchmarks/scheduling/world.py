"""What a simulation is of: the measured speeds, a way of running tasks, and the devices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.scheduling.virtual_device import Gain
from optimizer.common.kinds import DeviceKind

KIND: DeviceKind = "cpu"  # the simulated devices need memory as for fp32


@dataclass(frozen=True)
class Service:
    """As measured on the real engine."""

    speeds: Mapping[str, float]  # seconds of sound per second with one task at a time, by model
    gain: Gain
    load_seconds: Mapping[str, float]  # by model

    def work_seconds(self, model: str, audio_seconds: float) -> float:
        return audio_seconds / self.speeds[model]


@dataclass(frozen=True)
class Scheme:
    """A way of running tasks."""

    name: str
    slots: int  # tasks that a device runs at once
    gain: Gain
    plain: bool = False  # one task at a time over all devices, in order of arrival
    order_by_work: bool = True  # by due times; otherwise first come first served
    preempts: bool = True
    max_batch: int = 16


@dataclass(frozen=True)
class World:
    """The devices, and how far the memory that tasks really take is from the formula."""

    devices: int
    capacity_bytes: int  # of each device, that may be reserved
    headroom_bytes: int  # that each device has besides
    noise: float = 0.15  # standard deviation of the logarithm of a task's real memory by that of the formula
    bias: float = 0.0  # its mean
    measured_all: int = 2000  # tasks whose memory is fed back, which takes milliseconds; then one in measured_every
    measured_every: int = 100
