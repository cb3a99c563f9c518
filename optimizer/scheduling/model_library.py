"""Which models' weights are on this machine, and fetching those that are not.

A fetch has a thread of its own (`fetch-<model>`), one for all models that are loaded from the same file. Meanwhile
their tasks wait, with the percentage as their reason. A failed fetch is tried again after a growing pause, or at once
when somebody asks for it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from errors import TranscriptionServerError
from optimizer.common.clock import Clock
from optimizer.planning.inputs import ModelView
from whisper_core.models import fetch as models
from whisper_core.models.download import FetchProgress
from whisper_core.models.registry import ModelRegistry
from whisper_core.models.weight_files import locate

log = logging.getLogger(__name__)

FIRST_PAUSE_S = 60.0
LONGEST_PAUSE_S = 3600.0
PROGRESS_EVERY_S = 0.5  # progress comes every few kilobytes, and each on_change wakes the scheduler
STOP_GRACE_S = 5.0


@dataclass
class _Fetch:
    """The fetch of one file: its progress while `thread` is set, then how it ended."""

    thread: threading.Thread | None = None
    done_bytes: int = 0
    total_bytes: int = 0
    failures: int = 0
    failed_message: str | None = None
    retry_at: float = 0.0  # monotonic seconds, as told_at
    told_at: float = float("-inf")  # when on_change was last called for its progress

    def end(self, failed_message: str | None, now: float) -> None:
        """failed_message: None when the weights are here."""
        self.thread = None
        self.failed_message = failed_message
        self.failures = 0 if failed_message is None else self.failures + 1
        pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(10, max(0, self.failures - 1)))
        self.retry_at = now + pause_s


class ModelLibrary:
    """Any thread. on_change is called when a model arrives, or a fetch starts, moves or fails."""

    def __init__(
        self,
        models_dir: Path,
        sources: str,
        clock: Clock,
        on_change: Callable[[], None],
        registry: ModelRegistry | None = None,
    ) -> None:
        """registry: the server's; without one, openai-whisper's models."""
        self.registry = registry or ModelRegistry()
        self._models_dir = models_dir
        self._sources = sources
        self._clock = clock
        self._on_change = on_change
        self._fetches: dict[str, _Fetch] = {}  # by the weights' name
        self._lock = threading.Lock()
        self._stopping = threading.Event()

    def is_available(self, model: str) -> bool:
        if self.registry.known(model).is_brought:
            return self.registry.find(model) is not None
        return locate(model, self._models_dir) is not None

    def model_view(self, model: str) -> ModelView:
        """What the planner needs to know about a model."""
        if self.is_available(model):
            return ModelView(is_available=True)
        if self.registry.known(model).is_brought:
            return ModelView(is_available=False, failed_message=self.registry.problem(model))
        weights = self.registry.info(model).weights_name
        fetching = self.fetching().get(weights)
        if fetching is not None:
            done, total = fetching
            return ModelView(is_available=False, fetch_fraction=done / total if total else 0.0)
        with self._lock:
            fetch = self._fetches.get(weights)
            return ModelView(is_available=False, failed_message=fetch.failed_message if fetch else None)

    def fetching(self) -> dict[str, tuple[int, int]]:
        """Bytes done and bytes in all, of every fetch that runs, by the weights' name."""
        with self._lock:
            return {
                weights: (fetch.done_bytes, fetch.total_bytes)
                for weights, fetch in self._fetches.items()
                if fetch.thread is not None
            }

    def fetch_if_missing(self, model: str, *, now: bool = False) -> None:
        """Start a fetch, unless the weights are here or on their way, or the last fetch has just failed.

        now: True to try again although it has just failed.
        """
        if self.is_available(model):
            return
        info = self.registry.known(model)
        if info.is_brought:  # whoever brought it may bring it again
            return
        with self._lock:
            fetch = self._fetches.setdefault(info.weights_name, _Fetch())
            if fetch.thread is not None or self._stopping.is_set():
                return
            if not now and self._clock.monotonic() < fetch.retry_at:
                return
            weights = info.weights_name
            thread = threading.Thread(target=self._fetch, args=(weights, fetch), name=f"fetch-{weights}")
            fetch.failed_message = None
            fetch.done_bytes = 0
            fetch.total_bytes = info.size_bytes
            thread.start()  # under the lock, so that `stop` can join every thread it finds
            fetch.thread = thread
        self._on_change()

    def ask_to_stop(self) -> None:
        """Have running fetches end; what they have so far is kept, and the next fetch continues from there."""
        self._stopping.set()

    def stop(self) -> None:
        """Wait for running fetches, but only a few seconds: one whose source is silent ends with the process."""
        self.ask_to_stop()
        until = self._clock.monotonic() + STOP_GRACE_S
        with self._lock:
            threads = [fetch.thread for fetch in self._fetches.values() if fetch.thread is not None]
        for thread in threads:
            thread.join(max(0.0, until - self._clock.monotonic()))

    def _fetch(self, weights: str, fetch: _Fetch) -> None:
        """On the fetch's own thread."""
        log.info("model=%s event=fetch_started", weights)
        failed_message: str | None = None
        try:
            models.fetch(
                weights,
                self._models_dir,
                sources=self._sources,
                on_progress=partial(self._follow_progress, fetch),
                should_stop=self._stopping.is_set,
            )
            log.info("model=%s event=fetched", weights)
        except TranscriptionServerError as error:
            failed_message = error.message
            log.warning("model=%s event=fetch_failed code=%s message=%s", weights, error.code, failed_message)
        except Exception:
            failed_message = "The weights could not be fetched; the log has the details."
            log.exception("model=%s event=fetch_failed", weights)
        with self._lock:
            fetch.end(failed_message, self._clock.monotonic())
        self._on_change()

    def _follow_progress(self, fetch: _Fetch, progress: FetchProgress) -> None:
        with self._lock:
            fetch.done_bytes, fetch.total_bytes = progress.done_bytes, progress.total_bytes
        now = self._clock.monotonic()
        if now - fetch.told_at >= PROGRESS_EVERY_S:
            fetch.told_at = now
            self._on_change()
