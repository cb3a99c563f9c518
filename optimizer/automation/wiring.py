"""Builds what tells others of tasks' ends. Nothing is started, opened or read here."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial

from config import Settings
from optimizer.accounts.signing_key import signing_key
from optimizer.automation.dispatcher import WebhookDispatcher
from optimizer.automation.sender import Sender
from optimizer.automation.webhook_store import WebhookStore
from optimizer.automation.webhooks import Webhooks
from optimizer.common.clock import Clock
from optimizer.storage.database import Database
from optimizer.tasks.events import EventBus


@dataclass(frozen=True)
class Automation:
    webhooks: Webhooks
    dispatcher: WebhookDispatcher | None  # None: nobody is to be told

    def start(self) -> None:
        if self.dispatcher is not None:
            self.dispatcher.start()

    def stop(self) -> None:
        if self.dispatcher is not None:
            self.dispatcher.stop()


def build_automation(settings: Settings, clock: Clock, database: Database, events: EventBus) -> Automation:
    store = WebhookStore(database)
    key = cache(partial(signing_key, settings))
    allow_private = settings.webhook_allow_private
    dispatcher = None
    if settings.sends_webhooks:
        secret = settings.webhook_secret.get_secret_value()
        sender = Sender(store, clock, key=key, settings_secret=secret, allow_private=allow_private)
        dispatcher = WebhookDispatcher(store, sender, clock)
        events.add_listener(dispatcher.on_event)
    wake = _nothing if dispatcher is None else dispatcher.wake
    return Automation(Webhooks(store, clock, key=key, allow_private=allow_private, wake=wake), dispatcher)


def _nothing() -> None:
    return
