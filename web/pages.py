"""The page, its files, and the nonce with which a browser accepts its inline parts."""

from __future__ import annotations

import mimetypes
import secrets
from pathlib import Path

from flask import (
    Blueprint,
    Flask,
    Response,
    g,
    make_response,
    render_template,
    request,
    send_from_directory,
)
from flask.typing import ResponseReturnValue

from optimizer.accounts.principal import EVERYBODY
from version import PRODUCT_NAME, __version__
from web.http.access import current_principal
from web.http.context import current_settings
from web.http.owner import remember_browser
from web.http.security import content_security_policy
from web.page_files import COMPRESSED, PageFiles, read_page_files
from web.page_languages import read_languages

_PAGE_FILES = "transcription_page_files"  # its key in the application's `extensions`
mimetypes.add_type("application/manifest+json", ".webmanifest")
_A_YEAR_S = 365 * 24 * 3600

pages = Blueprint("pages", __name__)


@pages.get("/")
def show_page() -> ResponseReturnValue:
    settings, principal = current_settings(), current_principal()
    page = render_template(
        "index.html",
        account=principal.name,
        is_admin=principal.is_admin,
        has_session=principal.session_id is not None,
        default_model=settings.default_model,
        default_language=settings.default_language,
        version=__version__,
    )
    response = make_response(page)
    return remember_browser(response) if principal == EVERYBODY else response


def register_pages(app: Flask) -> None:
    """Raises StartError when the page's libraries are missing."""
    static_folder = Path(str(app.static_folder))
    files = app.extensions[_PAGE_FILES] = read_page_files(static_folder)
    fixed = {"product_name": PRODUCT_NAME, "files": files, "languages": read_languages(static_folder)}
    app.context_processor(lambda: {"csp_nonce": _NonceOnDemand(), **fixed})
    app.after_request(_allow_nonce)
    app.register_blueprint(pages)


def send_page_file(app: Flask, name: str) -> Response | None:
    """One of the bundles, to be kept for ever, and compressed for those who can read that; None of any other file."""
    files: PageFiles = app.extensions[_PAGE_FILES]
    if name not in files.hashed or name.endswith(COMPRESSED):
        return None
    is_compressed = request.accept_encodings.quality("gzip") > 0
    mimetype, _ = mimetypes.guess_type(name)
    stored = name + COMPRESSED if is_compressed else name
    response = send_from_directory(str(app.static_folder), stored, mimetype=mimetype, max_age=_A_YEAR_S)
    response.cache_control.immutable = True
    response.vary.add("Accept-Encoding")
    if is_compressed:
        response.content_encoding = "gzip"
    return response


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
