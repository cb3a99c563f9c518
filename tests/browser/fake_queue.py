"""The answers of GET /api/tasks for a queue of any length: made-up tasks in the shape of docs/api.md."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Page, Route

from tests.browser.fake_load import FILENAMES, task_id

SORTED_BY = {"finished": "finished_at", "name": "filename"}
FIRST = datetime(2026, 11, 29, 8, 0, tzinfo=UTC)
MODELS = ("base", "small", "large-v3")
STATUSES = ("pending", "retrying", "processing", "completed", "failed", "cancelled")
LIST_ADDRESS, SYSTEM_ADDRESS = re.compile(r"/api/tasks\?"), re.compile(r"/api/system$")
TASK_ADDRESS, BATCH_ADDRESS = re.compile(r"/api/tasks/\w+$"), re.compile(r"/api/batches")


def fake_task(number: int, status: str, position: int | None = None) -> dict[str, Any]:
    """The task that came as number `number`. position: its place in the line."""
    created = FIRST + timedelta(seconds=number)
    is_over = status in ("completed", "failed", "cancelled")
    return {
        "id": task_id(number),
        "filename": f"{number:04d} {FILENAMES[number % len(FILENAMES)]}",
        "title": None,
        "note": "",
        "tags": [],
        "status": status,
        "options": {
            "model": MODELS[number % 3],
            "language": None,
            "task": "transcribe",
            "initial_prompt": None,
            "word_timestamps": False,
            "temperature": None,
            "mode": "exact",
        },
        "priority": "normal",
        "language": "en" if is_over else None,
        "audio_seconds": 60.0 + 13 * (number % 200),
        "size_bytes": 1_000_000 + 7_919 * number,
        "progress": 1.0 if status == "completed" else 0.4 if status == "processing" else 0.0,
        "windows_done": 0,
        "position": position,
        "eta_seconds": None,
        "expected": None,
        "waiting_reason": None,
        "waiting": {"code": "tasks_ahead", "data": {"count": position}} if position else None,
        "attempts": 0 if position else 1,
        "max_attempts": 4,
        "device": None if position else "cuda:0",
        "requested_device": "auto",
        "memory": dict.fromkeys(
            ("estimated_bytes", "predicted_bytes", "reserved_bytes", "measured_bytes", "peak_bytes")
        ),
        "tracks": [],
        "warnings": [],
        "error": {"code": "engine_error", "message": "The transcription failed."} if status == "failed" else None,
        "created_at": _iso(created),
        "started_at": None if position else _iso(created + timedelta(seconds=5)),
        "finished_at": _iso(created + timedelta(seconds=45)) if is_over else None,
    }


def fake_batch(name: str, *, completed: int, failed: int, pending: int) -> dict[str, Any]:
    """As GET /api/batches sums it up."""
    counts = dict.fromkeys(STATUSES, 0) | {"completed": completed, "failed": failed, "pending": pending}
    count = completed + failed + pending
    return {
        "id": name,
        "name": name,
        "tasks": count,
        "counts": counts,
        "progress": (completed + failed) / count,
        "audio_seconds": 600.0 * count,
        "eta_seconds": 600.0,
        "created_at": _iso(FIRST),
    }


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.000Z")


@dataclass
class FakeQueue:
    """`queue.attach(page)` answers the page's requests for the list, page by page as the server does."""

    tasks: list[dict[str, Any]]
    asked: list[dict[str, str]] = field(default_factory=list)  # the queries of all requests so far
    changes: list[dict[str, Any]] = field(default_factory=list)  # what was asked to be changed
    batches: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def of(cls, *, running: int = 0, waiting: int = 0, finished: int = 0) -> FakeQueue:
        """Oldest first: what is finished, what runs, and what waits."""
        kinds: list[tuple[str, int | None]] = []
        kinds += [("completed", None)] * finished + [("processing", None)] * running
        kinds += [("pending", place) for place in range(1, waiting + 1)]
        return cls([fake_task(number, status, place) for number, (status, place) in enumerate(kinds)])

    def attach(self, page: Page) -> None:
        page.route(LIST_ADDRESS, self._answer)
        page.route(SYSTEM_ADDRESS, self._answer_system)
        page.route(TASK_ADDRESS, self._answer_change)
        page.route(BATCH_ADDRESS, self._answer_batches)

    def counts(self) -> dict[str, int]:
        return {status: sum(task["status"] == status for task in self.tasks) for status in STATUSES}

    def page(self, query: dict[str, str]) -> dict[str, Any]:
        """The body of GET /api/tasks with this query."""
        chosen = self._chosen(query)
        first, limit = int(query.get("cursor", 0)), int(query.get("limit", 50))
        end = first + limit
        return {
            "tasks": chosen[first:end],
            "next_cursor": str(end) if end < len(chosen) else None,
            "counts": self.counts(),
        }

    def _chosen(self, query: dict[str, str]) -> list[dict[str, Any]]:
        if "sha256" in query:  # whether the file was sent before
            return []
        found = [
            task
            for task in self.tasks
            if task["status"] == query.get("status", task["status"]) and query.get("tag") in (None, *task["tags"])
        ]
        if query.get("sort") == "line":
            waiting = [task for task in found if task["position"] is not None]
            return sorted(waiting, key=lambda task: int(task["position"]))
        by = SORTED_BY.get(query.get("sort", ""), "created_at")
        return sorted(found, key=lambda task: task[by] or "", reverse=query.get("order") != "asc")

    def _answer(self, route: Route) -> None:
        query = {name: values[0] for name, values in parse_qs(urlsplit(route.request.url).query).items()}
        self.asked.append(query)
        route.fulfill(json=self.page(query))

    def _answer_system(self, route: Route) -> None:
        route.fulfill(json={**route.fetch().json(), "counts": self.counts()})

    def _answer_batches(self, route: Route) -> None:
        """A batch that is cancelled has nothing left."""
        if route.request.method == "DELETE":
            for batch in self.batches:
                batch["counts"] |= dict.fromkeys(("pending", "retrying", "processing"), 0)
            route.fulfill(json={"cancelled": 1})
        else:
            route.fulfill(json={"batches": self.batches, "next_cursor": None})

    def _answer_change(self, route: Route) -> None:
        """Of a task that is made up; all else is the server's."""
        task = next((task for task in self.tasks if route.request.url.endswith(task["id"])), None)
        if task is None or route.request.method != "PATCH":
            route.continue_()
            return
        wanted: dict[str, Any] = route.request.post_data_json or {}
        self.changes.append(wanted)
        if {"before", "after"} & set(wanted):
            self._move(task, wanted.get("before") or wanted["after"], is_before="before" in wanted)
        else:
            task.update(wanted)
        route.fulfill(json={"task": task})

    def _move(self, task: dict[str, Any], other_id: str, *, is_before: bool) -> None:
        line = [each for each in self.page({"sort": "line", "limit": "9999"})["tasks"] if each is not task]
        place = next(index for index, each in enumerate(line) if each["id"] == other_id)
        line.insert(place if is_before else place + 1, task)
        for position, each in enumerate(line, start=1):
            each["position"] = position
