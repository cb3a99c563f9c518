"""The owner of a request: whose tasks it makes.

Where there are accounts, the account. Where there are none, the browser that sent it, or the address of a script; that
is no identity and grants no access. It only prevents that one person's thousand files block everybody else's, and after
clearing its cookie a browser is a new owner.
"""

from __future__ import annotations

import hashlib
import re
import secrets

from flask import Request, Response, request

from optimizer.accounts.principal import EVERYBODY
from web.http.access import principal_or_none
from web.http.session_cookie import cookie_path

COOKIE = "owner"
_COOKIE_LASTS_S = 365 * 86400
_TOKEN = re.compile(r"[0-9a-f]{32}")
_NAME_CHARACTERS = 16


def owner_of(sent: Request) -> str:
    """The account's name; without accounts 16 hexadecimal characters that reveal neither the cookie nor the address."""
    principal = principal_or_none()
    if principal is not None and principal != EVERYBODY:
        return principal.name
    token = _token(sent)
    return _opaque(f"browser {token}") if token else owner_at(sent.remote_addr or "")


def owner_at(address: str) -> str:
    """Without accounts: of what comes from that address and from no browser."""
    return _opaque(f"address {address}")


def remember_browser(response: Response) -> Response:
    """Sets the cookie of a browser that does not have one."""
    if _token(request) is None:
        response.set_cookie(
            COOKIE, secrets.token_hex(16), max_age=_COOKIE_LASTS_S, httponly=True, samesite="Strict",
            secure=request.is_secure, path=cookie_path(request),
        )  # fmt: skip
    return response


def _opaque(origin: str) -> str:
    return hashlib.sha256(origin.encode()).hexdigest()[:_NAME_CHARACTERS]


def _token(sent: Request) -> str | None:
    token = sent.cookies.get(COOKIE, "")
    return token if _TOKEN.fullmatch(token) else None
