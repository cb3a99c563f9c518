"""The order that an owner gave some of the waiting tasks by hand, within one priority.

A task that was put behind another one takes its turn no earlier than that one, as long as both wait. So moving a task
to the front moves nobody forward: it makes the owner's tasks that it goes ahead of wait for it. No task's place is ever
earlier than the one that its arrival and its work give it, so no other owner's task is passed that would not have been
passed anyway, and the task that others wait for is due as it always was, within an hour of its arrival.

The order is kept as a number in each task's row, and holds until the task starts or its priority changes.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterator, Sequence

from optimizer.queue.ready_queue import WaitingTask
from optimizer.tasks.task import Priority

Line = tuple[str, Priority]  # an owner, and a priority
Place = tuple[float, float]  # see WaitingTask.place
# Between a task and the one that was put directly behind it. Arrivals are whole numbers, so a million fit between two.
STEP = 2.0**-20
LEAST_GAP = 1e-6


class Arrangement:
    """Not thread-safe."""

    def __init__(self) -> None:
        self._lines: defaultdict[Line, list[tuple[float, str]]] = defaultdict(list)  # numbers and ids, in order
        self._known: dict[str, tuple[Line, float, Place]] = {}  # by id: line, number, the place without arrangement

    def put(self, task: WaitingTask, number: float | None) -> Line | None:
        """task: at the place that it has by itself. number: None for one that nobody moved. Returns the line in which
        places may have changed."""
        changed = self.drop(task.id)
        if number is None:
            return changed
        line = (task.owner, task.priority)
        insort(self._lines[line], (number, task.id))
        self._known[task.id] = (line, number, task.place)
        return line

    def drop(self, task_id: str) -> Line | None:
        """Returns the line that the task was in, if any."""
        known = self._known.pop(task_id, None)
        if known is None:
            return None
        line, number, _ = known
        members = self._lines[line]
        del members[bisect_left(members, (number, task_id))]
        if not members:
            del self._lines[line]
        return line

    def lines(self) -> list[Line]:
        return list(self._lines)

    def number_of(self, task_id: str) -> float | None:
        known = self._known.get(task_id)
        return None if known is None else known[1]

    def places(self, line: Line) -> Iterator[tuple[str, Place]]:
        """Where each task of the line belongs, by its id."""
        last: Place | None = None
        for _, task_id in self._lines.get(line, ()):
            place = self._known[task_id][2]
            if last is not None and place <= last:
                place = (last[0], last[1] + STEP)
            yield task_id, place
            last = place


def moved(order: Sequence[str], task_id: str, other_id: str, *, is_before: bool) -> tuple[list[str], list[str]]:
    """The new order, and the stretch of it that must be arranged so that it comes about and stays. Both ids must be in
    `order`.

    The stretch begins with the task ahead of what changes: it may be later than those behind it are by themselves.
    """
    new = [each for each in order if each != task_id]
    new.insert(new.index(other_id) + (0 if is_before else 1), task_id)
    places = (order.index(task_id), new.index(task_id), new.index(other_id))
    return new, new[max(0, min(places) - 1) : max(places) + 1]


def renumbered(order: Sequence[str], stretch: Sequence[str], numbers: dict[str, float]) -> dict[str, float]:
    """New numbers, by id, with which `stretch` is in the order of `order`, as all are that have one.

    numbers: of those that have one. Those outside the stretch stay as they are where there is room between them.
    """
    first = order.index(stretch[0])
    last = first + len(stretch) - 1
    low = next((numbers[each] for each in reversed(order[:first]) if each in numbers), None)
    high = next((numbers[each] for each in order[last + 1 :] if each in numbers), None)
    steps = len(stretch) + 1
    if low is None:
        low = 0.0 if high is None else high - steps
    gap = 1.0 if high is None else (high - low) / steps
    if gap < LEAST_GAP:
        everyone = [each for each in order if each in numbers or each in stretch]
        return {each: float(number) for number, each in enumerate(everyone, start=1)}
    return {each: low + gap * number for number, each in enumerate(stretch, start=1)}
