"""`create_app` builds the web application around one system. It starts nothing; the server does."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask import Response, request
from flask_openapi3.models.info import Info
from flask_openapi3.models.schema import Schema
from flask_openapi3.openapi import OpenAPI

from config import Settings
from optimizer.intake.link_fetch import LINK_FIELD
from optimizer.intake.task_form import CALLBACK_FIELD, FILE_FIELD
from version import PRODUCT_NAME
from web.adapters.asr_webservice.routes import asr_webservice
from web.adapters.asr_webservice.schemas import AsrAnswer
from web.adapters.openai.routes import openai_api
from web.adapters.openai.schemas import OpenAIAnswer
from web.adapters.waiting import add_waiting_room
from web.adapters.whisper_cpp.routes import whisper_cpp
from web.adapters.whisper_cpp.schemas import CppAnswer
from web.health import health
from web.http.access import Limits, register_access
from web.http.answer_schemas import Answer, ErrorAnswer, schemas_of_answers
from web.http.context import attach_system, system_of
from web.http.error_shapes import is_foreign
from web.http.errors import raise_validation_error, register_error_answers
from web.http.json_provider import StrictJSONProvider
from web.http.open_files import FILES_SHARE, open_files_limit
from web.http.proxies import TrustedProxies
from web.http.security import AllowedHosts, Guard
from web.http.webhook_schemas import WebhookAnswer
from web.live.feed import LiveFeed
from web.live.gate import ConnectionGate
from web.login import login
from web.metrics import add_metrics
from web.pages import register_pages, send_page_file
from web.shared import shared
from web.system_api import system_api
from web.tasks.batches import batches
from web.tasks.downloads import downloads
from web.tasks.edits import edits_api
from web.tasks.routes import api
from web.tasks.shares import shares_api
from web.tasks.tus import add_protocol_headers, tus
from web.tasks.uploads import StreamingRequest
from web.webhooks_api import webhooks_api

if TYPE_CHECKING:
    from web.http.system_port import SystemPort

ROOT = Path(__file__).resolve().parent.parent
API_VERSION = "1"
SERVICE_WORKER = "service-worker.js"
_POLLS_SHARE = 4  # clients that poll get at most one in so many of the threads that read
_LIVE_FEED = "transcription_live_feed"  # its key in the application's `extensions`

# The page at /openapi/: Swagger UI from the installed package, as the content security policy allows it. Addresses are
# relative to /openapi/. With `validatorUrl` null it sends nothing to another server.
_DOCS_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{{ product_name }} API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="swagger/css/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="swagger/js/swagger-ui-bundle.js"></script>
<script nonce="{{ csp_nonce }}">
SwaggerUIBundle({ url: "openapi.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null })
</script>
</body>
</html>
"""

_DOCS_CONFIG = {"OPENAPI_HTML_STRING": _DOCS_PAGE, "SWAGGER_HTML_STRING": _DOCS_PAGE}

# Uploads have their own limits; these are for every other address.
_LIMITS = {"MAX_CONTENT_LENGTH": 64_000, "MAX_FORM_MEMORY_SIZE": 64_000, "MAX_FORM_PARTS": 20}


class Application(OpenAPI):
    request_class = StreamingRequest
    json_provider_class = StrictJSONProvider

    def send_static_file(self, filename: str) -> Response:
        response = send_page_file(self, filename) or super().send_static_file(filename)
        if filename == SERVICE_WORKER:
            response.headers["Service-Worker-Allowed"] = "../"  # it works for the page, which lies above it
        return response

    def generate_spec_json(self) -> None:
        """Adds the schemas of the answers.

        Removes the 422 that flask-openapi3 adds to operations that name none, in a shape that is not ours.
        """
        of_webhooks = (WebhookAnswer,) if webhooks_api.name in self.blueprints else ()
        kinds = (Answer, OpenAIAnswer, AsrAnswer, CppAnswer, *of_webhooks)
        self.components_schemas |= {name: Schema(**schema) for name, schema in schemas_of_answers(*kinds).items()}
        super().generate_spec_json()  # type: ignore[no-untyped-call]
        self.spec_json["security"] = [{"key": []}, {}]  # a key where there are accounts, else nothing
        self._describe_form(self.spec_json["paths"]["/api/tasks"]["post"]["requestBody"]["content"])
        for path in self.spec_json["paths"].values():
            for operation in path.values():
                refusal = operation["responses"]["422"]["content"]["application/json"]["schema"]
                if refusal.get("type") == "array":
                    del operation["responses"]["422"]

    def _describe_form(self, content: dict[str, Any]) -> None:
        """The fields that there are only where an operator has switched them on."""
        form, settings = content["multipart/form-data"]["schema"], system_of(self).settings
        further = [CALLBACK_FIELD] if settings.enable_webhooks else []
        if settings.enable_links:
            further.append(LINK_FIELD)
            required = [{"required": [FILE_FIELD]}, {"required": [LINK_FIELD]}]
            form = {name: value for name, value in form.items() if name != "required"} | {"oneOf": required}
        form["properties"] = {**form["properties"], **{name: {"type": "string"} for name in further}}
        content["multipart/form-data"] = {"schema": form}


def create_app(
    settings: Settings,
    system: SystemPort,
    *,
    root: Path = ROOT,
    monotonic: Callable[[], float] = time.monotonic,
) -> Application:
    """The WSGI application. Its live feed (`live_feed_of`) has to be started and stopped with the system.

    root: the folder of templates/ and static/. monotonic: by which the limits on requests go. Raises StartError when
    the page's libraries are missing.
    """
    app = Application(
        __name__,
        info=Info(title=PRODUCT_NAME, version=API_VERSION),
        root_path=str(root),
        security_schemes={"key": {"type": "http", "scheme": "bearer"}},
        validation_error_model=ErrorAnswer,
        validation_error_callback=raise_validation_error,
    )
    app.config.update(**_LIMITS, **_DOCS_CONFIG)
    attach_system(app, system)
    limits = Limits(settings, monotonic)
    register_access(app, limits)
    register_error_answers(app)
    register_pages(app)
    app.register_blueprint(login)
    app.register_blueprint(shared)
    own = (api, edits_api, shares_api, system_api, batches, downloads, health)
    for blueprint in (*own, openai_api, asr_webservice, whisper_cpp):
        app.register_api(blueprint)
    if settings.enable_webhooks:
        app.register_api(webhooks_api)
    if settings.enable_metrics:
        add_metrics(app, monotonic)
    app.register_blueprint(tus)
    app.after_request(_keep_out_of_caches)
    app.after_request(add_protocol_headers)
    _add_live_feed(app, settings, system, limits)
    add_waiting_room(app, system)
    app.wsgi_app = Guard(  # type: ignore[method-assign]
        app.wsgi_app, AllowedHosts.of(settings), TrustedProxies.of(settings)
    )
    return app


def _add_live_feed(app: Application, settings: Settings, system: SystemPort, limits: Limits) -> None:
    """Puts Socket.IO, and the gate in front of it, around the application."""
    max_polling = max(1, settings.web_threads // _POLLS_SHARE)
    live = app.extensions[_LIVE_FEED] = LiveFeed(
        app,
        system,
        limits=limits.requests,
        max_clients=min(settings.max_live_clients, open_files_limit() // FILES_SHARE),
        max_polling=max_polling,
    )
    app.wsgi_app = ConnectionGate(  # type: ignore[method-assign]
        app.wsgi_app, live.has_room, max_polls=max_polling
    )


def _keep_out_of_caches(response: Response) -> Response:
    """Answers about tasks are private and soon out of date. Media and static files have validators of their own."""
    is_about_tasks = request.path.startswith("/api/") or is_foreign(request.path)
    if is_about_tasks and "ETag" not in response.headers:
        response.headers["Cache-Control"] = "no-store"
    return response


def live_feed_of(app: Any) -> LiveFeed:
    feed: LiveFeed = app.extensions[_LIVE_FEED]
    return feed
