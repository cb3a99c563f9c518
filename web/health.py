"""The probes for service managers and load balancers: is the process alive, and can it work now?"""

from __future__ import annotations

from collections.abc import Sequence

from flask import Response, jsonify
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from errors import UnavailableError
from web.http.access import principal_or_none
from web.http.answer_schemas import HealthAnswer, answer
from web.http.context import current_system

health = APIBlueprint(
    "health",
    __name__,
    abp_tags=[Tag(name="health")],
    abp_responses={"200": answer(HealthAnswer), "503": answer(HealthAnswer)},
)


@health.get("/healthz")
def get_health() -> Response:
    """503 when the process should be restarted."""
    return _answer(current_system().health())


@health.get("/readyz")
def get_readiness() -> Response:
    """503 with the reasons while new tasks would not be worked on. `degraded`, with 200: they are, but devices of other
    machines cannot be reached."""
    system = current_system()
    return _answer(system.readiness(), system.degradations())


def _answer(reasons: list[str], degradations: Sequence[str] = ()) -> Response:
    """Strangers are not told the reasons."""
    if not reasons and not degradations:
        return jsonify(status="ok", reasons=[])
    shown = [*reasons, *degradations] if principal_or_none() is not None else []
    if not reasons:
        return jsonify(status="degraded", reasons=shown)
    response = jsonify(status="unavailable", reasons=shown)
    response.status_code = 503
    response.headers["Retry-After"] = str(UnavailableError.retry_after_s)
    return response
