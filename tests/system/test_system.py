"""OptimizedWhisperSystem with a real database, real ffmpeg and a fake engine: tasks, faults, restarts."""

from __future__ import annotations

import threading
from datetime import datetime
from functools import partial, partialmethod
from pathlib import Path

import pytest

from errors import (
    BadRecordError,
    ConflictError,
    DataFolderInUseError,
    EmptyFileError,
    EngineError,
    IdempotencyMismatchError,
    InvalidOptionError,
    ShuttingDownError,
    StoreBusyError,
    TaskNotFoundError,
    UnsupportedMediaError,
    WeightsDamagedError,
)
from optimizer.common import failpoints
from optimizer.devices.discovery import DeviceSpec
from optimizer.devices.status import DeviceState
from optimizer.intake.decode_pool import DecodePool
from optimizer.memory.estimator import MemoryEstimationPool
from optimizer.planning.plan import PlanLimits
from optimizer.queue.ordering import DueTimes
from optimizer.scheduling import model_library
from optimizer.scheduling.model_library import ModelLibrary
from optimizer.storage.task_files import TaskFiles
from optimizer.system import OptimizedWhisperSystem
from optimizer.tasks.events import TaskDeleted, WindowFinished
from optimizer.tasks.task import Priority, Task, TaskFilter, TaskStatus
from tests.fake_engine import FakeEngine
from tests.paths import DATA, MINUTE, SHORT
from tests.system.conftest import WAIT_S, Open, Submit, Watcher, device_at, statuses_of
from whisper_core.models import fetch as models
from whisper_core.text.transcript import WindowResult


def started_at(task: Task) -> datetime:
    assert task.started_at is not None
    return task.started_at


def test_a_task_goes_from_pending_to_completed_and_its_text_appears_on_the_way(
    open_system: Open, submit: Submit
) -> None:
    with open_system() as system:
        watcher = Watcher(system)
        task_id = submit(system, MINUTE)
        task = watcher.wait_for(task_id, TaskStatus.COMPLETED)
        windows = [event for event in watcher.events if isinstance(event, WindowFinished)]
        transcript, is_partial = system.transcript(task_id)
        assert [window.seq for window in windows] == [1, 2, 3]
        assert [window.first_segment for window in windows] == [0, 1, 2]
        assert transcript.text == "".join(segment.text for window in windows for segment in window.segments)
        assert not is_partial
        assert (task.progress, task.attempt, task.error, task.device) == (1.0, 1, None, "cpu")
        assert task.audio_seconds == pytest.approx(67.58, abs=0.01)
        assert task.peak_bytes == 500_000
        assert task.estimated_bytes is not None


def test_nothing_stays_promised_when_all_tasks_are_done(open_system: Open, submit: Submit) -> None:
    with open_system() as system:
        watcher = Watcher(system)
        before = system.status()["devices"][0]["reserved"]
        ids = [submit(system, SHORT) for _ in range(4)]
        for task_id in ids:
            watcher.wait_for(task_id, TaskStatus.COMPLETED)
        watcher.wait_until(lambda: not system.status()["devices"][0]["running"], "an idle device")
        device = system.status()["devices"][0]
        assert device["resident_models"] == ["tiny.en"]
        weights = device["reserved"] - before
        assert 0 < weights < 400_000_000


def test_samples_are_removed_when_they_are_no_longer_needed(open_system: Open, submit: Submit, tmp_path: Path) -> None:
    with open_system() as system:
        watcher = Watcher(system)
        watcher.wait_for(submit(system, SHORT), TaskStatus.COMPLETED)
        watcher.wait_until(lambda: not any((tmp_path / "data" / "audio").iterdir()), "an empty folder of samples")
        assert len(list((tmp_path / "data" / "media").iterdir())) == 1


def test_a_failing_task_is_tried_again_and_fails_in_the_end(open_system: Open, submit: Submit) -> None:
    with open_system(max_task_retries=0) as system:
        watcher = Watcher(system)
        task = watcher.wait_for(submit(system, SHORT, knobs="fail=engine_error"), TaskStatus.FAILED)
        assert task.error is not None
        assert task.error.code == "engine_error"
    with open_system(max_task_retries=1) as system:
        watcher = Watcher(system)
        task_id = submit(system, SHORT, knobs="fail=engine_error")
        task = watcher.wait_for(task_id, TaskStatus.RETRYING)
        assert (task.attempt, task.not_before is not None) == (1, True)
        reason = system.task(task_id).waiting_reason
        assert reason is not None
        assert reason.code.value == "retry_delay"


def test_a_permanent_error_is_never_retried(open_system: Open, submit: Submit) -> None:
    with open_system(max_task_retries=3) as system:
        task = Watcher(system).wait_for(submit(system, SHORT, knobs="fail=source_missing"), TaskStatus.FAILED)
        assert task.attempt == 1


def test_a_failed_task_is_begun_anew_by_hand(open_system: Open, submit: Submit) -> None:
    with open_system(max_task_retries=0) as system:
        watcher = Watcher(system)
        task_id = submit(system, SHORT, knobs="fail=engine_error")
        watcher.wait_for(task_id, TaskStatus.FAILED)
        system.retry(task_id)
        watcher.wait_until(lambda: len(system.task(task_id).task.errors) == 2, "a second failure")
        with pytest.raises(ConflictError):
            system.set_priority(task_id, Priority.HIGH)


def test_a_worker_that_dies_costs_an_attempt_and_the_task_goes_on_after_its_last_window(
    open_system: Open, submit: Submit
) -> None:
    with open_system(in_thread=False) as system:
        watcher = Watcher(system)
        task_id = submit(system, MINUTE, knobs="abort@2 once")
        watcher.wait_until(lambda: system.task(task_id).task.windows_done == 2, "two windows")
        task = watcher.wait_for(task_id, TaskStatus.COMPLETED)
        seqs = [event.seq for event in watcher.events if isinstance(event, WindowFinished)]
        assert [error.code for error in task.errors] == ["worker_died"]
        assert (task.attempt, seqs) == (2, [1, 2, 3])
        assert [segment.id for segment in system.transcript(task_id)[0].segments] == [0, 1, 2]


def test_a_dead_worker_leaves_the_other_tasks_and_the_server_alone(open_system: Open, submit: Submit) -> None:
    with open_system(in_thread=False, max_task_retries=0) as system:
        watcher = Watcher(system)
        bad = submit(system, SHORT, knobs="abort@0")
        good = submit(system, SHORT)
        assert watcher.wait_for(bad, TaskStatus.FAILED).errors[-1].code == "worker_died"
        assert watcher.wait_for(good, TaskStatus.COMPLETED).attempt == 1


def test_cancelling_a_running_task_ends_it_at_once_and_frees_the_device(open_system: Open, submit: Submit) -> None:
    with open_system() as system:
        watcher = Watcher(system)
        task_id = submit(system, MINUTE, knobs="window_s=0.5")
        watcher.wait_for(task_id, TaskStatus.PROCESSING)
        view = system.cancel(task_id)
        assert view.task.status is TaskStatus.CANCELLED
        assert system.cancel(task_id).task.status is TaskStatus.CANCELLED
        watcher.wait_until(lambda: not system.status()["devices"][0]["running"], "a free device")
        after = watcher.wait_for(submit(system, SHORT), TaskStatus.COMPLETED)
        assert after.attempt == 1
        assert system.task(task_id).task.status is TaskStatus.CANCELLED


def test_a_deleted_task_leaves_no_file(open_system: Open, submit: Submit, tmp_path: Path) -> None:
    with open_system() as system:
        watcher = Watcher(system)
        running = submit(system, MINUTE, knobs="window_s=0.3")
        done = submit(system, SHORT)
        watcher.wait_for(running, TaskStatus.PROCESSING)
        system.delete(running)
        watcher.wait_for(done, TaskStatus.COMPLETED)
        system.delete(done)
        watcher.wait_until(lambda: not system.status()["devices"][0]["running"], "a free device")
        with pytest.raises(TaskNotFoundError):
            system.task(running)
        files = [p.name for p in (tmp_path / "data").rglob("*") if p.is_file()]
        assert [name for name in files if running in name or done in name] == []


def test_a_stop_gives_running_tasks_back_and_the_next_start_completes_them(open_system: Open, submit: Submit) -> None:
    with open_system() as system:
        task_id = submit(system, MINUTE, knobs="window_s=0.3")
        waiting = submit(system, SHORT)
        watcher = Watcher(system)
        watcher.wait_until(lambda: system.task(task_id).task.windows_done == 1, "one window")
    with open_system() as system:
        watcher = Watcher(system)
        task = watcher.wait_for(task_id, TaskStatus.COMPLETED)
        assert [segment.id for segment in system.transcript(task_id)[0].segments] == [0, 1, 2]
        assert task.errors == ()
        assert watcher.wait_for(waiting, TaskStatus.COMPLETED).attempt == 1


def test_a_second_system_on_the_same_folder_is_refused_and_the_first_unharmed(
    open_system: Open, submit: Submit
) -> None:
    with open_system() as system:
        second = OptimizedWhisperSystem(system.settings)
        with pytest.raises(DataFolderInUseError, match="in use by pid"):
            second.start()
        Watcher(system).wait_for(submit(system, SHORT), TaskStatus.COMPLETED)


def test_the_plain_path_runs_tasks_one_at_a_time_in_order_of_arrival(open_system: Open, submit: Submit) -> None:
    with open_system(enable_optimization_system=False) as system:
        watcher = Watcher(system)
        ids = [submit(system, SHORT, model=model) for model in ("base", "tiny.en", "base")]
        tasks = [watcher.wait_for(task_id, TaskStatus.COMPLETED) for task_id in ids]
        starts = [started_at(task) for task in tasks]
        assert starts == sorted(starts)
        assert system.status()["path"] == "plain"


def test_bad_files_are_refused_and_nothing_of_them_is_kept(open_system: Open, submit: Submit, tmp_path: Path) -> None:
    empty, text = tmp_path / "empty.wav", tmp_path / "text.mp3"
    empty.write_bytes(b"")
    text.write_text("these are words, not sound\n" * 100)
    with open_system() as system:
        with pytest.raises(EmptyFileError):
            submit(system, empty)
        with pytest.raises(UnsupportedMediaError):
            submit(system, text)
        with pytest.raises(InvalidOptionError):
            submit(system, SHORT, device="cuda:9")
        assert system.tasks(TaskFilter())[0] == []
        folders = [tmp_path / "data" / name for name in ("incoming", "media", "audio", "transcripts")]
        assert [path for folder in folders for path in folder.iterdir()] == []


def test_the_same_key_gives_the_same_task_and_another_file_with_it_is_refused(
    open_system: Open, submit: Submit
) -> None:
    with open_system() as system:
        first = submit(system, SHORT, key="abc")
        assert submit(system, SHORT, key="abc") == first
        with pytest.raises(IdempotencyMismatchError):
            submit(system, DATA / "librivox-0890.flac", key="abc")
        assert len(system.tasks(TaskFilter())[0]) == 1


def test_a_high_priority_task_goes_before_those_that_wait(open_system: Open, submit: Submit) -> None:
    with open_system() as system:
        watcher = Watcher(system)
        submit(system, MINUTE, knobs="window_s=0.3")
        normal = submit(system, SHORT)
        urgent = submit(system, SHORT, priority=Priority.HIGH)
        assert system.task(urgent).position == 1
        started = [started_at(watcher.wait_for(task_id, TaskStatus.COMPLETED)) for task_id in (urgent, normal)]
        assert started == sorted(started)


def test_limits_change_while_running_and_stay_within_the_settings(open_system: Open) -> None:
    with open_system() as system:
        assert system.set_limits(max_concurrent_tasks=3)["limits"] == {"max_concurrent_tasks": 3, "max_batch_size": 4}
        with pytest.raises(InvalidOptionError):
            system.set_limits(max_batch_size=99)


def test_an_idle_system_is_ready_and_healthy(open_system: Open) -> None:
    with open_system() as system:
        Watcher(system).wait_until(lambda: system.readiness() == [], "readiness")
        assert system.health() == []


def test_samples_that_are_gone_are_made_again(open_system: Open, submit: Submit, tmp_path: Path) -> None:
    with open_system() as system:
        watcher = Watcher(system)
        first = submit(system, MINUTE, knobs="window_s=0.2")
        waiting = submit(system, SHORT)
        watcher.wait_for(first, TaskStatus.PROCESSING)
        (tmp_path / "data" / "audio" / f"{waiting}.pcm").unlink()
        task = watcher.wait_for(waiting, TaskStatus.COMPLETED, TaskStatus.FAILED)
        assert (task.status, task.errors) == (TaskStatus.COMPLETED, ())


def test_a_failed_and_a_cancelled_task_keep_no_samples(open_system: Open, submit: Submit, tmp_path: Path) -> None:
    with open_system(max_task_retries=0) as system:
        watcher = Watcher(system)
        running = submit(system, MINUTE, knobs="window_s=0.2")
        waiting = submit(system, SHORT)
        failing = submit(system, SHORT, knobs="fail=engine_error")
        watcher.wait_for(running, TaskStatus.PROCESSING)
        system.cancel(waiting)
        system.cancel(running)
        watcher.wait_for(failing, TaskStatus.FAILED)
        watcher.wait_until(lambda: not any((tmp_path / "data" / "audio").iterdir()), "an empty folder of samples")
        system.retry(waiting)
        assert watcher.wait_for(waiting, TaskStatus.COMPLETED).attempt == 1


@pytest.mark.parametrize(
    ("error", "status"), [(StoreBusyError(), TaskStatus.COMPLETED), (BadRecordError(), TaskStatus.FAILED)]
)
def test_a_task_that_cannot_be_handed_over_does_not_stay_processing(
    open_system: Open, submit: Submit, monkeypatch: pytest.MonkeyPatch, error: Exception, status: TaskStatus
) -> None:
    with open_system() as system:
        queue = system._queue
        read_windows = queue.windows
        raised: list[str] = []

        def unreadable_once(task_id: str) -> list[WindowResult]:
            if not raised:
                raised.append(task_id)
                raise error
            return read_windows(task_id)

        monkeypatch.setattr(queue, "windows", unreadable_once)
        watcher = Watcher(system)
        task_id = submit(system, SHORT)
        watcher.wait_until(lambda: bool(raised), "the first try")
        assert watcher.wait_for(task_id, status).status is status
        assert len(raised) == 1


def test_a_starving_task_gets_its_turn_although_another_model_must_go_first(
    open_system: Open, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two models do not fit at once, and small tasks of the loaded one never end."""
    monkeypatch.setattr(PlanLimits, "__init__", partialmethod(PlanLimits.__init__, starvation_s=0.0))
    monkeypatch.setattr("optimizer.wiring.DueTimes", partial(DueTimes, max_patience_s=0.0))  # due when it comes
    one_task_of_base = MemoryEstimationPool(1.2).estimate("base", "cpu", audio_seconds=3.0).total
    card = DeviceSpec("cpu", "cpu", "small", one_task_of_base + 50_000_000)  # tiny.en takes more than that
    with open_system(devices=[card]) as system:
        watcher = Watcher(system)
        first = submit(system, SHORT, knobs="window_s=0.3")
        starving = submit(system, SHORT, model="base")
        others = [submit(system, SHORT, knobs="window_s=0.1") for _ in range(6)]
        tasks = [watcher.wait_for(task_id, TaskStatus.COMPLETED) for task_id in (first, starving, *others)]
        started = sorted(tasks, key=started_at)
        assert starving in [task.id for task in started[:3]]


def test_a_device_that_cannot_be_used_holds_up_nobody_on_the_plain_path(open_system: Open, submit: Submit) -> None:
    devices = [DeviceSpec("cpu", "cpu", "a", 4 * 10**9), DeviceSpec("cuda:7", "cuda", "b", 4 * 10**9)]
    with open_system(enable_optimization_system=False, devices=devices) as system:
        watcher = Watcher(system)
        watcher.wait_until(lambda: all(status.is_ready for status in statuses_of(system)), "ready devices")
        device_at(system, 1).supervisor.state = DeviceState.UNAVAILABLE
        submit(system, SHORT, device="cuda:7")
        watcher.wait_for(submit(system, SHORT), TaskStatus.COMPLETED)


def test_a_retry_of_an_unknown_task_says_so(open_system: Open) -> None:
    with open_system() as system, pytest.raises(TaskNotFoundError):
        system.retry("01ARZ3NDEKTSV4RRFFQ69G5FAV")


def test_running_tasks_are_given_back_before_a_silent_fetch_is_waited_for(
    open_system: Open, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_over = threading.Event()
    monkeypatch.setattr(models, "fetch", lambda *_, **__: is_over.wait(60))
    monkeypatch.setattr(model_library, "STOP_GRACE_S", 0.5)
    states: list[TaskStatus] = []
    stop = ModelLibrary.stop
    with open_system() as system:
        task_id = submit(system, MINUTE, knobs="window_s=0.3")
        Watcher(system).wait_for(task_id, TaskStatus.PROCESSING)
        system.fetch_model("large-v3")

        def remembering_stop(library: ModelLibrary) -> None:
            states.append(system.task(task_id).task.status)
            stop(library)

        monkeypatch.setattr(ModelLibrary, "stop", remembering_stop)
    is_over.set()
    assert states == [TaskStatus.PENDING]


def test_a_task_deleted_while_its_result_is_written_leaves_the_worker_alone(
    open_system: Open, submit: Submit, tmp_path: Path
) -> None:
    with open_system(in_thread=False) as system:
        watcher = Watcher(system)
        task_id = submit(system, SHORT)
        failpoints.arm({"transcript.before_rename": lambda: system.delete(task_id)})
        try:
            watcher.wait_until(lambda: any(isinstance(event, TaskDeleted) for event in watcher.events), "the deletion")
        finally:
            failpoints.disarm()
        assert watcher.wait_for(submit(system, SHORT), TaskStatus.COMPLETED).attempt == 1
        assert len(device_at(system, 0).supervisor._restarts) == 0
        assert len(list((tmp_path / "data" / "transcripts").iterdir())) == 1


def test_a_stop_ends_both_decodes_that_began_at_once(tmp_path: Path) -> None:
    files = TaskFiles(tmp_path)
    files.make_folders()
    both_look = threading.Barrier(2)
    made: list[HeldDecoder] = []

    def make_decoder() -> HeldDecoder:
        both_look.wait(10)
        made.append(HeldDecoder())
        return made[-1]

    decode_pool = DecodePool(make_decoder, files)  # type: ignore[arg-type]
    for name in ("a", "b"):
        files.media_path(name).write_bytes(b"sound")
    futures = [decode_pool.start_decode(name) for name in ("a", "b")]
    try:
        assert all(decoder.has_begun.acquire(timeout=10) for decoder in made[:1] for _ in futures)
        decode_pool.stop()
    finally:
        for decoder in made:
            decoder.stop()
    assert [type(future.exception()) for future in futures] == [ShuttingDownError, ShuttingDownError]


def test_a_model_that_cannot_be_loaded_is_named_as_the_reason(
    open_system: Open, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(engine: FakeEngine, model: str, models_dir: Path) -> int:
        raise WeightsDamagedError()

    def run(engine: FakeEngine, *_: object) -> None:
        raise EngineError("The model is not loaded on this device.")  # all that an engine can say of it

    monkeypatch.setattr(FakeEngine, "load", load)
    monkeypatch.setattr(FakeEngine, "run", run)
    with open_system(max_task_retries=0) as system:
        task = Watcher(system).wait_for(submit(system, SHORT), TaskStatus.FAILED)
        assert [error.code for error in task.errors] == ["weights_damaged"]


class HeldDecoder:
    """Decodes until it is stopped."""

    def __init__(self) -> None:
        self.has_begun = threading.Semaphore(0)
        self._is_stopped = threading.Event()

    def decode(self, source: Path, destination: Path) -> None:
        self.has_begun.release()
        self._is_stopped.wait(WAIT_S)
        raise ShuttingDownError()

    def stop(self) -> None:
        self._is_stopped.set()
