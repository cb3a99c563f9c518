"""One task to start."""

from __future__ import annotations

from dataclasses import dataclass

from optimizer.tasks.start_reason import StartReason


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """Where a task starts and with what, and what put it before the others."""

    task_id: str
    device: str
    model: str
    task_bytes: int  # to reserve for the task, for all of windows_at_once
    weights_bytes: int = 0  # to reserve for loading its model; 0 when it is resident or an earlier assignment loads it
    slots: int = 0  # that its model holds from then on, where it is to be loaded and holds any
    windows_at_once: int = 1  # more than one only for a chunked task
    evict: tuple[str, ...] = ()  # idle resident models to unload first
    is_forced: bool = False  # reserve the memory even though other programs use it
    why: StartReason = StartReason.ARRIVAL
    passed: int = 0  # tasks of its priority that arrived before it and stay waiting
