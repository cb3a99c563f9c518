"""FolderWatcher: looks into a folder again and again, makes tasks of the recordings in it and writes their transcripts.

It looks and waits for no notices, because network drives give none.
"""

from __future__ import annotations

import logging
import threading
from contextlib import suppress

from errors import CANNOT_STORE, ShuttingDownError, TaskNotFoundError, TranscriptionServerError
from optimizer.common.clock import Clock
from optimizer.intake.task_form import TaskForm
from optimizer.storage.upload_file import Upload
from optimizer.tasks.events import Event, TaskChanged, TaskDeleted
from optimizer.watching.deliveries import Deliveries, Tasks
from optimizer.watching.found_files import FoundFile, Settling, recordings_below
from optimizer.watching.taker import REFUSALS, Taker
from optimizer.watching.tree import Tree
from optimizer.watching.watch_store import DoneFile, WatchedFile, WatchState, WatchStore, key_of

log = logging.getLogger(__name__)

MAX_UNFINISHED = 32  # tasks at a time: enough for every device, and ten thousand files fill neither queue nor disk
PAUSE_PER_LOOK = 10  # the least pause between two looks, as a multiple of what a look takes
RETRY_S = 5.0


class FolderWatcher:
    """A thread of its own. start and stop once; on_event from any thread."""

    def __init__(
        self,
        watched: Tree,
        clock: Clock,
        *,
        tasks: Tasks,
        store: WatchStore,
        taker: Taker,
        deliveries: Deliveries,
        stopping: threading.Event,
        interval_s: float,
        settled_s: float,
    ) -> None:
        """stopping: shared with the taker."""
        self._watched = watched
        self._clock = clock
        self._tasks = tasks
        self._store = store
        self._taker = taker
        self._deliveries = deliveries
        self._stopping = stopping
        self._interval_s = interval_s
        self._settling = Settling(clock, settled_s)
        self._is_loaded = False
        self._known: dict[str, tuple[int, int]] = {}  # size and time of what was taken, by the path's hash
        self._unfinished: dict[str, WatchedFile] = {}  # by task
        self._ready: list[FoundFile] = []  # settled and not taken yet
        self._next_look = clock.monotonic()
        self._told: dict[str, str] = {}  # what was last logged, by what it is about: the same is not said at each look
        self._changed = threading.Condition()
        self._to_check: set[str] = set()  # tasks that may have ended
        self._postponed: set[str] = set()  # those whose transcripts could not be written
        self._taking: WatchedFile | None = None  # whose task may be stored or not
        self._thread: threading.Thread | None = None

    def check(self) -> None:
        """Before anything is started. Raises InvalidSettingsError."""
        self._taker.check_options()

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="watched-folder")
        self._thread.start()

    def stop(self) -> None:
        """What is under way is begun anew after the next start."""
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def on_event(self, event: Event) -> None:
        if isinstance(event, (TaskChanged, TaskDeleted)):
            with self._changed:
                if event.task_id in self._unfinished:
                    self._to_check.add(event.task_id)
                    self._changed.notify_all()

    def run_due(self) -> float:
        """Does what there is to do. Returns the seconds until the next look. Raises what the store raises."""
        if not self._is_loaded:
            self._load()
            self._is_loaded = True
        now = self._clock.monotonic()
        if now >= self._next_look:
            self._look()
            took = self._clock.monotonic() - now
            self._next_look = now + took + max(self._interval_s, PAUSE_PER_LOOK * took)
        self._settle_ended()
        self._take_ready()
        return max(0.0, self._next_look - self._clock.monotonic())

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                wait_s = self.run_due()
            except CANNOT_STORE as error:
                self._tell("store", f"event=watching_waits code={error.code}")
                wait_s = RETRY_S
            except Exception:
                log.exception("event=watching_failed")
                wait_s = RETRY_S
            with self._changed:
                if not self._to_check and not self._stopping.is_set():
                    self._changed.wait(wait_s)

    # Once, after the start

    def _load(self) -> None:
        self._known = self._store.known()
        for watched in self._store.unfinished():
            if watched.state is WatchState.TAKING:
                self._resolve(watched)
            else:
                self._keep(watched)
        log.info("event=watching known=%d unfinished=%d", len(self._known), len(self._unfinished))

    def _resolve(self, watched: WatchedFile) -> None:
        """One whose task may be stored or not."""
        try:
            self._tasks.queue.get(watched.task_id)
        except TaskNotFoundError:
            self._store.remove(watched.found.path)
            self._tasks.files.delete(watched.task_id)  # the copy, when a kill came just before its task was stored
            self._forget(watched.found)
            return
        self._keep(watched)

    def _keep(self, watched: WatchedFile) -> None:
        with self._changed:
            self._unfinished[watched.task_id] = watched
            self._to_check.add(watched.task_id)

    def _drop(self, task_id: str) -> None:
        with self._changed:
            self._unfinished.pop(task_id, None)

    # Tasks that have ended

    def _settle_ended(self) -> None:
        with self._changed:
            task_ids, self._to_check = self._to_check & set(self._unfinished), set()
        self._postponed |= task_ids
        for task_id in sorted(task_ids):
            try:
                self._settle(self._unfinished[task_id])
            except (OSError, TranscriptionServerError) as error:
                reason = error.strerror if isinstance(error, OSError) else error.message
                self._tell(task_id, f"task={task_id} event=transcripts_not_written reason={reason!r}")
                continue
            except Exception:  # of one task, which is tried again at the next look
                log.exception("task=%s event=watched_task_failed", task_id)
                continue
            self._told.pop(task_id, None)
            self._postponed.discard(task_id)

    def _settle(self, watched: WatchedFile) -> None:
        try:
            task = self._tasks.queue.get(watched.task_id)
        except TaskNotFoundError:  # its row was done with it
            self._drop(watched.task_id)
            return
        left = self._deliveries.settle(watched, task)
        if left is not None:
            with self._changed:
                self._unfinished[watched.task_id] = left
            return
        self._drop(watched.task_id)
        if self._store.find(watched.found.path) is None:
            self._forget(watched.found)

    # Files

    def _look(self) -> None:
        with self._changed:
            self._to_check |= self._postponed
            self._postponed = set()
        try:
            unknown = [found for found in recordings_below(self._watched.root) if self._is_unknown(found)]
        except OSError as error:  # a network drive that is not there comes back
            self._tell("folder", f"event=watched_folder_unreadable reason={error.strerror!r}")
            return
        self._told.pop("folder", None)
        self._ready = self._settling.settled(unknown)

    def _take_ready(self) -> None:
        self._resolve_taking()
        while self._ready and self._has_room() and not self._stopping.is_set():
            try:
                self._take(self._ready[0])
            except ShuttingDownError:
                return
            except TranscriptionServerError as error:  # nothing is wrong with the file: it is tried again
                field = f" field={error.field}" if error.field else ""
                self._tell("take", f"event=watching_waits code={error.code}{field}")
                return
            except FileNotFoundError:
                pass  # somebody took it away since it was seen: there is nothing to do, and nothing to tell
            except OSError as error:
                self._tell("file", f"event=watched_file_unreadable reason={error.strerror!r}")
            except Exception:  # whatever one file can do, those behind it are taken; it is tried again at the next look
                log.exception("event=watched_file_failed")
                self._resolve_taking()
            del self._ready[0]
            self._told.pop("take", None)

    def _resolve_taking(self) -> None:
        if self._taking is not None:
            self._resolve(self._taking)
            self._taking = None

    def _take(self, found: FoundFile) -> None:
        try:
            form = self._taker.admit(found)
        except REFUSALS as error:
            self._deliveries.refuse(self._taker.refused(found), error.message)
            self._remember(found)
            return
        upload = self._taker.receive(found)
        if upload is None:
            return
        with upload:
            watched = self._taker.record(found, upload)
            self._remember(found)
            if isinstance(watched, DoneFile):
                return
            is_new = watched.state is WatchState.TAKING
            taken = self._submit(watched, upload, form) if is_new else watched
        if taken is not None:
            self._cancel_outdated(taken)
            self._keep(taken)

    def _submit(self, watched: WatchedFile, upload: Upload, form: TaskForm) -> WatchedFile | None:
        """None: the file was refused."""
        self._taking = watched
        try:
            waiting = self._taker.submit(watched, upload, form)
            log.info("task=%s event=watched_file_taken size_bytes=%d", watched.task_id, watched.found.size)
        except REFUSALS as error:
            log.info("event=watched_file_refused code=%s", error.code)
            self._deliveries.refuse(watched, error.message)
            waiting = None
        self._taking = None
        return waiting

    def _cancel_outdated(self, watched: WatchedFile) -> None:
        """The task of what the file was before it changed, if that is not over."""
        for other in list(self._unfinished.values()):
            if other.found.path == watched.found.path and other.task_id != watched.task_id:
                self._drop(other.task_id)
                with suppress(TranscriptionServerError):
                    self._tasks.cancel(other.task_id)

    def _has_room(self) -> bool:
        return sum(each.state is not WatchState.ENDED for each in self._unfinished.values()) < MAX_UNFINISHED

    def _is_unknown(self, found: FoundFile) -> bool:
        return self._known.get(key_of(found.path)) != (found.size, found.mtime_ns)

    def _remember(self, found: FoundFile) -> None:
        self._known[key_of(found.path)] = (found.size, found.mtime_ns)

    def _forget(self, found: FoundFile) -> None:
        self._known.pop(key_of(found.path), None)

    def _tell(self, about: str, message: str) -> None:
        if self._told.get(about) != message:
            self._told[about] = message
            log.warning(message)
