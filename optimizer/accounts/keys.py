"""Keys: how they are made, and what is kept of them."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime

_PREFIX = "wsk_"  # so that programs which look for leaked secrets know one


@dataclass(frozen=True)
class ApiKey:
    """A stored key, which itself is not stored."""

    id: str
    name: str  # of the account
    sha256: str
    created_at: datetime
    last_used_at: datetime | None = None  # to the hour
    revoked_at: datetime | None = None

    @property
    def is_revoked(self) -> bool:
        return self.revoked_at is not None


def new_key() -> str:
    """256 random bits."""
    return _PREFIX + secrets.token_urlsafe(32)


def new_token() -> str:
    """256 random bits for a session."""
    return secrets.token_urlsafe(32)


def digest_of(secret: str) -> str:
    """What is kept of a key or a token. A plain hash is enough, because nobody can try out 256 bits."""
    return hashlib.sha256(secret.encode()).hexdigest()
