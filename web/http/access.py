"""Who may send which request. Strangers, who did not prove who they are, get to what is listed here, nowhere else."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import cast

from flask import Flask, Request, current_app, g, has_app_context, redirect, request
from flask.typing import ResponseReturnValue

from config import Settings
from errors import ForbiddenError, NotAuthenticatedError
from optimizer.accounts.accounts import Accounts
from optimizer.accounts.principal import EVERYBODY, Principal
from web.http.context import current_system
from web.http.error_shapes import is_foreign
from web.http.proxies import PROXY_USER
from web.http.rate_limit import RateLimiter
from web.http.session_cookie import principal_of_cookie

# Endpoints, which Flask names after the blueprint and the view. A new route is refused to strangers until it is here.
PAGE = "pages.show_page"
STATIC = "static"
PUBLIC = frozenset(
    {STATIC, "login.show_login", "login.log_in", "health.get_health", "health.get_readiness"}
    | {"shared.show_shared", "shared.get_shared_transcript", "shared.get_shared_media"}  # a link's token opens them
)
ADMINS_ONLY = frozenset({"api.change_system", "api.fetch_model", "system_api.get_log", "metrics.get_metrics"})

LOGINS_PER_MINUTE = 5
_LIMITS = "transcription_limits"
_BEARER = "bearer "


class Limits:
    """How often people may ask."""

    def __init__(self, settings: Settings, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.requests = RateLimiter(settings.requests_per_minute, monotonic)
        self.logins = RateLimiter(LOGINS_PER_MINUTE, monotonic)


def register_access(app: Flask, limits: Limits) -> None:
    app.extensions[_LIMITS] = limits
    app.before_request(_check_access)


def current_limits() -> Limits:
    return cast(Limits, current_app.extensions[_LIMITS])


def current_principal() -> Principal:
    """Who sent the request. Raises NotAuthenticatedError for a stranger, who gets only to public endpoints."""
    principal = principal_or_none()
    if principal is None:
        raise NotAuthenticatedError()
    return principal


def principal_or_none() -> Principal | None:
    return cast("Principal | None", g.get("principal")) if has_app_context() else None


def find_principal(sent: Request, accounts: Accounts) -> Principal | None:
    """Who sent this; None for somebody who does not say. Also for the live feed, whose requests do not come by here.

    Raises NotAuthenticatedError for a key that opens nothing, and for one in the address, where logs would keep it.
    """
    if not accounts.are_in_force():
        return EVERYBODY
    if "api_key" in sent.args:
        raise NotAuthenticatedError("A key in the address is not accepted. Send it as Authorization: Bearer KEY.")
    authorization = sent.headers.get("Authorization", "")
    if authorization[: len(_BEARER)].lower() == _BEARER:
        principal = accounts.of_key(authorization[len(_BEARER) :].strip())
        if principal is None:
            raise NotAuthenticatedError("This key is unknown or was revoked.")
        return principal
    if is_foreign(sent.path) and (principal := _principal_of_password(sent, accounts)):
        return principal
    if name := sent.environ.get(PROXY_USER):
        return accounts.of_proxy(name)
    return principal_of_cookie(sent, accounts)


def _principal_of_password(sent: Request, accounts: Accounts) -> Principal | None:
    """Of the account and key in `http://NAME:KEY@host`: some clients can be told an address and nothing else. A wrong
    pair is no fault: it may be meant for a proxy in front of this server."""
    said = sent.authorization
    if said is None or said.type != "basic":
        return None
    principal = accounts.of_key(said.password or "")
    return principal if principal is not None and principal.name == said.username else None


def _check_access() -> ResponseReturnValue | None:
    """Before every request, also to addresses that do not exist."""
    if request.endpoint == STATIC:
        return None
    accounts = current_system().accounts
    is_public = request.endpoint in PUBLIC
    try:
        g.principal = find_principal(request, accounts)
    except NotAuthenticatedError:
        if not is_public:
            current_limits().requests.take(f"address {request.remote_addr}")
            raise
    principal = principal_or_none()
    if is_public or principal == EVERYBODY:
        return None
    if principal is None:
        current_limits().requests.take(f"address {request.remote_addr}")
        if request.endpoint == PAGE and request.accept_mimetypes.accept_html:
            return redirect("login")  # relative, because the page may be served below a path
        raise NotAuthenticatedError()
    current_limits().requests.take(f"account {principal.name}")
    if request.endpoint in ADMINS_ONLY and not principal.is_admin:
        raise ForbiddenError()
    return None
