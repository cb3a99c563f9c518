"""Brings the fleet up to date with the nodes of a cluster: their devices come and go on the scheduler's thread."""

from __future__ import annotations

from functools import partial

from optimizer.devices.discovery import DeviceSpec
from optimizer.devices.fleet import DeviceFleet
from optimizer.devices.worker_process import Worker
from optimizer.scheduling.dispatcher import Dispatcher
from optimizer.scheduling.event_messages import EventMessages
from optimizer.scheduling.inbox import Inbox
from optimizer.tasks.events import EventBus, SystemChanged


class ClusterMembers:
    """See optimizer.cluster.cluster_client.ClusterListener. Any thread."""

    def __init__(
        self, devices: DeviceFleet, dispatcher: Dispatcher, inbox: Inbox, messages: EventMessages, events: EventBus
    ) -> None:
        self._devices = devices
        self._dispatcher = dispatcher
        self._inbox = inbox
        self._messages = messages
        self._events = events
        self._waiting: dict[str, tuple[DeviceSpec, Worker]] = {}  # for the removal of an earlier device of that name

    def add(self, spec: DeviceSpec, worker: Worker) -> None:
        self._inbox.post(partial(self._add, spec, worker))

    def remove(self, worker: Worker) -> None:
        self._inbox.post(partial(self._remove, worker))

    def tell(self, name: str, text: str) -> None:
        self._messages.tell_device_changed(name, text)

    # --- on the scheduler's thread -----------------------------------------------------------------------------

    def _add(self, spec: DeviceSpec, worker: Worker) -> None:
        if spec.name in self._devices.names():
            # A node that is back is here sooner than its earlier end where the last reports of it are being stored.
            self._waiting[spec.name] = spec, worker
            return
        self._devices.add(spec, worker)
        self._events.publish(SystemChanged())

    def _remove(self, worker: Worker) -> None:
        for name, (_, waiting) in list(self._waiting.items()):
            if waiting is worker:  # it went before its turn came
                del self._waiting[name]
        removed = self._devices.remove(worker)
        if removed is None:
            return
        name, tasks = removed
        for running in tasks:
            self._inbox.post(partial(self._dispatcher.end_attempt, running.task, None, is_charged=False))
        if (successor := self._waiting.pop(name, None)) is not None:
            self._devices.add(*successor)
        self._events.publish(SystemChanged())
