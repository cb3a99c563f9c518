"""Builds what tells others of tasks' ends, and what watches a folder. Nothing is started, opened or read here."""

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
from optimizer.watching.deliveries import Tasks
from optimizer.watching.taker import Intake
from optimizer.watching.watcher import FolderWatcher
from optimizer.watching.wiring import build_watcher


@dataclass(frozen=True)
class Automation:
    webhooks: Webhooks
    dispatcher: WebhookDispatcher | None  # None: nobody is to be told
    watcher: FolderWatcher | None  # None: no folder is watched

    def check(self) -> None:
        """Before anything is started. Raises InvalidSettingsError."""
        if self.watcher is not None:
            self.watcher.check()

    def start(self) -> None:
        for part in (self.dispatcher, self.watcher):
            if part is not None:
                part.start()

    def stop(self) -> None:
        for part in (self.watcher, self.dispatcher):
            if part is not None:
                part.stop()


def build_automation(
    settings: Settings, clock: Clock, database: Database, events: EventBus, tasks: Tasks, intake: Intake
) -> Automation:
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
    watcher = build_watcher(settings, clock, database, tasks, intake)
    if watcher is not None:
        events.add_listener(watcher.on_event)
    webhooks = Webhooks(store, clock, key=key, allow_private=allow_private, wake=wake)
    return Automation(webhooks, dispatcher, watcher)


def _nothing() -> None:
    return
