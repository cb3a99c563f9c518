"""Accounts: who a key, a session or a proxy's word stands for, and whether anybody has to prove that at all.

There are accounts once API_KEYS or AUTH_HEADER is set or a key has ever been made. Without any the server is open to
everybody who reaches it, so it refuses to be reached from other machines.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Iterable

from config import Settings
from errors import InvalidSettingsError
from optimizer.accounts.key_store import KeyStore
from optimizer.accounts.live_keys import LiveKeys
from optimizer.accounts.principal import How, Principal
from optimizer.accounts.sessions import Sessions
from optimizer.accounts.signing_key import signing_key
from optimizer.common.clock import Clock
from optimizer.monitoring.audit import AuditTrail
from optimizer.storage.database import Database
from setting_values import account_name

log = logging.getLogger(__name__)


class Accounts:
    """`open` once, then any thread."""

    def __init__(self, settings: Settings, database: Database, clock: Clock) -> None:
        self._settings = settings
        self.audit = AuditTrail(database, clock)
        self._keys = LiveKeys(settings.named_keys, KeyStore(database, clock, self.audit), clock)
        self._sessions = Sessions(database, clock)
        self._names_accounts = settings.names_accounts
        self._lock = threading.Lock()
        self._signing_key: bytes | None = None

    def open(self) -> None:
        """Once the database is open. Raises InvalidSettingsError when other machines could use a server that has no
        accounts, or when nobody is named whose the tasks of the watched folder are."""
        self._keys.open()
        if self.are_in_force():
            if self._settings.watch_dir and not self._settings.watch_owner:
                raise InvalidSettingsError("WATCH_DIR needs WATCH_OWNER: the account that its tasks belong to.")
            log.info("event=accounts keys=%d", len(self._keys.names()))
        elif self._settings.is_public:
            raise InvalidSettingsError(
                f"HOST={self._settings.host} lets other machines reach the server, and there are no accounts, so "
                "anybody could read and delete everything. Make a key with `python main.py keys add admin`, or set "
                "API_KEYS=admin:KEY with a KEY of at least 32 characters, or set HOST=127.0.0.1."
            )

    def are_in_force(self) -> bool:
        """Whether requests need a key or a session. Once true, it stays true until the restart."""
        return self._names_accounts or self._keys.are_any()

    def of_key(self, text: str) -> Principal | None:
        key = self._keys.find(text)
        return None if key is None else Principal(key.name, How.KEY, key_id=key.id)

    def of_session(self, token: str) -> Principal | None:
        session = self._sessions.find(token)
        if session is None or not self._keys.is_live(session.key_id):
            return None
        return Principal(session.name, How.SESSION, key_id=session.key_id, session_id=session.id)

    def of_proxy(self, name: str) -> Principal | None:
        """name: what a trusted proxy says; None when no account can be called so."""
        try:
            return Principal(account_name(name), How.PROXY)
        except ValueError:
            return None

    def has(self, name: str) -> bool:
        """Whether an account of this name has a key."""
        return name in self._keys.names()

    def begin_session(self, principal: Principal) -> str:
        """Logs somebody in who sent a key. Returns the token for the browser."""
        if principal.key_id is None:
            raise ValueError("a session begins with a key")
        return self._sessions.begin(principal.name, principal.key_id)

    def end_session(self, session_id: str) -> None:
        self._sessions.end(session_id)

    def is_alive(self, principal: Principal) -> bool:
        """Whether what somebody proved earlier still holds."""
        return not self.ended_among([principal])

    def ended_among(self, principals: Iterable[Principal]) -> set[Principal]:
        """Those whose key was revoked, whose session has ended, or who came when there were no accounts."""
        asked = set(principals)
        going_on = self._sessions.going_on({each.session_id for each in asked if each.session_id is not None})
        return {each for each in asked if not self._holds(each, going_on)}

    def _holds(self, principal: Principal, going_on: Collection[str]) -> bool:
        """going_on: ids of sessions."""
        match principal.how:
            case How.OPEN:
                return not self.are_in_force()
            case How.PROXY:
                return True
            case How.KEY | How.SESSION:
                has_session = principal.session_id is None or principal.session_id in going_on
                return has_session and principal.key_id is not None and self._keys.is_live(principal.key_id)

    def signing_key(self) -> bytes:
        """What session cookies are signed with; the same at every call."""
        with self._lock:
            if self._signing_key is None:
                self._signing_key = signing_key(self._settings)
            return self._signing_key
