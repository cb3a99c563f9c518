"""The page, its import map, and the nonce with which a browser accepts their inline parts."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any

from flask import Blueprint, Flask, Response, current_app, g, make_response, render_template
from flask.typing import ResponseReturnValue

from errors import StartError
from optimizer.accounts.principal import EVERYBODY
from version import PRODUCT_NAME, __version__
from web.http.access import current_principal
from web.http.context import current_settings
from web.http.owner import remember_browser
from web.http.security import content_security_policy

IMPORT_MAP = "vendor/importmap.json"  # below static/
_IMPORT_MAP_KEY = "transcription_import_map"

pages = Blueprint("pages", __name__)


@pages.get("/")
def show_page() -> ResponseReturnValue:
    settings, principal = current_settings(), current_principal()
    page = render_template(
        "index.html",
        account=principal.name,
        is_admin=principal.is_admin,
        has_session=principal.session_id is not None,
        import_map=_current_import_map(),
        default_model=settings.default_model,
        default_language=settings.default_language,
        version=__version__,
    )
    response = make_response(page)
    return remember_browser(response) if principal == EVERYBODY else response


def register_pages(app: Flask) -> None:
    """Raises StartError when the page's libraries are missing."""
    app.extensions[_IMPORT_MAP_KEY] = read_import_map(Path(str(app.static_folder)))
    app.context_processor(lambda: {"csp_nonce": _NonceOnDemand(), "product_name": PRODUCT_NAME})
    app.after_request(_allow_nonce)
    app.register_blueprint(pages)


def read_import_map(static_folder: Path) -> dict[str, Any]:
    """Which file each of the page's modules is. Raises StartError when one of them is missing."""
    try:
        import_map: dict[str, Any] = json.loads((static_folder / IMPORT_MAP).read_text(encoding="utf-8"))
        addresses = import_map["imports"].values()
        missing = [address for address in addresses if not _module_path(static_folder, address).is_file()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StartError(
            "The page's libraries are not in static/vendor yet. Run `make page` once and start again."
        ) from error
    if missing:
        raise StartError(f"The page's library {missing[0]} is missing. Run `make page` once and start again.")
    return import_map


def _module_path(static_folder: Path, address: str) -> Path:
    return static_folder / address.removeprefix(".").removeprefix("/").removeprefix("static/")


def _current_import_map() -> dict[str, Any]:
    import_map: dict[str, Any] = current_app.extensions[_IMPORT_MAP_KEY]
    return import_map


class _NonceOnDemand:
    """The request's nonce, created when a template first uses `{{ csp_nonce }}`."""

    def __str__(self) -> str:
        if "csp_nonce" not in g:
            g.csp_nonce = secrets.token_urlsafe(16)
        return str(g.csp_nonce)

    def __html__(self) -> str:
        return str(self)


def _allow_nonce(response: Response) -> Response:
    if "csp_nonce" in g:
        response.headers["Content-Security-Policy"] = content_security_policy(g.csp_nonce)
        response.headers["Cache-Control"] = "no-store"  # a cached page would have an old nonce
    return response
