"""A system without scheduler, database or devices.

It has the methods that the web package calls (`SystemPort`) and raises the errors that the real one does. Tasks are
those of FakeTasks; this adds the device, the models, the limits and the history. Accounts are the real ones, in a
database that is opened only when the settings name some.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from config import Settings
from optimizer.accounts.accounts import Accounts
from optimizer.automation.webhook_store import WebhookStore
from optimizer.automation.webhooks import Webhooks
from optimizer.common.clock import Clock, SystemClock
from optimizer.devices.status import DeviceStatus
from optimizer.editing.transcript_editor import TranscriptEditor
from optimizer.monitoring.event_log import EventKind, SystemEvent
from optimizer.monitoring.figures import ExtraFigure, Figures
from optimizer.monitoring.performance_monitor import PerformanceMonitor
from optimizer.monitoring.samples import Sample
from optimizer.sharing.shares import Shares
from optimizer.storage.database import Database
from optimizer.storage.store import TaskStore
from optimizer.tasks.events import SystemChanged
from optimizer.tasks.task import Task, TaskFilter
from optimizer.timing.speeds import SpeedTable
from optimizer.views.storage import OwnerUse, StorageUse
from tests.web.fake_editing import FakeEditor
from tests.web.fake_tasks import EPOCH, FakeTasks
from version import __version__
from whisper_core.models.catalogue import MODELS, model_info
from whisper_core.text.languages import LANGUAGES


class FakeSystem(FakeTasks):
    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        super().__init__(settings)
        self.is_started = False
        self.health_reasons: list[str] = []
        self.readiness_reasons: list[str] = []
        self.degradation_reasons: list[str] = []
        self.fetched: list[str] = []
        self.on_device: list[Task] = []
        self.samples: list[Sample] = []
        self.event_log: list[SystemEvent] = []
        self.store = TaskStore(settings.data_dir)
        self.accounts = Accounts(settings, self.store.database, clock or SystemClock())
        if settings.names_accounts:
            self.store.open()
            self.accounts.open()
        self._clock = clock or SystemClock()
        self.monitor = PerformanceMonitor(self._clock, SpeedTable(), interval_s=60, on_sample=lambda: None)
        self.device_statuses: list[DeviceStatus] = []
        self.limits = {"max_concurrent_tasks": 8, "max_batch_size": 4}

    @cached_property
    def _database(self) -> Database:
        """Opened with the first question."""
        store = self.store
        if not self.settings.names_accounts:
            store = TaskStore(self.settings.data_dir / "further")
            store.open()
        return store.database

    @cached_property
    def shares(self) -> Shares:
        """The real ones, in a table that knows nothing of tasks: those of a FakeSystem are in no database."""
        with self._database.writing() as connection:
            connection.exec_driver_sql("DROP TABLE shares")
            connection.exec_driver_sql(
                "CREATE TABLE shares (id TEXT, task_id TEXT, token_sha256 TEXT, created_at TEXT, expires_at TEXT,"
                " has_media INTEGER)"
            )
        return Shares(self._database, self._clock)

    @cached_property
    def webhooks(self) -> Webhooks:
        """The real ones; nothing is sent."""
        rows = WebhookStore(self._database)
        return Webhooks(rows, self._clock, key=lambda: b"k" * 32, allow_private=False, wake=lambda: None)

    @cached_property
    def editor(self) -> TranscriptEditor:
        """The real one, in a database that is opened with the first question."""
        return FakeEditor(self.settings.data_dir / "edits", self.files, self._clock, self.tell, self._get)

    def start(self) -> None:
        self.is_started = True

    def stop(self) -> None:
        self.is_started = False
        self.store.close()

    def default_model(self) -> str:
        return self.settings.default_model

    def models(self) -> dict[str, Any]:
        return {
            "models": [
                {
                    "name": model.name,
                    "precision": model.precision,
                    "weights": model.weights_name,
                    "device_kinds": ["cpu"] if model.is_for_cpus_only else ["cpu", "cuda"],
                    "size_bytes": model.size_bytes,
                    "is_brought": False,
                    "is_multilingual": model.is_multilingual,
                    "is_available": model.weights_name == "base",
                    "loaded_on": [],
                    "memory_bytes": 2 * model.size_bytes,
                    "speed": None,
                    "word_error_rate": model.word_error_rate,
                    "fetch": None,
                    "problem": None,
                }
                for model in MODELS.values()
            ],
            "broken_models": [
                {"name": "mine", "fault": "damaged", "reason": "It cannot be used: model.safetensors is cut off."}
            ],
            "default": self.default_model(),
            "default_language": self.settings.default_language,
            "languages": LANGUAGES,
        }

    def status(self) -> dict[str, Any]:
        _, _, counts = self.tasks(TaskFilter())
        return {
            "version": __version__,
            "path": "optimized",
            "path_reason": None,
            "devices": [
                {
                    "name": "cpu",
                    "kind": "cpu",
                    "title": "a processor",
                    "state": "ready",
                    "total": 1_000_000_000,
                    "reserved": 0,
                    "used": 0,
                    "free": 1_000_000_000,
                    "headroom": 0,
                    "others": 0,
                    "resident_models": [],
                    "running": [task.id for task in self.on_device],
                    "slots": 16,
                    "models": [],
                    "tasks": [_on_device(task) for task in self.on_device],
                }
            ],
            "occupancy": 0.0,
            "adaptive": {
                "enabled": True,
                "max_concurrent_tasks": self.limits["max_concurrent_tasks"],
                "max_batch_size": self.limits["max_batch_size"],
                "last_change": None,
            },
            "counts": {status.value: count for status, count in counts.items()},
            "throughput": {"audio_seconds_per_second": 0.0},
            "settings": self.settings.public_values(),
            "limits": dict(self.limits),
            "advice": [],
            "advice_items": [],
            "memory_estimates": [],
            "forecasts": {"count": 0, "median_error_seconds": None, "median_error": None, "within_interval": None},
            "wait_bound": {"patience_seconds": 3600.0, "text": "None is passed by one that came an hour later."},
            "retention": {"media_days": None, "media_from": None, "text_days": None, "text_from": None},
            "fetches": [],
            "is_public": self.settings.is_public,
            "decoder": {"network": "off", "uid": "65534"},
        }

    def storage(self, owner: str | None) -> StorageUse:
        own = [task for task in list(self._tasks.values()) if owner in (None, task.owner)]
        uses = [OwnerUse(task.owner, 1, task.size_bytes) for task in own]
        whole = 0 if owner is None else None
        return StorageUse(sum(use.media for use in uses), 0, 0, whole, whole, 5_000_000_000, tuple(uses))

    def figures(self) -> Figures:
        _, _, counts = self.tasks(TaskFilter())
        totals = self.monitor.totals()
        extra = [ExtraFigure("lit_lamps", "Lamps that are lit", 4.0)]
        return Figures(True, counts, counts, {"no_audio_stream": 2}, 12.5, totals, self.device_statuses, extra)

    def device_names(self) -> list[str]:
        return ["cpu"]

    def set_limits(self, max_concurrent_tasks: int | None = None, max_batch_size: int | None = None) -> dict[str, Any]:
        if max_concurrent_tasks is not None:
            self.limits["max_concurrent_tasks"] = max_concurrent_tasks
        if max_batch_size is not None:
            self.limits["max_batch_size"] = max_batch_size
        self.tell(SystemChanged())
        return self.status()

    def history(self, hours: float) -> dict[str, Any]:
        samples = [sample for sample in self.samples if sample.at >= EPOCH.timestamp() - hours * 3600]
        changes = [event for event in self.event_log if event.kind == "tuning"]
        return {
            "samples": [sample.to_dict() for sample in samples],
            "changes": [{"at": event.at, "text": event.text, "data": event.data} for event in changes],
            "extra_metrics": [{"name": "lit_lamps", "title": "Lamps that are lit", "unit": ""}],
        }

    def events(self, kind: EventKind | None = None, limit: int = 100, before: int | None = None) -> list[SystemEvent]:
        if kind == "audit":
            return self.accounts.audit.entries(limit, before) if self.settings.names_accounts else []
        found = [event for event in self.event_log if kind in (None, event.kind)]
        return [event for event in reversed(found) if before is None or event.id < before][:limit]

    def fetch_model(self, name: str) -> None:
        self.fetched.append(model_info(name).name)

    def health(self) -> list[str]:
        return self.health_reasons

    def readiness(self) -> list[str]:
        return self.readiness_reasons

    def degradations(self) -> list[str]:
        return self.degradation_reasons


def _on_device(task: Task) -> dict[str, Any]:
    return {
        "id": task.id,
        "filename": task.filename,
        "model": task.options.model,
        "priority": task.priority.word,
        "progress": 0.0,
        "audio_seconds": 55.2,
        "work_left_seconds": 55.2,
        "reserved_bytes": 0,
        "peak_bytes": None,
        "eta_seconds": None,
    }
