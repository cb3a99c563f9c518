"""Who the clients of the live feed are, and in which room each hears of tasks.

The server names the rooms and puts people into them, so no client can choose one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from errors import NotAuthenticatedError
from optimizer.accounts.accounts import Accounts
from optimizer.accounts.principal import EVERYBODY, Principal

ADMINS = "admins"
CHECK_EVERY_S = 1.0


def room_of(principal: Principal) -> str | None:
    """Where somebody hears of tasks. None without accounts: then everything is said to everybody."""
    if principal == EVERYBODY:
        return None
    return ADMINS if principal.sees is None else room_of_owner(principal.sees)


def room_of_owner(owner: str) -> str:
    return f"owner:{owner}"


class Members:
    """The clients that proved who they are, by Socket.IO's id. Any thread, except for `ended`."""

    def __init__(self, accounts: Accounts, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._accounts = accounts
        self._monotonic = monotonic
        self._next_check = 0.0
        self._lock = threading.Lock()
        self._principals: dict[str, Principal] = {}

    def add(self, sid: str, principal: Principal) -> None:
        with self._lock:
            self._principals[sid] = principal

    def remove(self, sid: str) -> None:
        with self._lock:
            self._principals.pop(sid, None)

    def current(self, sid: str) -> Principal:
        """Who this client is. Raises NotAuthenticatedError when that no longer holds."""
        with self._lock:
            principal = self._principals.get(sid)
        if principal is None or not self._accounts.is_alive(principal):
            raise NotAuthenticatedError()
        return principal

    def owners(self) -> dict[str, Principal]:
        """One principal for each room that somebody is in."""
        with self._lock:
            principals = list(self._principals.values())
        return {room: principal for principal in principals if (room := room_of(principal)) is not None}

    def ended(self) -> list[str]:
        """The clients whose key was revoked or whose session has ended; looked for every CHECK_EVERY_S."""
        now = self._monotonic()
        if now < self._next_check:
            return []
        self._next_check = now + CHECK_EVERY_S
        with self._lock:
            principals = dict(self._principals)
        ended = self._accounts.ended_among(principals.values())
        return [sid for sid, principal in principals.items() if principal in ended]
