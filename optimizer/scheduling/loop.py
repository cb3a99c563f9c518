"""The scheduler's loop: sleeps until something changes, brings the devices up to date, and decides.

Devices are changed on this one thread only; other threads hand in what they have to say through the inbox. What must be
durable was made so before it is posted (see `report_handler`).
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from functools import partial

from errors import CANNOT_STORE
from optimizer.common.clock import Clock
from optimizer.common.failpoints import failpoint
from optimizer.devices.fleet import DeviceFleet
from optimizer.queue.queue_manager import IntelligentQueueManager
from optimizer.scheduling.decision import DecisionMaker
from optimizer.scheduling.dispatcher import Dispatcher
from optimizer.scheduling.inbox import Inbox
from optimizer.tasks.events import EventBus, SystemChanged

log = logging.getLogger(__name__)

STOP_GRACE_S = 2.0
ITERATION_TIMEOUT_S = 10.0  # beyond the longest nap; a decision may wait 5 s for a busy database
PAUSE_AFTER_ERROR_S = 0.5
# With a thousand devices a round takes a tenth of a second, and every window that ends asks for another one. The loop
# shares an interpreter with the web server, so it gets a quarter of a core at most.
REST_PER_WORK, LONGEST_REST_S = 3.0, 1.0
MAX_DEATHS, DEATHS_WITHIN_S = 5, 60.0
UNHEALTHY_EXIT_CODE = 70  # EX_SOFTWARE, as in web/server/restart_policy.py


class BatchTaskScheduler:
    """start and stop once; everything else from any thread."""

    def __init__(
        self,
        decisions: DecisionMaker,
        dispatcher: Dispatcher,
        *,
        queue: IntelligentQueueManager,
        devices: DeviceFleet,
        inbox: Inbox,
        events: EventBus,
        clock: Clock,
        interval_s: float,
        end_process: Callable[[int], object] = os._exit,
    ) -> None:
        """interval_s: the longest time between two decisions. end_process: called with an exit code when the loop dies
        again and again; whoever watches the process starts it anew."""
        self._decisions = decisions
        self._dispatcher = dispatcher
        self._queue = queue
        self._devices = devices
        self._inbox = inbox
        self._events = events
        self._clock = clock
        self._interval_s = interval_s
        self._end_process = end_process
        self._thread = threading.Thread(target=self._run_again_and_again, name="scheduler")
        self._stopping = threading.Event()
        self._is_dead = False  # between a death of the loop and its next start
        self._deaths: deque[float] = deque(maxlen=MAX_DEATHS)
        self._last_iteration_at = self._watched_at = clock.monotonic()
        self._rests_until = 0.0  # what comes meanwhile is done, but nothing decided

    def start(self) -> None:
        """Start the devices, which are open by now, and the loop."""
        self._devices.start()
        self._last_iteration_at = self._watched_at = self._clock.monotonic()
        self._thread.start()

    def stop(self) -> None:
        """No new work; running tasks go back to pending at their last window. Returns when every worker is gone."""
        self._stopping.set()
        self.wake()
        if self._thread.ident is not None:
            self._thread.join()

    def wake(self) -> None:
        """Have the queue looked at now."""
        self._inbox.wake()

    def is_alive(self) -> bool:
        """Whether the loop still goes round."""
        silent_s = self._clock.monotonic() - self._last_iteration_at
        return not self._is_dead and self._thread.is_alive() and not self._is_standstill(silent_s)

    def set_limits(self, max_concurrent: int | None = None, max_batch: int | None = None) -> None:
        """In force from the next decision on. None leaves a limit as it is."""
        self._decisions.change_limits(max_concurrent, max_batch)
        self.wake()
        self._events.publish(SystemChanged())

    def stop_task(self, task_id: str) -> None:
        """End the task as soon as its worker can, wherever it runs."""
        for device in self._devices:
            self._inbox.post(partial(device.stop_task, task_id))

    # --- the loop ----------------------------------------------------------------------------------------------

    def _run_again_and_again(self) -> None:
        """The loop survives every Exception; what ends it all the same ends it for a moment only."""
        while True:
            try:
                self._run()
                return
            except BaseException:
                log.critical("event=scheduler_died", exc_info=True)
                self._is_dead = True
                self._count_death()
                self._stopping.wait(PAUSE_AFTER_ERROR_S)

    def _count_death(self) -> None:
        now = self._clock.monotonic()
        self._deaths.append(now)
        if len(self._deaths) == MAX_DEATHS and now - self._deaths[0] < DEATHS_WITHIN_S:
            log.critical("event=given_up reason='the scheduler died %d times in a minute'", MAX_DEATHS)
            self._end_process(UNHEALTHY_EXIT_CODE)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._last_iteration_at = self._clock.monotonic()
            try:
                failpoint("scheduler.iteration")
                self._is_dead = False
                self._iterate()
            except CANNOT_STORE as error:
                log.warning("event=scheduler_waits code=%s", error.code)
                self._stopping.wait(PAUSE_AFTER_ERROR_S)
            except Exception:
                # The loop must outlive any single decision; what the decision was about is in the database.
                log.exception("event=decision_failed")
                self._stopping.wait(PAUSE_AFTER_ERROR_S)
        self._stop_devices()

    def _iterate(self) -> None:
        self._inbox.run_actions(self._nap_s())
        self._rest()
        if self._stopping.is_set():
            return
        watching_s = self._watch_devices()
        self._queue.end_delays()
        self._decisions.decide()
        rest_s = min(REST_PER_WORK * (watching_s + self._decisions.planning_s), LONGEST_REST_S)
        self._rests_until = self._clock.monotonic() + rest_s

    def _rest(self) -> None:
        while (left_s := self._rests_until - self._clock.monotonic()) > 0 and not self._stopping.is_set():
            self._inbox.run_actions(left_s)

    def _watch_devices(self) -> float:
        """Returns the seconds that it took."""
        now, before = self._clock.monotonic(), self._watched_at
        # A server that was stopped (Ctrl-Z, a frozen virtual machine) finds every worker silent when it goes on. That
        # may happen at any line: no time is left out between two of these moments, and no worker is judged by a later
        # one.
        self._watched_at = now
        for device in self._devices:
            device.supervise(now, is_silence_excused=self._is_standstill(now - before))
            device.pool.check()
        return self._clock.monotonic() - now

    def _is_standstill(self, silent_s: float) -> bool:
        """Whether that is longer than any nap, rest and wait for the database explain."""
        return silent_s >= self._interval_s + ITERATION_TIMEOUT_S

    def _nap_s(self) -> float:
        """Until something is due, and interval_s at most."""
        due = [device.supervisor.next_supervision_in() for device in self._devices]
        due.append(self._queue.next_delay_end_in())
        return min([self._interval_s, *(seconds for seconds in due if seconds is not None)])

    def _stop_devices(self) -> None:
        """What the workers had goes back to pending, without being charged."""
        self._devices.stop(STOP_GRACE_S)
        for device in self._devices:
            _, tasks = device.apply_exit()
            for running in tasks:
                self._dispatcher.requeue_at_stop(running.task)
