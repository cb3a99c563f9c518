"""Keeps the worker of one device alive: starts it, restarts it when it ends, and kills it when it stops answering."""

from __future__ import annotations

import logging
import signal
from collections import deque
from collections.abc import Callable, Collection

from errors import DeviceLostError, TaskError, WorkerDiedError, WorkerHungError
from optimizer.common.clock import Clock
from optimizer.common.kinds import DeviceKind
from optimizer.common.machine import oom_kills
from optimizer.devices.discovery import DeviceSpec
from optimizer.devices.status import DeviceState, RunningTask
from optimizer.devices.worker_process import Worker
from optimizer.memory.ledger import CONTEXT_OWNER, GPUMemoryPool
from whisper_core.worker.messages import Report

log = logging.getLogger(__name__)

HEARTBEAT_TIMEOUT_S = 60.0
START_TIMEOUT_S = 300.0
# Ten times a window's 30 s on a card; a CPU may be working on a large model.
WINDOW_TIMEOUT_S: dict[DeviceKind, float] = {"cpu": 1800.0, "cuda": 300.0}
_SENT_BY_PEOPLE = frozenset({-signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP, -signal.SIGQUIT})
RESTART_PAUSES_S = (0.0, 0.0, 1.0, 5.0, 15.0, 60.0)
START_TRIES = 3
UNSTABLE_RESTARTS = 3
UNSTABLE_WITHIN_S = 600.0


class WorkerSupervisor:
    """Belongs to the scheduler's thread; any thread may read `state` and `is_unstable`."""

    def __init__(
        self,
        spec: DeviceSpec,
        pool: GPUMemoryPool,
        worker: Worker,
        clock: Clock,
        context_bytes: int,
        *,
        on_reports: Callable[[list[Report]], None],
        on_exit: Callable[[], None],
    ) -> None:
        """context_bytes: what the worker takes before any model is loaded. on_reports, on_exit: see `Worker.start`."""
        self.state = DeviceState.STOPPED
        self._spec = spec
        self._pool = pool
        self._worker = worker
        self._clock = clock
        self._context_bytes = context_bytes
        self._on_reports = on_reports
        self._on_exit = on_exit
        self.restarts = 0  # since the start
        self._restarts: deque[float] = deque(maxlen=32)
        self._exits_without_window = 0  # in a row
        self._restart_at = 0.0
        self._last_report_at = 0.0
        self._end_reason: TaskError | None = None  # why the worker is about to end, where that is known beforehand
        self._was_ready = False
        self._is_card_gone = False
        self._oom_kills: int | None = None  # before the latest attempt began
        self.was_killed_from_outside = False  # at its latest exit

    # --- start and stop ----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Reserve the worker's own memory and start it. A worker that cannot be started counts as one that ended."""
        self.state = DeviceState.STARTING
        self._last_report_at = self._clock.monotonic()
        if self._pool.try_reserve(CONTEXT_OWNER, min(self._context_bytes, self._pool.free_bytes)) is None:
            log.warning("device=%s event=no_memory_for_its_worker", self._spec.name)
        try:
            self._worker.start(self._on_reports, self._on_exit)
        except OSError:  # the system has no process or no pipe left
            log.exception("device=%s event=worker_not_started", self._spec.name)
            self._on_exit()

    def stop(self, grace_s: float) -> None:
        """Returns when the worker is gone."""
        self.state = DeviceState.STOPPED
        self._worker.stop(grace_s)

    # --- watching it -------------------------------------------------------------------------------------------

    def supervise(self, now: float, running: Collection[RunningTask]) -> None:
        """Start a worker whose pause is over; kill one that no longer answers.

        now: see `Device.supervise`. running: the tasks that it has.
        """
        if self.state is DeviceState.RESTARTING and now >= self._restart_at:
            self.start()
        elif self.state in (DeviceState.STARTING, DeviceState.READY) and (reason := self._hang_reason(running, now)):
            log.error("device=%s event=worker_hung reason=%s", self._spec.name, reason)
            self._end_reason = WorkerHungError()
            self._last_report_at = now  # kill it once; its exit follows
            self._worker.kill()

    def excuse_silence(self, running: Collection[RunningTask]) -> None:
        """The server itself stood still, so it could hear nobody: every time-out starts anew."""
        self._last_report_at = self._clock.monotonic()
        for task in running:
            task.last_progress_at = self._last_report_at

    def next_supervision_in(self) -> float | None:
        """Seconds until a pause is over; None when only a report or an exit gives `supervise` something to do."""
        if self.state is DeviceState.RESTARTING:
            return max(0.0, self._restart_at - self._clock.monotonic())
        return None

    @property
    def is_unstable(self) -> bool:
        """Whether the worker had to be restarted several times lately."""
        now = self._clock.monotonic()
        return sum(now - at < UNSTABLE_WITHIN_S for at in self._restarts.copy()) >= UNSTABLE_RESTARTS

    def _hang_reason(self, running: Collection[RunningTask], now: float) -> str | None:
        """Why a worker that should be at work counts as hung; None when it does not."""
        if self._worker.is_report_being_handled:
            # We are the slow side: a full disk or a busy database holds up the thread that reads the worker's pipe.
            self.excuse_silence(running)
            return None
        silent_s = now - self._last_report_at
        if silent_s > (START_TIMEOUT_S if self.state is DeviceState.STARTING else HEARTBEAT_TIMEOUT_S):
            return f"no report for {silent_s:.0f} s"
        if self._worker.is_preparing:
            for task in running:
                task.last_progress_at = now
        for task in running:
            if now - task.last_progress_at > WINDOW_TIMEOUT_S[self._spec.kind]:
                return f"task {task.task.id} finished no window for {now - task.last_progress_at:.0f} s"
        return None

    # --- what is heard of it -----------------------------------------------------------------------------------

    def mark_attempt_begins(self) -> None:
        """It gets a task, after which it may run out of memory."""
        self._oom_kills = oom_kills()

    def mark_alive(self) -> None:
        """A report came."""
        self._last_report_at = self._clock.monotonic()

    def mark_ready(self) -> None:
        self.state = DeviceState.READY
        self._was_ready = True

    def mark_productive(self) -> None:
        """It finished a window, so after its next exit it is restarted at once."""
        self._exits_without_window = 0

    def mark_device_lost(self, error: DeviceLostError) -> None:
        """The worker said that its device is lost; its exit follows."""
        self._end_reason = error

    def mark_exited(self) -> TaskError:
        """The worker has ended: plan its restart, or give the device up. Returns why it ended."""
        self.was_killed_from_outside = self._worker.is_lost or (
            self._end_reason is None and self._is_killed_from_outside()
        )
        error, self._end_reason = self._end_reason or WorkerDiedError(), None
        never_started = self.state is DeviceState.STARTING and not self._was_ready
        if never_started and len(self._restarts) + 1 >= START_TRIES:
            self.state = DeviceState.UNAVAILABLE
            log.error("device=%s event=unavailable: its worker cannot use it", self._spec.name)
        elif self.state is not DeviceState.STOPPED:
            self._plan_restart()
        return error

    def mark_card_gone(self, is_gone: bool) -> None:
        """Whether the machine no longer has the device.

        Without its card a worker may hang for ever, so it is killed. When none can be started, the device becomes
        unavailable; as soon as the card is back, one is started again.
        """
        if is_gone == self._is_card_gone:
            return
        self._is_card_gone = is_gone
        if is_gone:
            log.error("device=%s event=gone", self._spec.name)
            self._was_ready = False
            if self.state in (DeviceState.STARTING, DeviceState.READY):
                self._end_reason = DeviceLostError()
                self._worker.kill()
        else:
            log.warning("device=%s event=back", self._spec.name)
            if self.state is DeviceState.UNAVAILABLE:
                self._restarts.clear()
                self._exits_without_window = 0
                self._restart_at = self._clock.monotonic()
                self.state = DeviceState.RESTARTING

    def _is_killed_from_outside(self) -> bool:
        """Whether its end says nothing of its tasks: a signal that only a person or a service manager sends, or SIGKILL
        although the kernel has killed nothing for lack of memory."""
        code = self._worker.exit_code
        if code == -signal.SIGKILL:
            return self._oom_kills is not None and oom_kills() == self._oom_kills
        return code in _SENT_BY_PEOPLE

    def _plan_restart(self) -> None:
        """At once when the worker finished a window; otherwise it may never finish one, so after a growing pause."""
        now = self._clock.monotonic()
        self._restarts.append(now)
        self.restarts += 1
        pause = RESTART_PAUSES_S[min(self._exits_without_window, len(RESTART_PAUSES_S) - 1)]
        self._exits_without_window += 1
        self.state = DeviceState.RESTARTING
        self._restart_at = now + pause
        log.error("device=%s event=worker_exited restart_in_s=%.0f", self._spec.name, pause)
