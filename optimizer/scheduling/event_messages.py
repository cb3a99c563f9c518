"""Writes into the event log, in words and figures, what was decided and why, and what becomes of devices and models."""

from __future__ import annotations

from optimizer.common.text import duration, in_gigabytes
from optimizer.devices.device import Device
from optimizer.devices.residency import ModelShortfall
from optimizer.devices.status import DeviceState
from optimizer.monitoring.event_log import EventLog
from optimizer.planning.assignment import Assignment
from optimizer.planning.preemption import Preemption
from optimizer.queue.ready_queue import WaitingTask
from whisper_core.worker import messages as protocol


class EventMessages:
    """Any thread."""

    def __init__(self, event_log: EventLog) -> None:
        self._event_log = event_log

    # --- decisions ---------------------------------------------------------------------------------------------

    def tell_task_started(self, assignment: Assignment, task: WaitingTask, now: float) -> None:
        """now: monotonic seconds."""
        waited_s = max(0.0, now - task.waiting_since)
        text = f"Started on {assignment.device} with {assignment.model} after {duration(waited_s)}: "
        text += assignment.why.sentence
        if assignment.passed:
            text += f"; {assignment.passed} that came before it {'waits' if assignment.passed == 1 else 'wait'} on"
        if assignment.weights_bytes:
            text += "; its model is loaded for it"
        if assignment.evict:
            text += f", in the place of {', '.join(assignment.evict)}"
        self._event_log.add(
            "decision",
            text + ".",
            task_id=assignment.task_id,
            device=assignment.device,
            model=assignment.model,
            priority=task.priority.word,
            waited_seconds=round(waited_s, 3),
            passed=assignment.passed,
            why=assignment.why.value,
            load_model=assignment.weights_bytes > 0,
            evict=list(assignment.evict),
            due_in_seconds=round(task.due - now, 1),
        )

    def tell_preempted(self, preemption: Preemption) -> None:
        text = f"A task on {preemption.device} steps aside at its next window for one that is shorter or more urgent."
        self._event_log.add(
            "decision",
            text,
            task_id=preemption.task_id,
            for_task=preemption.for_task,
            device=preemption.device,
            why="steps_aside",
        )

    def tell_policy_failed(self, policy: str, reason: str) -> None:
        """reason: without a full stop."""
        text = f"The scheduling policy {policy} failed ({reason}), so the server decided without it."
        self._event_log.add("decision", text, policy=policy, why="policy_failed")

    def tell_idle_model_evicted(self, model: str, device: str, idle_s: float) -> None:
        text = f"{model} leaves {device}: nobody has asked for it for {duration(idle_s)}."
        self._event_log.add("model", text, model=model, device=device, idle_seconds=round(idle_s, 1))

    def tell_replaced_model_evicted(self, model: str, device: str) -> None:
        text = f"{model} leaves {device}: its files were replaced."
        self._event_log.add("model", text, model=model, device=device, why="files_replaced")

    # --- memory ------------------------------------------------------------------------------------------------

    def tell_evicted_for_memory(self, model: str, device: str) -> None:
        text = f"{model} leaves {device}: memory ran out there, and no task was using it."
        self._event_log.add("memory", text, step="model_evicted", model=model, device=device)

    def tell_shortfall(self, shortfall: ModelShortfall) -> None:
        device, model, needed = shortfall.device, shortfall.model, in_gigabytes(shortfall.needed_bytes)
        text = f"{model} takes more memory on {device} than was reserved for it. "
        if shortfall.was_raised:
            text += f"Its reservation was raised to {needed}."
        else:
            text += f"There is no room to raise its reservation to {needed}."
        self._event_log.add(
            "memory",
            text,
            step="reservation_raised" if shortfall.was_raised else "reservation_too_small",
            model=model,
            device=device,
            reserved_bytes=shortfall.reserved_bytes,
            needed_bytes=shortfall.needed_bytes,
        )

    # --- devices and their models ------------------------------------------------------------------------------

    def tell_report(self, device: str, report: protocol.Report) -> None:
        """Most reports are not worth an event."""
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

    def tell_worker_exited(self, device: Device) -> None:
        """Nothing when the exit was asked for."""
        if device.state is not DeviceState.STOPPED:
            name = device.spec.name
            text = f"The worker of {name} ended; the tasks that it had continue after their last finished windows."
            self._event_log.add("device", text, device=name, state="exited")

    def tell_device_changed(self, device: str, text: str) -> None:
        """text: one sentence."""
        self._event_log.add("device", text, device=device)
