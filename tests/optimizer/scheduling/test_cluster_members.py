"""Devices of other machines come and go, also when a node is back before its end has been dealt with."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from optimizer.devices.discovery import DeviceSpec
from optimizer.scheduling.cluster_members import ClusterMembers

SPEC = DeviceSpec("one-cpu", "cpu", "a processor", 10**9)


class PlayedFleet:
    """Its devices by name, and what a removed one still has."""

    def __init__(self) -> None:
        self.devices: list[tuple[str, object]] = []
        self.left: list[Any] = []

    def names(self) -> list[str]:
        return [name for name, _ in self.devices]

    def add(self, spec: DeviceSpec, worker: object) -> None:
        assert spec.name not in self.names()
        self.devices.append((spec.name, worker))

    def remove(self, worker: object) -> tuple[str, list[Any]] | None:
        found = [each for each in self.devices if each[1] is worker]
        if not found:
            return None
        self.devices.remove(found[0])
        return found[0][0], self.left


class Rig:
    def __init__(self) -> None:
        self.fleet = PlayedFleet()
        self.ended: list[str] = []
        inbox = SimpleNamespace(post=_call)
        dispatcher = SimpleNamespace(end_attempt=self._end_attempt)
        events = SimpleNamespace(publish=lambda event: None)
        parts = [self.fleet, dispatcher, inbox, SimpleNamespace(), events]
        self.members = ClusterMembers(*(cast(Any, part) for part in parts))

    def _end_attempt(self, task: str, error: None, *, is_charged: bool) -> None:
        assert not is_charged
        self.ended.append(task)


def _call(action: Callable[[], None]) -> None:
    action()


@pytest.fixture
def rig() -> Rig:
    return Rig()


def new_worker() -> Any:
    return object()


def test_a_device_that_is_back_waits_for_the_removal_of_the_earlier_one(rig: Rig) -> None:
    first, second = new_worker(), new_worker()
    rig.members.add(SPEC, first)
    rig.members.add(SPEC, second)
    assert rig.fleet.devices == [("one-cpu", first)]
    rig.members.remove(first)
    assert rig.fleet.devices == [("one-cpu", second)]
    rig.members.remove(first)
    assert rig.fleet.devices == [("one-cpu", second)]
    rig.members.remove(second)
    assert rig.fleet.devices == []


def test_one_that_leaves_while_it_waits_does_not_take_its_place(rig: Rig) -> None:
    first, second, third = new_worker(), new_worker(), new_worker()
    rig.members.add(SPEC, first)
    rig.members.add(SPEC, second)
    rig.members.remove(second)
    rig.members.remove(first)
    assert rig.fleet.devices == []
    rig.members.add(SPEC, third)
    assert rig.fleet.devices == [("one-cpu", third)]


def test_what_a_removed_device_was_handed_at_the_last_moment_is_given_back_uncharged(rig: Rig) -> None:
    worker = new_worker()
    rig.members.add(SPEC, worker)
    rig.fleet.left = [SimpleNamespace(task="t1")]
    rig.members.remove(worker)
    assert rig.ended == ["t1"]
