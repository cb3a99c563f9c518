"""Who sends a request, and what that person may see."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from setting_values import ADMIN


class How(Enum):
    """How somebody proved who they are."""

    OPEN = "open"  # not at all: there are no accounts
    KEY = "key"
    SESSION = "session"  # a key, at the login
    PROXY = "proxy"  # to a single sign-on proxy


@dataclass(frozen=True)
class Principal:
    name: str  # of the account; "" without accounts
    how: How
    key_id: str | None = None
    session_id: str | None = None

    @property
    def is_admin(self) -> bool:
        return self.how is How.OPEN or self.name == ADMIN

    @property
    def sees(self) -> str | None:
        """Whose tasks; None: everybody's."""
        return None if self.is_admin else self.name

    @property
    def is_shown_owners(self) -> bool:
        """Whether tasks come with their owner's name."""
        return self.is_admin and self.how is not How.OPEN


EVERYBODY = Principal("", How.OPEN)
