"""What the client knows: which tasks were accepted and what must have become of each. It is the soak's measure of what
the server says at the end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from enum import Enum


class Wish(Enum):
    """What the client asked for last, and was told is so."""

    COMPLETE = "completed"
    CANCEL = "cancelled"
    DELETE = "deleted"
    ASKED = "asked"  # a change was sent and no answer came: it may have been made or not


@dataclass(frozen=True)
class Accepted:
    task_id: str
    text: str  # expected
    wish: Wish = Wish.COMPLETE
    intent: Wish = Wish.COMPLETE  # of the change that nobody answered for


@dataclass(frozen=True)
class Found:
    """A task as the server has it at the end."""

    status: str
    text: str | None = None  # None: it has no transcript
    times_completed: int = 0  # since its last start from the beginning


Choice = Callable[[list[Accepted]], Accepted]


class TaskRecord:
    """Any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tasks: dict[str, Accepted] = {}

    def accept(self, task_id: str, text: str) -> None:
        """Harmless when repeated, as the answer to a repeated key is."""
        with self._lock:
            self._tasks.setdefault(task_id, Accepted(task_id, text))

    def change(self, task_id: str, wish: Wish, intent: Wish | None = None) -> None:
        with self._lock:
            known = self._tasks[task_id]
            self._tasks[task_id] = replace(known, wish=wish, intent=intent or wish)

    def choose(self, choice: Choice) -> Accepted | None:
        """One of those that are not deleted and not in the middle of a change."""
        with self._lock:
            return self._choose(choice)

    def take(self, choice: Choice) -> Accepted | None:
        """Like `choose`; the task is in the middle of a change until `change` says what became of it."""
        with self._lock:
            task = self._choose(choice)
            if task is not None:
                self._tasks[task.task_id] = replace(task, wish=Wish.ASKED)
            return task

    def _choose(self, choice: Choice) -> Accepted | None:
        tasks = [task for task in self._tasks.values() if task.wish in (Wish.COMPLETE, Wish.CANCEL)]
        return choice(tasks) if tasks else None

    def tasks(self) -> list[Accepted]:
        with self._lock:
            return list(self._tasks.values())


def differences(accepted: Collection[Accepted], found: Mapping[str, Found]) -> list[str]:
    """Each difference as a sentence; none when the server kept every promise."""
    wrong = [f"{task_id} was never accepted" for task_id in sorted(set(found) - {task.task_id for task in accepted})]
    for task in accepted:
        problem = _difference(task, found.get(task.task_id))
        if problem:
            wrong.append(f"{task.task_id} {problem}")
    return wrong


def _difference(task: Accepted, found: Found | None) -> str | None:
    may_be_gone = Wish.DELETE in (task.wish, task.intent)
    if found is None:
        return None if may_be_gone else "is lost"
    if task.wish is Wish.DELETE:
        return f"was deleted and is {found.status}"
    may_be_cancelled = Wish.CANCEL in (task.wish, task.intent)
    if found.status == "cancelled":
        return None if may_be_cancelled else "is cancelled, which nobody asked for"
    if found.status != "completed":
        return f"is {found.status}"
    if task.wish is Wish.CANCEL:
        return "was cancelled and is completed"
    if found.text != task.text:
        return "has another text"
    if found.times_completed != 1:
        return f"was completed {found.times_completed} times"
    return None
