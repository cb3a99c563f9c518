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
    """See optimizer.cluster.link.ClusterListener. Any thread."""

    def __init__(
        self, devices: DeviceFleet, dispatcher: Dispatcher, inbox: Inbox, messages: EventMessages, events: EventBus
    ) -> None:
        self._devices = devices
        self._dispatcher = dispatcher
        self._inbox = inbox
        self._messages = messages
        self._events = events

    def add(self, spec: DeviceSpec, worker: Worker) -> None:
        self._inbox.post(partial(self._add, spec, worker))

    def remove(self, device: str) -> None:
        self._inbox.post(partial(self._remove, device))

    def tell(self, name: str, text: str) -> None:
        self._messages.tell_device_changed(name, text)

    # --- on the scheduler's thread -----------------------------------------------------------------------------

    def _add(self, spec: DeviceSpec, worker: Worker) -> None:
        self._devices.add(spec, worker)
        self._events.publish(SystemChanged())

    def _remove(self, device: str) -> None:
        for running in self._devices.remove(device):
            self._inbox.post(partial(self._dispatcher.end_attempt, running.task, None, is_charged=False))
        self._events.publish(SystemChanged())
