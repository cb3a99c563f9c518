"""Where what is asked of the system goes: to this process's own, once it leads, and to the leader until then."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from errors import CommitUncertainError, NoLeaderError, ShuttingDownError
from optimizer.common.clock import Clock
from optimizer.common.gate import Gate
from optimizer.leadership.calls import ONCE, REMOVALS, resolve
from optimizer.leadership.channel_client import AnswerLostError, ChannelClient, NotBegunError, no_answer

WAIT_S = 30.0  # for the next leader; one is there within a few seconds, unless it has a long queue to read
LOOK_EVERY_S = 0.05


class Route:
    """Any thread. While there is no leader calls wait for one, up to WAIT_S, and then raise NoLeaderError."""

    def __init__(self, client: ChannelClient, clock: Clock, wait_s: float = WAIT_S) -> None:
        self.client = client
        self.gate = Gate()  # to files that this process makes tasks of, once it leads
        self._clock = clock
        self._wait_s = wait_s
        self._system: Any = None
        self._is_stopping = False
        self._changed = threading.Condition()  # of the two above

    @property
    def system(self) -> Any:
        """This process's own, None as long as another one leads."""
        return self._system

    def lead(self, system: Any) -> None:
        with self._changed:
            self._system = system
            self._changed.notify_all()

    def stop(self) -> None:
        """Who waits for a leader waits no longer."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify_all()
        self.gate.shut()
        self.client.close()

    def call(self, name: str, *args: Any, **named: Any) -> Any:
        """What the system's method of this name answers, whoever leads. Raises its errors, and NoLeaderError."""
        deadline, was_lost = None, False
        while True:
            try:
                return self.call_once(name, *args, **named)
            except NotBegunError:
                pass
            except AnswerLostError:
                if name in ONCE:
                    raise no_answer() from None
                was_lost = True
            except REMOVALS.get(name, ()):
                if was_lost:
                    return None  # the leader that went away has done it
                raise
            deadline = self.wait(deadline)

    def call_once(self, name: str, *args: Any, **named: Any) -> Any:
        """As `call`, but raises NotBegunError and AnswerLostError when there is no leader, or none any more."""
        if self._system is not None:
            return resolve(self._system, name)(*args, **named)
        return self.remotely(lambda: self.client.call(name, *args, **named))

    def enter(self, name: str, *args: Any) -> AbstractContextManager[Any]:
        """A context of the system; of the leader's it is a Session, and has been entered."""
        deadline = None
        while self._system is None:
            try:
                session: AbstractContextManager[Any] = self.remotely(lambda: self.client.enter(name, *args))
                return session
            except (NotBegunError, AnswerLostError):
                deadline = self.wait(deadline)
        context: AbstractContextManager[Any] = resolve(self._system, name)(*args)
        return context

    def remotely(self, act: Callable[[], Any]) -> Any:
        """A leader that is stopping is as good as none: the next one will answer. So is one that cannot know whether it
        was done: it makes way (see `ServingHold.give_up`), and the next one reads what is stored."""
        try:
            return act()
        except ShuttingDownError as error:
            raise NotBegunError() from error
        except CommitUncertainError as error:
            raise AnswerLostError() from error

    def wait(self, deadline: float | None) -> float:
        """A moment, and returns the deadline for the next one. None: it is the first since the leader was missed, from
        which the time counts, however long the leader had worked on the call.

        Raises NoLeaderError when the time is over, ShuttingDownError when this process stops.
        """
        if deadline is None:
            deadline = self._clock.monotonic() + self._wait_s
        elif self._clock.monotonic() >= deadline:
            raise NoLeaderError()
        with self._changed:
            if self._is_stopping:
                raise ShuttingDownError()
            if self._system is None:
                self._changed.wait(LOOK_EVERY_S)
        return deadline
