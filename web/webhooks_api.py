"""Webhooks over HTTP. There are these addresses only where ENABLE_WEBHOOKS is on."""

from __future__ import annotations

from typing import Any

from flask import Response, jsonify
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from optimizer.automation.webhook_store import Delivery, Webhook
from optimizer.common.text import iso_time
from web.http.access import current_principal
from web.http.answer_schemas import answer, error_responses
from web.http.context import current_system
from web.http.serializers import timestamp
from web.http.task_access import current_tasks
from web.http.webhook_schemas import (
    DeliveriesAnswer,
    DeliveriesQuery,
    DeliveryAnswer,
    NewWebhook,
    NewWebhookAnswer,
    SecretAnswer,
    WebhookPath,
    WebhooksAnswer,
)

webhooks_api = APIBlueprint(
    "webhooks_api",
    __name__,
    url_prefix="/api/webhooks",
    abp_tags=[Tag(name="webhooks")],
    abp_responses=error_responses(401, 429, 503),
)


@webhooks_api.get("", responses={"200": answer(WebhooksAnswer)})
def list_webhooks() -> Response:
    """The addresses that are told of tasks' ends; without their secrets."""
    found = current_system().webhooks.all_of(current_principal().sees)
    return jsonify(webhooks=[_webhook_json(webhook) for webhook in found])


@webhooks_api.post("", responses={"201": answer(NewWebhookAnswer), **error_responses(400, 403, 409, 413, 422, 507)})
def add_webhook(body: NewWebhook) -> Response:
    """A further address. The answer has the secret that signs what it gets; it is not shown again."""
    webhook, secret = current_system().webhooks.add(current_principal().name, body.url, tuple(body.events))
    current_tasks().audit("webhook_added", webhook_id=webhook.id)
    response = jsonify(webhook=_webhook_json(webhook), secret=secret)
    response.status_code = 201
    return response


@webhooks_api.delete("/<id>", responses={"204": None, **error_responses(403, 404, 507)})
def remove_webhook(path: WebhookPath) -> Response:
    """Nothing is sent to it any more, not even what waits."""
    current_system().webhooks.remove(path.id, current_principal().sees)
    current_tasks().audit("webhook_removed", webhook_id=path.id)
    return Response(status=204)


@webhooks_api.post("/<id>/test", responses={"202": answer(DeliveryAnswer), **error_responses(403, 404, 409, 507)})
def test_webhook(path: WebhookPath) -> Response:
    """Sends `webhook.test` to it."""
    delivery = current_system().webhooks.test(path.id, current_principal().sees)
    response = jsonify(delivery=_delivery_json(delivery))
    response.status_code = 202
    return response


@webhooks_api.get("/<id>/deliveries", responses={"200": answer(DeliveriesAnswer), **error_responses(404, 422)})
def list_deliveries(path: WebhookPath, query: DeliveriesQuery) -> Response:
    """What was sent to it and what became of it, newest first."""
    found = current_system().webhooks.deliveries(path.id, current_principal().sees, query.limit, query.before)
    return jsonify(deliveries=[_delivery_json(delivery) for delivery in found])


@webhooks_api.get("/callbacks/secret", responses={"200": answer(SecretAnswer)})
def get_callback_secret() -> Response:
    """What signs the messages to the caller's callback_url addresses."""
    return jsonify(secret=current_system().webhooks.callback_secret(current_principal().name))


def _webhook_json(webhook: Webhook) -> dict[str, Any]:
    owner = {"owner": webhook.owner} if current_principal().is_shown_owners else {}
    return {
        "id": webhook.id,
        "url": webhook.url,
        "events": list(webhook.events),
        "created_at": iso_time(webhook.created_at),
        "disabled_at": timestamp(webhook.disabled_at),
        **owner,
    }


def _delivery_json(delivery: Delivery) -> dict[str, Any]:
    return {
        "id": delivery.id,
        "event": delivery.event,
        "task_id": delivery.task_id,
        "status": delivery.status,
        "attempts": delivery.attempts,
        "created_at": iso_time(delivery.created_at),
        "last_attempt_at": timestamp(delivery.last_at),
        "http_status": delivery.http_status,
        "error": delivery.error,
    }
