"""Logging in on the page, with a key, and out again. Where there are no accounts, both lead to the page."""

from __future__ import annotations

from http import HTTPStatus

from flask import Blueprint, Response, make_response, redirect, render_template, request
from flask.typing import ResponseReturnValue

from errors import TooManyRequestsError
from web.http import session_cookie
from web.http.access import current_limits, current_principal, principal_or_none
from web.http.context import current_system

MAX_NAME_CHARACTERS = 64

login = Blueprint("login", __name__)


@login.get("/login")
def show_login() -> ResponseReturnValue:
    return _to_page() if principal_or_none() is not None else _form()


@login.post("/login")
def log_in() -> ResponseReturnValue:
    """The same answer whatever is wrong: the name, the key, or that the two do not belong together."""
    accounts = current_system().accounts
    if not accounts.are_in_force():
        return _to_page()
    name = request.form.get("name", "").strip().lower()[:MAX_NAME_CHARACTERS]
    try:
        current_limits().logins.take(f"{request.remote_addr} {name}")
        current_limits().requests.take(f"address {request.remote_addr}")
    except TooManyRequestsError as error:
        return _form("too_many", HTTPStatus.TOO_MANY_REQUESTS, {"Retry-After": str(error.retry_after_s)})
    principal = accounts.of_key(request.form.get("key", "").strip())
    if principal is None or principal.name != name:
        # Somebody may have typed the key where the name belongs, so only names that there are get noted.
        known = {"account": name} if accounts.has(name) else {}
        accounts.audit.record("login_failed", "", address=request.remote_addr, **known)
        return _form("wrong", HTTPStatus.UNAUTHORIZED)
    before, response = principal_or_none(), _to_page()
    if before is not None and before.session_id is not None:
        accounts.end_session(before.session_id)
    session_cookie.log_in(response, request, accounts, principal)
    accounts.audit.record("login", principal.name, address=request.remote_addr)
    return response


@login.post("/logout")
def log_out() -> ResponseReturnValue:
    """Ends the session; what it had open in the live feed is closed."""
    principal, accounts = current_principal(), current_system().accounts
    response = make_response(redirect("login", HTTPStatus.SEE_OTHER))
    if principal.session_id is not None:
        session_cookie.log_out(response, request, accounts, principal)
        accounts.audit.record("logout", principal.name)
    return response


def _to_page() -> Response:
    return make_response(redirect("./", HTTPStatus.SEE_OTHER))


def _form(problem: str = "", status: HTTPStatus = HTTPStatus.OK, headers: dict[str, str] | None = None) -> Response:
    response = make_response(render_template("login.html", problem=problem), status, headers or {})
    response.headers["Cache-Control"] = "no-store"
    return response
