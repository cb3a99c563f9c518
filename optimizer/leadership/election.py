"""Who leads: whoever holds the lock on the data folder and then the database's serving lock. Both end with a process,
however it ends.

The folder's lock is looked at often, because that costs a system call; the database's is what counts, and is taken by
the start itself (`PostgresqlDialect.check_start`).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from errors import DataFolderInUseError

log = logging.getLogger(__name__)

LOOK_EVERY_S = 0.2
RETRY_S = 2.0  # after a start that has failed
STOP_LIMIT_S = 60.0


class Election:
    """`try_now` first, then `start`; `stop` once."""

    def __init__(self, is_led: Callable[[], bool], lead: Callable[[], None]) -> None:
        """is_led: whether somebody leads, this process or another. lead: raises DataFolderInUseError when somebody
        else was faster."""
        self._is_led = is_led
        self._lead = lead
        self._is_stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="election", daemon=True)
        self.failure: str | None = None  # why this process could not lead although nobody else did

    def try_now(self) -> bool:
        """Whether this process leads from now on. Raises what `lead` raises but for DataFolderInUseError."""
        if self._is_led():
            return False
        try:
            self._lead()
        except DataFolderInUseError as error:
            log.info("event=election_lost reason='%s'", error)
            return False
        self.failure = None
        return True

    def start(self) -> None:
        """Tries again and again from now on, until it leads."""
        self._thread.start()

    def stop(self) -> None:
        """Waits for a start that is under way. Harmless when it was not started."""
        self._is_stopping.set()
        if self._thread.is_alive():
            self._thread.join(STOP_LIMIT_S)

    def _run(self) -> None:
        pause_s = LOOK_EVERY_S
        while not self._is_stopping.wait(pause_s):
            pause_s = LOOK_EVERY_S
            try:
                if self.try_now():
                    return
            except Exception as error:
                log.exception("event=election_failed")
                self.failure = f"this process cannot take over: {type(error).__name__}"
                pause_s = RETRY_S
