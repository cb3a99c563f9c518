"""Webhooks, as requests and answers name them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from web.http.answer_schemas import Body
from web.http.request_schemas import Request

EventName = Literal["task.completed", "task.failed", "task.cancelled"]
_ALL_EVENTS: list[EventName] = ["task.completed", "task.failed", "task.cancelled"]


class WebhookPath(BaseModel):
    id: str = Field(description="the webhook's id")


class NewWebhook(Request):
    url: str = Field(max_length=2000, description="http or https")
    events: list[EventName] = Field(default_factory=lambda: list(_ALL_EVENTS), min_length=1, max_length=3)


class DeliveriesQuery(Request):
    limit: int = Field(50, ge=1, le=200)
    before: str | None = Field(None, max_length=32, description="only those older than the one with this id")


class WebhookAnswer(Body):
    """A whole answer. Apart from the others, because a server without webhooks does not describe them."""


class WebhookBody(Body):
    id: str
    url: str
    events: list[EventName]
    created_at: str
    disabled_at: str | None
    owner: str = Field("", description="the account that it belongs to; only there for an admin")


class WebhooksAnswer(WebhookAnswer):
    webhooks: list[WebhookBody]


class NewWebhookAnswer(WebhookAnswer):
    webhook: WebhookBody
    secret: str


class SecretAnswer(WebhookAnswer):
    secret: str


class DeliveryBody(Body):
    id: str
    event: Literal["task.completed", "task.failed", "task.cancelled", "webhook.test"]
    task_id: str | None
    status: Literal["pending", "delivered", "failed"]
    attempts: int
    created_at: str
    last_attempt_at: str | None
    http_status: int | None
    error: str | None


class DeliveryAnswer(WebhookAnswer):
    delivery: DeliveryBody


class DeliveriesAnswer(WebhookAnswer):
    deliveries: list[DeliveryBody]
