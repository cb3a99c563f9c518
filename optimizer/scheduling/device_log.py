"""Says in the journal what becomes of devices and of the models on them."""

from __future__ import annotations

from optimizer.common.text import duration, in_gigabytes
from optimizer.devices.device import Device
from optimizer.devices.status import DeviceState
from optimizer.monitoring.event_log import EventLog
from whisper_core.worker import messages as protocol


class DeviceLog:
    """Any thread."""

    def __init__(self, event_log: EventLog) -> None:
        self._event_log = event_log

    def heard(self, device: str, report: protocol.Report) -> None:
        """A worker's report, of which most are not worth a note."""
        match report:
            case protocol.WorkerReady():
                tasks = "one task" if report.slots == 1 else f"{report.slots} tasks"
                text = f"{device} is ready: it can run {tasks} at a time."
                self._event_log.add("device", text, device=device, state="ready", slots=report.slots)
            case protocol.ModelLoaded():
                text = (
                    f"{report.model} was loaded on {device} in {duration(report.seconds)}"
                    f" and takes {in_gigabytes(report.weights_bytes)}."
                )
                figures = {"seconds": round(report.seconds, 3), "bytes": report.weights_bytes}
                self._event_log.add("model", text, device=device, model=report.model, state="loaded", **figures)
            case protocol.ModelUnloaded():
                text = f"{report.model} has left {device}."
                self._event_log.add("model", text, device=device, model=report.model, state="unloaded")
            case protocol.ModelLoadFailed():
                text = f"{report.model} could not be loaded on {device}. {report.message}"
                self._event_log.add("model", text, device=device, model=report.model, state="failed", code=report.code)

    def exited(self, device: Device) -> None:
        """Its worker has ended; nothing when that was asked for."""
        if device.state is not DeviceState.STOPPED:
            name = device.spec.name
            text = f"The worker of {name} ended; the tasks that it had go on behind their last finished windows."
            self._event_log.add("device", text, device=name, state="exited")
