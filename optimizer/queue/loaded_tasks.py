"""The waiting tasks as a start finds them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from optimizer.queue.ready_queue import WaitingTask


@dataclass
class LoadedTasks:
    """The waiting tasks at a start, in any order. samples: ids of the tasks whose samples are there; None: of all."""

    samples: Collection[str] | None = None
    ready: list[WaitingTask] = field(default_factory=list)
    unsampled: list[WaitingTask] = field(default_factory=list)  # their samples are not there
    held: list[WaitingTask] = field(default_factory=list)  # retrying or not prepared
    delay_ends: dict[str, float] = field(default_factory=dict)  # when each retrying task may run again, by id
    unprepared: list[str] = field(default_factory=list)  # ids
    lacking: list[str] = field(default_factory=list)  # ids of all tasks of known length without samples
    arranged: list[tuple[WaitingTask, float]] = field(default_factory=list)  # with their numbers, see `arrangement`

    def add(
        self, entry: WaitingTask, *, is_prepared: bool, delay_end: float | None, arranged: float | None = None
    ) -> None:
        if arranged is not None:
            self.arranged.append((entry, arranged))
        is_lacking = is_prepared and self.samples is not None and entry.id not in self.samples
        if is_lacking:
            self.lacking.append(entry.id)
        if delay_end is not None:
            self.delay_ends[entry.id] = delay_end
        if not is_prepared:
            self.unprepared.append(entry.id)
        is_held = not is_prepared or delay_end is not None
        (self.held if is_held else self.unsampled if is_lacking else self.ready).append(entry)
