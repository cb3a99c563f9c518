"""One device: restarts, a worker that hangs, and the ledger; the test moves the clock and plays the worker."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from errors import WorkerDiedError
from optimizer.devices import supervisor
from optimizer.devices.device import Device
from optimizer.devices.discovery import DeviceSpec
from optimizer.devices.residency import LACKING_S
from optimizer.devices.status import DeviceState, ModelState
from optimizer.tasks.task import TaskOptions
from tests.optimizer.devices.fake_worker import FakeWorker, RememberingListener, device_of
from tests.optimizer.fakes import FakeClock
from tests.optimizer.values import processing_task
from whisper_core.text.transcript import Checkpoint, WindowResult
from whisper_core.worker import messages as protocol
from whisper_core.worker.messages import MemoryReport

GB = 10**9


@pytest.fixture
def worker() -> FakeWorker:
    return FakeWorker()


@pytest.fixture
def listener() -> RememberingListener:
    return RememberingListener()


@pytest.fixture
def device(clock: FakeClock, worker: FakeWorker, listener: RememberingListener) -> Device:
    spec = DeviceSpec("cuda:0", "cuda", "a card", 8 * GB, gpu_uuid="GPU-1")
    made = device_of(spec, worker, clock, GB, listener)
    made.start()
    return made


def ready(device: Device) -> None:
    device.apply_report(protocol.WorkerReady("cuda:0", "a card", 1, MemoryReport(0, 0), slots=8))


def hand_over(device: Device) -> None:
    reservation = device.pool.try_reserve("T1", GB)
    assert reservation is not None
    device.run(processing_task(options=TaskOptions(model="tiny.en")), reservation, Path("T1.pcm"), [], seed=0)


def window_done(index: int) -> protocol.WindowDone:
    return protocol.WindowDone("T1", "lease", WindowResult(index, (), Checkpoint("en", 3000 * (index + 1), 9000)))


def test_the_worker_itself_is_in_the_ledger(device: Device) -> None:
    assert device.pool.reserved_bytes == GB


def test_a_finished_task_gives_its_memory_back_and_a_foreign_report_does_not(device: Device) -> None:
    ready(device)
    hand_over(device)
    device.apply_report(protocol.TaskStopped("T1", "an older lease"))
    assert device.pool.reserved_bytes == 2 * GB
    device.apply_report(protocol.TaskStopped("T1", "lease"))
    assert (device.pool.reserved_bytes, device.running) == (GB, {})


def test_a_task_is_preempted_once_and_a_stop_overrides_that(device: Device, worker: FakeWorker) -> None:
    ready(device)
    hand_over(device)
    worker.sent.clear()
    device.preempt("unknown")
    device.preempt("T1")
    device.preempt("T1")
    device.stop_task("T1")
    device.preempt("T1")
    assert worker.sent == [protocol.StopTask("T1", "lease", at_window=True), protocol.StopTask("T1", "lease")]
    assert device.running["T1"].is_being_preempted
    assert device.running["T1"].is_stopping


def test_a_device_has_one_slot_until_its_worker_says_how_many(device: Device) -> None:
    assert (device.slots, device.status().slots) == (1, 1)
    ready(device)
    assert (device.slots, device.status().slots) == (8, 8)


def test_a_task_that_lost_its_device_stays_until_the_worker_is_gone(device: Device) -> None:
    ready(device)
    hand_over(device)
    device.apply_report(protocol.TaskFailed("T1", "lease", "device_lost", "gone"))
    assert list(device.running) == ["T1"]
    error, (running,) = device.apply_exit()
    assert (error.code, running.task.id) == ("device_lost", "T1")
    ready(device)
    assert device.apply_exit()[0].code == "worker_died"


def test_a_model_that_cannot_be_loaded_gives_its_memory_back(device: Device) -> None:
    ready(device)
    assert device.models.load("tiny.en", GB)
    device.apply_report(protocol.ModelLoadFailed("tiny.en", "weights_damaged", "no"))
    assert (device.pool.reserved_bytes, device.models.statuses(())) == (GB, ())


def test_a_model_that_does_not_fit_is_not_loaded(device: Device, worker: FakeWorker) -> None:
    ready(device)
    assert not device.models.load("large-v3", 8 * GB)
    assert worker.sent == []


def test_a_model_is_loading_then_loaded_then_evicting(device: Device, worker: FakeWorker, clock: FakeClock) -> None:
    ready(device)
    states, idle = [], []

    def note() -> None:
        states.append([model.state for model in device.status().models])
        idle.append(device.models.idle_for(5.0, in_use=()))

    device.models.load("tiny.en", GB)
    clock.advance(5.0)
    note()
    device.models.mark_loaded("tiny.en")
    note()
    device.models.evict("tiny.en")
    device.models.evict("tiny.en")
    note()
    device.apply_report(protocol.ModelUnloaded("tiny.en"))
    note()
    assert states == [[ModelState.LOADING], [ModelState.LOADED], [ModelState.EVICTING], []]
    assert idle == [{}, {"tiny.en": 5.0}, {}, {}]
    assert [type(command).__name__ for command in worker.sent] == ["LoadModel", "UnloadModel"]


def test_a_model_that_is_evicted_while_it_loads_is_not_used_when_it_is_loaded(device: Device) -> None:
    ready(device)
    device.models.load("tiny.en", GB)
    device.models.evict("tiny.en")
    device.models.mark_loaded("tiny.en")
    assert (device.models.is_evicting, device.models.loaded) == (True, set())


def test_what_is_reserved_for_a_loaded_model_follows_what_it_really_takes(device: Device) -> None:
    ready(device)
    device.models.load("tiny.en", 2 * GB)
    device.models.resize_reservation("tiny.en", GB)
    assert device.pool.reserved_bytes == 2 * GB  # the worker itself and the model
    device.models.resize_reservation("tiny.en", 100 * GB)  # more than there is: what was reserved stays
    assert device.pool.reserved_bytes == 2 * GB


def test_only_a_growth_worth_a_line_in_the_event_log_is_reported(device: Device) -> None:
    ready(device)
    device.models.load("tiny.en", GB)
    assert device.models.resize_reservation("tiny.en", GB + GB // 25) is None
    assert device.pool.reserved_bytes == 2 * GB + GB // 25
    assert device.models.resize_reservation("tiny.en", 2 * GB) is not None


def test_a_gone_worker_takes_no_reservation_with_it(device: Device, worker: FakeWorker) -> None:
    ready(device)
    worker.is_gone = True
    with pytest.raises(WorkerDiedError):
        device.models.load("tiny.en", GB)
    assert device.pool.reserved_bytes == GB


def test_after_an_exit_nothing_is_resident_reserved_or_running(device: Device) -> None:
    ready(device)
    device.models.load("tiny.en", GB)
    hand_over(device)
    error, tasks = device.apply_exit()
    assert error.code == "worker_died"
    assert [running.task.id for running in tasks] == ["T1"]
    assert (device.pool.reserved_bytes, device.status().models, device.running) == (0, (), {})


def test_a_worker_that_never_gets_anything_done_is_restarted_more_and_more_slowly(
    device: Device, clock: FakeClock, worker: FakeWorker
) -> None:
    pauses = []
    for _ in range(5):
        ready(device)
        device.apply_exit()
        pauses.append(device.supervisor.next_supervision_in())
        clock.advance(60)
        device.supervise(clock.monotonic())
    assert pauses == [0.0, 0.0, 1.0, 5.0, 15.0]
    assert worker.starts == 6
    assert device.status().is_unstable


def test_a_worker_that_got_something_done_is_restarted_at_once(device: Device, clock: FakeClock) -> None:
    for _ in range(5):
        ready(device)
        hand_over(device)
        device.apply_report(window_done(0))
        _, (running,) = device.apply_exit()
        assert running.has_progressed
        assert device.supervisor.next_supervision_in() == 0.0
        device.supervise(clock.monotonic())


def test_a_silent_worker_is_killed_and_the_reason_is_kept_for_its_task(
    device: Device, clock: FakeClock, worker: FakeWorker
) -> None:
    ready(device)
    hand_over(device)
    clock.advance(supervisor.HEARTBEAT_TIMEOUT_S + 1)
    device.supervise(clock.monotonic())
    device.supervise(clock.monotonic())
    assert worker.kills == 1
    assert device.apply_exit()[0].code == "engine_timeout"


def test_a_worker_that_lives_but_finishes_no_window_is_killed(
    device: Device, clock: FakeClock, worker: FakeWorker
) -> None:
    ready(device)
    hand_over(device)
    for _ in range(8):
        clock.advance(40)
        device.apply_report(protocol.Heartbeat(MemoryReport(GB, GB)))
        device.supervise(clock.monotonic())
    assert worker.kills == 1


def test_windows_in_time_keep_a_worker_alive(device: Device, clock: FakeClock, worker: FakeWorker) -> None:
    ready(device)
    hand_over(device)
    for index in range(8):
        clock.advance(50)
        device.apply_report(window_done(index))
        device.supervise(clock.monotonic())
    assert worker.kills == 0


def test_a_card_that_no_worker_can_use_becomes_unavailable(device: Device, clock: FakeClock) -> None:
    for _ in range(3):
        device.apply_exit()
        clock.advance(60)
        device.supervise(clock.monotonic())
    assert device.status().state is DeviceState.UNAVAILABLE


def test_a_worker_does_not_count_as_hung_while_its_report_waits_for_the_disk(
    device: Device, worker: FakeWorker, clock: FakeClock
) -> None:
    ready(device)
    hand_over(device)
    worker.is_report_being_handled = True
    for _ in range(10):
        clock.advance(supervisor.HEARTBEAT_TIMEOUT_S)
        device.supervise(clock.monotonic())
    worker.is_report_being_handled = False
    device.supervise(clock.monotonic())
    assert worker.kills == 0
    clock.advance(supervisor.HEARTBEAT_TIMEOUT_S + 1)
    device.supervise(clock.monotonic())
    assert worker.kills == 1


def test_a_worker_that_cannot_be_started_is_tried_again(
    device: Device, worker: FakeWorker, clock: FakeClock, listener: RememberingListener
) -> None:
    ready(device)
    device.apply_exit()
    worker.start_error = BlockingIOError("no more processes")
    device.supervise(clock.monotonic())
    assert listener.exits == [device]
    device.apply_exit()
    worker.start_error = None
    clock.advance(60)
    device.supervise(clock.monotonic())
    assert (worker.starts, device.state) == (3, DeviceState.STARTING)


@pytest.mark.parametrize(
    ("exit_code", "kernel_killed", "is_outside"),
    [
        (-signal.SIGKILL, 0, True),
        (-signal.SIGKILL, 1, False),  # memory ran out
        (-signal.SIGTERM, 0, True),
        (-signal.SIGABRT, 0, False),
        (-signal.SIGSEGV, 0, False),
        (1, 0, False),
        (None, 0, False),  # we killed it ourselves, or cannot tell
    ],
)
def test_whether_a_worker_was_killed_from_outside(
    device: Device, worker: FakeWorker, monkeypatch: pytest.MonkeyPatch,
    exit_code: int | None, kernel_killed: int, is_outside: bool,
) -> None:  # fmt: skip
    monkeypatch.setattr(supervisor, "oom_kills", lambda: 7)
    ready(device)
    hand_over(device)
    monkeypatch.setattr(supervisor, "oom_kills", lambda: 7 + kernel_killed)
    worker.exit_code = exit_code
    device.apply_exit()
    assert device.supervisor.was_killed_from_outside is is_outside


def test_where_the_kernel_does_not_count_a_killed_worker_may_have_run_out_of_memory(
    device: Device, worker: FakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "oom_kills", lambda: None)
    ready(device)
    hand_over(device)
    worker.exit_code = -signal.SIGKILL
    device.apply_exit()
    assert not device.supervisor.was_killed_from_outside


def test_another_machine_that_cannot_get_a_model_is_not_asked_for_it_for_a_while(clock: FakeClock) -> None:
    node = device_of(DeviceSpec("one-cpu", "cpu", "a processor", GB), FakeWorker(), clock, 0, gets_own_weights=True)
    ready(node)
    node.apply_report(protocol.ModelLoadFailed("base", "model_unavailable", "Not here."))
    node.apply_report(protocol.ModelLoadFailed("tiny", "out_of_memory", ""))
    assert node.models.lacking == {"base"}
    clock.advance(LACKING_S)
    assert node.models.lacking == set()
    node.apply_report(protocol.ModelLoadFailed("base", "weights_damaged", "Damaged."))
    node.apply_report(protocol.ModelLoaded("base", 1, 1.0))
    assert node.models.lacking == set()


def test_on_this_machine_a_missing_model_is_not_the_device_s_matter(device: Device) -> None:
    """What it lacks, all its devices lack, and the server looks after its weights itself."""
    device.apply_report(protocol.ModelLoadFailed("base", "model_unavailable", "Not here."))
    assert device.models.lacking == set()


def test_the_silence_of_a_machine_that_cannot_be_reached_charges_no_task(
    device: Device, worker: FakeWorker, clock: FakeClock
) -> None:
    ready(device)
    hand_over(device)
    clock.advance(supervisor.HEARTBEAT_TIMEOUT_S + 1)
    device.supervise(clock.monotonic())
    worker.is_lost = True
    device.apply_exit()
    assert device.supervisor.was_killed_from_outside
