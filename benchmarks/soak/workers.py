"""The clients: they upload, cancel, delete, retry, read and listen until they are told to stop. Whatever fails is tried
again, as a careful script does it; only answers count."""

from __future__ import annotations

import asyncio
import http
import random
import threading
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import requests

from benchmarks.load.http_client import Address
from benchmarks.load.live_client import LiveClient
from benchmarks.soak.record import TaskRecord, Wish

ANSWER_LIMIT_S = 20.0
PAUSE_S = 0.2
UPLOAD_PAUSE_S = (0.05, 0.6)
CHANGE_PAUSE_S = (0.5, 2.0)
LISTENERS = 5
DELETED_SHARE = 0.4  # of the changes


@dataclass(frozen=True)
class Sample:
    """A recording and the text that the server's engine makes of it."""

    name: str
    data: bytes
    text: str
    options: dict[str, str]


class Clients:
    """Threads; `start` once, `stop` once. address: asked for anew each time, because a restart may change it."""

    def __init__(
        self, address: Callable[[], str], samples: Sequence[Sample], record: TaskRecord, *, uploaders: int, seed: int
    ) -> None:
        self._address = address
        self._samples = samples
        self._record = record
        self._seed = seed
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self.counts: dict[str, int] = {}
        jobs = [self._upload_on] * uploaders + [self._change_on] * 2 + [self._read_on] * 2 + [self._listen_on]
        self._threads = [
            threading.Thread(target=job, args=(random.Random(seed * 1000 + number),), name=f"client-{number}")
            for number, job in enumerate(jobs)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Returns when every upload that was begun is answered for."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    # --- uploads -----------------------------------------------------------------------------------------------

    def _upload_on(self, chance: random.Random) -> None:
        while not self._stopping.is_set():
            self._upload(chance.choice(self._samples))
            self._stopping.wait(chance.uniform(*UPLOAD_PAUSE_S))

    def _upload(self, sample: Sample) -> None:
        """Until it is answered for: what nobody answered for may have been accepted."""
        key = uuid.uuid4().hex
        while True:
            answer = self._try(
                "POST", "/api/tasks", files={"file": (sample.name, sample.data)}, data=sample.options,
                headers={"Idempotency-Key": key},
            )  # fmt: skip
            if answer is not None and answer.status_code in (200, 202):
                self._record.accept(answer.json()["task"]["id"], sample.text)
                self._count("uploads")
                return
            self._count("uploads tried again")
            threading.Event().wait(PAUSE_S)

    # --- changes -----------------------------------------------------------------------------------------------

    def _change_on(self, chance: random.Random) -> None:
        while not self._stopping.is_set():
            task = self._record.take(chance.choice)
            if task is not None:
                is_deletion = chance.random() < DELETED_SHARE
                if is_deletion:
                    self._delete(task.task_id)
                elif task.wish is Wish.CANCEL:
                    self._retry(task.task_id)
                else:
                    self._cancel(task.task_id)
            self._stopping.wait(chance.uniform(*CHANGE_PAUSE_S))

    def _cancel(self, task_id: str) -> None:
        self._record.change(task_id, Wish.ASKED, Wish.CANCEL)
        answer = self._until_answered("POST", f"/api/tasks/{task_id}/cancel")
        is_cancelled = answer.status_code == http.HTTPStatus.OK
        self._record.change(task_id, Wish.CANCEL if is_cancelled else Wish.COMPLETE)
        self._count("cancelled" if is_cancelled else "cancelled too late")

    def _retry(self, task_id: str) -> None:
        """A cancelled task starts over. A repeated request finds it started already, which is as good."""
        self._record.change(task_id, Wish.ASKED, Wish.CANCEL)
        answer = self._until_answered("POST", f"/api/tasks/{task_id}/retry")
        is_restarted = answer.status_code in (http.HTTPStatus.OK, http.HTTPStatus.CONFLICT)
        self._record.change(task_id, Wish.COMPLETE if is_restarted else Wish.CANCEL)
        self._count("retried")

    def _delete(self, task_id: str) -> None:
        """A repeated request finds it deleted already."""
        self._record.change(task_id, Wish.ASKED, Wish.DELETE)
        answer = self._until_answered("DELETE", f"/api/tasks/{task_id}")
        is_deleted = answer.status_code in (http.HTTPStatus.NO_CONTENT, http.HTTPStatus.NOT_FOUND)
        self._record.change(task_id, Wish.DELETE if is_deleted else Wish.COMPLETE)
        self._count("deleted")

    def _until_answered(self, method: str, path: str) -> requests.Response:
        while True:
            answer = self._try(method, path)
            if answer is not None and answer.status_code < http.HTTPStatus.INTERNAL_SERVER_ERROR:
                return answer
            threading.Event().wait(PAUSE_S)

    # --- readings ----------------------------------------------------------------------------------------------

    def _read_on(self, chance: random.Random) -> None:
        while not self._stopping.is_set():
            task = self._record.choose(chance.choice)
            paths = ["/api/tasks?limit=50", "/api/tasks?q=0a", "/api/system", "/readyz", "/"]
            if task is not None:
                paths += [f"/api/tasks/{task.task_id}{part}" for part in ("", "/transcript", "/timeline", "/media")]
            answer = self._try("GET", chance.choice(paths))
            self._count("reads" if answer is not None else "reads without an answer")
            if answer is not None and answer.status_code == http.HTTPStatus.INTERNAL_SERVER_ERROR:
                self._count("answers of 500")
            self._stopping.wait(PAUSE_S)

    def _listen_on(self, _: random.Random) -> None:
        asyncio.run(self._listen())

    async def _listen(self) -> None:
        await asyncio.gather(*(self._listen_again_and_again() for _ in range(LISTENERS)))

    async def _listen_again_and_again(self) -> None:
        while not self._stopping.is_set():
            try:
                client, _ = await LiveClient.connect(Address.of(self._address()), self._note_event)
            except OSError:
                await asyncio.sleep(PAUSE_S)
                continue
            while client.is_open and not self._stopping.is_set():
                await asyncio.sleep(PAUSE_S)
            client.close()
            self._count("pages connected")
            await asyncio.sleep(PAUSE_S)

    def _note_event(self, *_: object) -> None:
        self._count("events")

    def _try(self, method: str, path: str, **sent: object) -> requests.Response | None:
        """None when nobody answered."""
        try:
            return requests.request(method, self._address() + path, timeout=ANSWER_LIMIT_S, **sent)  # type: ignore[arg-type]
        except (requests.RequestException, OSError):
            return None

    def _count(self, what: str) -> None:
        with self._lock:
            self.counts[what] = self.counts.get(what, 0) + 1
