"""The cookie of who is logged in: a session's random token, signed with SECRET_KEY."""

from __future__ import annotations

import hashlib

from flask import Request, Response
from itsdangerous import BadSignature, Signer

from optimizer.accounts.accounts import Accounts
from optimizer.accounts.principal import Principal
from optimizer.accounts.sessions import LASTS_S

NAME = "session"
_TLS_NAME = "__Host-session"  # browsers take it from this very host only, only with Secure, and for all of its paths
_TLS_NAME_BELOW = "__Secure-session"  # of a server below a path, for that path: others of the host have their own
_MAX_CHARACTERS = 200


def principal_of_cookie(sent: Request, accounts: Accounts) -> Principal | None:
    """Who is logged in; None for a cookie that is missing, forged or of a session that has ended."""
    signed = sent.cookies.get(_name(sent), "")
    if not signed or len(signed) > _MAX_CHARACTERS:
        return None
    try:
        token = _signer(accounts).unsign(signed).decode()
    except (BadSignature, UnicodeError):
        return None
    return accounts.of_session(token)


def log_in(response: Response, sent: Request, accounts: Accounts, principal: Principal) -> None:
    """Begins a session and has the browser keep it. One that it had before is not used again."""
    signed = _signer(accounts).sign(accounts.begin_session(principal)).decode()
    response.set_cookie(
        _name(sent),
        signed,
        max_age=LASTS_S,
        path=cookie_path(sent),
        secure=sent.is_secure,
        httponly=True,
        samesite="Lax",
    )


def log_out(response: Response, sent: Request, accounts: Accounts, principal: Principal) -> None:
    if principal.session_id is not None:
        accounts.end_session(principal.session_id)
    response.delete_cookie(_name(sent), path=cookie_path(sent), secure=sent.is_secure, httponly=True, samesite="Lax")


def cookie_path(sent: Request) -> str:
    """Where a proxy says that the server is."""
    return sent.root_path or "/"


def _name(sent: Request) -> str:
    if not sent.is_secure:
        return NAME
    return _TLS_NAME if cookie_path(sent) == "/" else _TLS_NAME_BELOW


def _signer(accounts: Accounts) -> Signer:
    return Signer(accounts.signing_key(), salt="session", key_derivation="hmac", digest_method=hashlib.sha256)
