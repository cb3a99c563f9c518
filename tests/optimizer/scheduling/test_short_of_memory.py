"""A task that ran out of memory is not charged: it waits, may move to the CPU, and idle models are evicted for it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from errors import IdempotencyMismatchError
from optimizer.devices.residency import ModelResidency
from optimizer.memory.ledger import GPUMemoryPool
from optimizer.monitoring.event_log import EventLog, SystemEvent
from optimizer.queue.backoff import MAX_RETRY_DELAY_S
from optimizer.scheduling.crash_attribution import CrashAttribution
from optimizer.scheduling.device_updater import DeviceUpdater
from optimizer.scheduling.event_messages import EventMessages
from optimizer.tasks.events import EventBus
from optimizer.tasks.task import Task, TaskStatus
from optimizer.tasks.transitions import MAX_KEPT_IN_A_ROW
from optimizer.timing.forecast_accuracy import ForecastTracker
from tests.optimizer.devices.fake_worker import FakeWorker
from tests.optimizer.fakes import FakeClock
from tests.optimizer.queue.helpers import OOM, RETRY_DELAY_S, Queue, new_task, window
from whisper_core.worker import messages as protocol


def run_short(queue: Queue, task_id: str = "T1", *, may_move_to_cpu: bool = False, device: str = "cuda:0") -> Task:
    """One attempt for which there was no memory."""
    queue.clock.advance(MAX_RETRY_DELAY_S)
    queue.manager.end_delays()
    task = queue.claim(task_id, device)
    token = task.lease_token or ""
    after = queue.manager.wait_for_memory(task_id, token, OOM, may_move_to_cpu=may_move_to_cpu)
    assert after is not None
    return after


def memory_events(queue: Queue, task_id: str = "T1") -> list[dict[str, Any]]:
    return [dict(event.data) for event in queue.manager.timeline(task_id) if event.code == "memory"]


def test_it_is_never_charged_and_waits_longer_every_time(queue: Queue, clock: FakeClock) -> None:
    queue.submit("T1", max_attempts=1)
    delays = []
    for number in range(1, 5):
        task = run_short(queue)
        assert (task.status, task.attempt - task.free_attempts, task.interrupts) == (TaskStatus.RETRYING, 0, 0)
        assert task.attempt == number
        assert task.not_before is not None
        delays.append((task.not_before - clock.now()).total_seconds())
    assert delays == [RETRY_DELAY_S * number for number in range(1, 5)]
    assert [event["delay_seconds"] for event in memory_events(queue)] == delays
    assert {(event["step"], event["device"]) for event in memory_events(queue)} == {("waits", "cuda:0")}


def test_it_keeps_its_place_and_its_windows(queue: Queue, clock: FakeClock) -> None:
    queue.submit("T1")
    queue.submit("T2")
    task = queue.claim("T1")
    queue.manager.save_window("T1", task.lease_token or "", window(0))
    queue.manager.wait_for_memory("T1", task.lease_token or "", OOM)
    clock.advance(MAX_RETRY_DELAY_S)
    queue.manager.end_delays()
    assert [each.id for each in queue.manager.waiting()] == ["T1", "T2"]
    assert queue.manager.get("T1").windows_done == 1


def test_days_of_shortage_do_not_fill_its_row(queue: Queue) -> None:
    queue.submit("T1")
    for _ in range(MAX_KEPT_IN_A_ROW + 5):
        run_short(queue)
    assert len(queue.manager.get("T1").errors) == MAX_KEPT_IN_A_ROW
    assert len(memory_events(queue)) == MAX_KEPT_IN_A_ROW + 5


def test_after_a_second_shortage_in_a_row_it_may_go_on_on_the_cpu(queue: Queue) -> None:
    queue.submit("T1", idempotency_key="key")
    assert run_short(queue, may_move_to_cpu=True).requested_device == "auto"
    task = run_short(queue, may_move_to_cpu=True)
    assert (task.status, task.requested_device, task.free_attempts) == (TaskStatus.PENDING, "cpu", 2)
    assert [event["step"] for event in memory_events(queue)] == ["waits", "moved_to_cpu"]
    assert queue.manager.submit(new_task("T9", idempotency_key="key")) == (task, True)  # its sender asks as before
    with pytest.raises(IdempotencyMismatchError):
        queue.manager.submit(new_task("T9", idempotency_key="key", requested_device="cuda:0"))


def test_without_leave_or_with_a_device_of_its_own_it_stays(queue: Queue) -> None:
    queue.submit("T1")
    queue.submit("T2", requested_device="cuda:0")
    for _ in range(3):
        assert run_short(queue).requested_device == "auto"
        assert run_short(queue, "T2", may_move_to_cpu=True).requested_device == "cuda:0"


def test_another_failure_in_between_or_a_new_start_begins_the_count_anew(queue: Queue, clock: FakeClock) -> None:
    queue.submit("T1")
    run_short(queue)
    clock.advance(MAX_RETRY_DELAY_S)
    queue.manager.end_delays()
    failing = queue.claim("T1")
    other = OOM.__class__("engine_error", "The transcription itself failed.")
    queue.manager.fail("T1", failing.lease_token or "", other, is_retryable=True)
    assert run_short(queue, may_move_to_cpu=True).requested_device == "auto"
    queue.manager.cancel("T1")
    queue.manager.retry("T1")
    queue.manager.mark_prepared("T1", 60.0)
    assert run_short(queue, may_move_to_cpu=True).requested_device == "auto"


def test_of_a_cancelled_task_nothing_changes(queue: Queue) -> None:
    queue.submit("T1")
    token = queue.claim("T1").lease_token or ""
    queue.manager.cancel("T1")
    assert queue.manager.wait_for_memory("T1", token, OOM) is None
    assert queue.manager.add_attempt_event("T1", token, "memory", {"step": "batch_shrunk"}) is None
    assert memory_events(queue) == []


def test_what_is_noted_of_a_running_task_is_in_its_timeline(queue: Queue) -> None:
    queue.submit("T1")
    task = queue.claim("T1")
    queue.changed.clear()
    data = {"step": "batch_shrunk", "windows": 4, "slots": 2}
    assert queue.manager.add_attempt_event("T1", task.lease_token or "", "memory", data) == task
    assert memory_events(queue) == [data]
    assert queue.changed == []


# --- freeing memory -------------------------------------------------------------------------------------------------


class FakeDevice:
    """Two models in use, two that idle, one that is on its way out."""

    spec = SimpleNamespace(name="cuda:0")

    def __init__(self, queue: Queue) -> None:
        self.worker = FakeWorker()
        self.models = ModelResidency(GPUMemoryPool("cuda:0", 100), self.worker, queue.clock, Path("models"))
        for model in ("base", "tiny", "small", "medium", "turbo"):
            self.models.load(model, 1)
            self.models.mark_loaded(model)
        self.models.evict("turbo")
        self.worker.sent.clear()
        queue.submit("T1")  # of base, which stays for it
        queue.submit("T2")
        task = queue.claim("T2").with_(options=new_task("T2").options.__class__(model="tiny"))
        self.running = {"T2": SimpleNamespace(task=task)}
        self.models_in_use = {"tiny"}

    @property
    def evicted(self) -> list[str]:
        return [command.model for command in self.worker.sent if isinstance(command, protocol.UnloadModel)]

    def apply_report(self, report: protocol.Report) -> None:
        """What it makes of its picture of itself is another test's."""


@pytest.fixture
def device(queue: Queue) -> FakeDevice:
    return FakeDevice(queue)


def apply_report(
    queue: Queue, device: FakeDevice, report: protocol.TaskFailed | protocol.ModelLoadFailed
) -> list[SystemEvent]:
    """The events that the scheduler logged of it."""
    unused = cast(Any, None)
    event_log = EventLog(queue.store.database, queue.clock)
    updater = DeviceUpdater(
        dispatcher=unused,
        attribution=CrashAttribution(FakeClock()),
        queue=queue.manager,
        devices=unused,
        estimates=unused,
        forecasts=ForecastTracker(),
        inbox=unused,
        events=EventBus(),
        messages=EventMessages(event_log),
        clock=unused,
    )
    updater.apply_reports(cast(Any, device), [report])
    return event_log.events("memory")


def test_what_idles_leaves_a_device_that_ran_out_of_memory(queue: Queue, device: FakeDevice) -> None:
    failed = protocol.TaskFailed("T1", "lease", "out_of_memory", "")
    events = apply_report(queue, device, failed)
    assert device.evicted == ["medium", "small"]
    assert [event.data for event in reversed(events)] == [
        {"step": "model_evicted", "model": model, "device": "cuda:0"} for model in ("medium", "small")
    ]
    assert memory_events(queue) == [{"step": "model_evicted", "model": model} for model in ("medium", "small")]


def test_for_a_model_that_found_no_memory_too(queue: Queue, device: FakeDevice) -> None:
    failed = protocol.ModelLoadFailed("tiny", "out_of_memory", "")
    apply_report(queue, device, failed)
    assert device.evicted == ["base", "medium", "small"]
    assert len(memory_events(queue, "T2")) == 3


def test_for_a_task_that_was_deleted_meanwhile_too(queue: Queue, device: FakeDevice) -> None:
    apply_report(queue, device, protocol.TaskFailed("gone", "lease", "out_of_memory", ""))
    assert device.evicted == ["base", "medium", "small"]


def test_a_worker_that_is_gone_has_nothing_to_evict(queue: Queue, device: FakeDevice) -> None:
    device.worker.is_gone = True
    events = apply_report(queue, device, protocol.TaskFailed("T1", "lease", "out_of_memory", ""))
    assert (device.evicted, memory_events(queue), events) == ([], [], [])
