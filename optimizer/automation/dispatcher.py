"""WebhookDispatcher: sends what is due, a few at a time, and tries again what failed."""

from __future__ import annotations

import logging
import random
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from errors import CANNOT_STORE, TranscriptionServerError
from optimizer.automation.backoff import Outcome, next_delay
from optimizer.automation.sender import Sender
from optimizer.automation.webhook_store import Delivery, WebhookStore
from optimizer.common.clock import Clock
from optimizer.common.failpoints import failpoint
from optimizer.tasks.events import Event, TaskChanged

if TYPE_CHECKING:
    from optimizer.common.guarded_http import GuardedPost

log = logging.getLogger(__name__)

MAX_AT_ONCE = 8
MAX_PER_RECEIVER = 2
MAX_TO_FAILING = 4  # at once, to receivers that did not take the last one: the others are never held up by them
ATTEMPT_S = 15.0  # in all, however slowly the receiver answers
LOOK_EVERY_S = 60.0
STORE_RETRY_S = 5.0
KEPT = timedelta(days=7)  # how long one can see what became of a delivery
SWEEP_EVERY_S = 3600.0
STOP_S = 10.0
_MOST_FAILING = 1000


@dataclass(frozen=True)
class Attempt:
    delivery: Delivery
    post: GuardedPost
    deadline: float  # monotonic


class WebhookDispatcher:
    """A thread of its own that starts a short-lived one for each attempt."""

    def __init__(
        self,
        store: WebhookStore,
        sender: Sender,
        clock: Clock,
        *,
        chance: Callable[[], float] = random.random,
        spawn: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        """chance: from 0 to 1, for the jitter. spawn: runs an attempt; None: on a thread."""
        self._store = store
        self._sender = sender
        self._clock = clock
        self._chance = chance
        self._spawn = spawn or self._spawn_thread
        self._changed = threading.Condition()
        self._is_woken = True
        self._stopping = threading.Event()
        self._running: dict[str, Attempt] = {}
        self._failing: set[str] = set()  # receivers
        self._threads: set[threading.Thread] = set()
        self._thread: threading.Thread | None = None
        self._next_sweep = clock.monotonic()

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="webhooks")
        self._thread.start()

    def stop(self) -> None:
        """What is under way is broken off and sent again after the next start, under the same id."""
        self._stopping.set()
        self.wake()
        if self._thread is not None:
            self._thread.join()
        with self._changed:
            attempts, threads = list(self._running.values()), list(self._threads)
        for attempt in attempts:
            attempt.post.abort()
        for thread in threads:
            thread.join(STOP_S)  # one that resolves a name cannot be interrupted, and ends with the process

    def on_event(self, event: Event) -> None:
        if isinstance(event, TaskChanged):
            self.wake()

    def wake(self) -> None:
        with self._changed:
            self._is_woken = True
            self._changed.notify_all()

    def run_due(self) -> float:
        """Starts what is due and ends what takes too long. Returns the seconds until there is something to do."""
        self._end_late_ones()
        self._sweep()
        now = self._clock.now().timestamp()
        while (delivery := self._take_next(now)) is not None:
            self._begin(delivery)
        return self._seconds_left(now)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                wait_s = self.run_due()
            except CANNOT_STORE as error:
                log.warning("event=webhooks_wait code=%s", error.code)
                wait_s = STORE_RETRY_S
            except Exception:
                log.exception("event=webhooks_failed")
                wait_s = STORE_RETRY_S
            with self._changed:
                if not self._is_woken and not self._stopping.is_set():
                    self._changed.wait(wait_s)
                self._is_woken = False

    def _take_next(self, now: float) -> Delivery | None:
        with self._changed:
            running = [attempt.delivery.receiver for attempt in self._running.values()]
            ids, failing = list(self._running), set(self._failing)
        if len(running) >= MAX_AT_ONCE:
            return None
        full = {receiver for receiver, count in Counter(running).items() if count >= MAX_PER_RECEIVER}
        if sum(receiver in failing for receiver in running) >= MAX_TO_FAILING:
            full |= failing
        return self._store.next_due(now, ids, full)

    def _begin(self, delivery: Delivery) -> None:
        attempt = Attempt(delivery, self._sender.make_post(), self._clock.monotonic() + ATTEMPT_S)
        with self._changed:
            self._running[delivery.id] = attempt
        self._spawn(lambda: self._try(attempt))

    def _spawn_thread(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, name="webhook", daemon=True)
        with self._changed:
            self._threads.add(thread)
        thread.start()

    def _try(self, attempt: Attempt) -> None:
        delivery = attempt.delivery
        try:
            failpoint("webhook.before_send")
            outcome = self._sender.send(delivery, attempt.post)
            failpoint("webhook.sent")
            if not self._stopping.is_set() or outcome.status is not None:
                self._record(delivery, outcome)
        finally:
            with self._changed:
                del self._running[delivery.id]
                self._threads.discard(threading.current_thread())
            self.wake()

    def _record(self, delivery: Delivery, outcome: Outcome) -> None:
        """Again and again until it is stored, so that a full disk makes nobody get the same thing all the time."""
        self._remember(delivery.receiver, outcome)
        attempts = delivery.attempts + 1
        delay_s = next_delay(attempts, outcome, self._chance())
        while True:
            try:
                self._store.record(delivery, outcome, self._clock.now(), delay_s)
                break
            except TranscriptionServerError as error:
                log.warning("delivery=%s event=webhook_not_recorded code=%s", delivery.id, error.code)
                if self._stopping.wait(STORE_RETRY_S):
                    return
        if outcome.is_delivered:
            log.info("delivery=%s event=webhook_delivered attempts=%d", delivery.id, attempts)
        else:
            log.warning(
                "delivery=%s webhook=%s event=%s attempts=%d status=%s error=%s", delivery.id, delivery.webhook_id,
                "webhook_given_up" if delay_s is None else "webhook_delayed", attempts, outcome.status, outcome.error,
            )  # fmt: skip

    def _remember(self, receiver: str, outcome: Outcome) -> None:
        with self._changed:
            if outcome.is_delivered:
                self._failing.discard(receiver)
            else:
                if len(self._failing) >= _MOST_FAILING:
                    self._failing.clear()
                self._failing.add(receiver)

    def _end_late_ones(self) -> None:
        now = self._clock.monotonic()
        with self._changed:
            late = [attempt for attempt in self._running.values() if attempt.deadline <= now]
        for attempt in late:
            attempt.post.abort()

    def _sweep(self) -> None:
        now = self._clock.monotonic()
        if now >= self._next_sweep:
            self._next_sweep = now + SWEEP_EVERY_S
            self._store.remove_old(self._clock.now() - KEPT)

    def _seconds_left(self, now: float) -> float:
        first = self._store.first_due_at(now)
        with self._changed:
            deadlines = [attempt.deadline for attempt in self._running.values()]
        waits = [max(0.05, deadline - self._clock.monotonic()) for deadline in deadlines]
        if first is not None:
            waits.append(max(0.05, first - now))
        return min([LOOK_EVERY_S, *waits])
