"""One task to start, and what put it before the others."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class StartReason(Enum):
    """What put a task before others: `value` is the code for programs, `sentence` goes into the event log."""

    ARRIVAL = ("arrival", "it was next in order of arrival")
    SHORTEST = ("shortest", "it had the least work left")
    STARVING = ("starving", "it was due first and others had passed it for too long")
    TOGETHER = ("together", "its model had the round and there was room for one more")
    RESIDENT_MODEL = (
        "resident_model",
        "its model was loaded, and loading another one for those before it would have cost more",
    )
    FITS = ("only_one_that_fits", "what those before it need was not there")

    sentence: str

    def __new__(cls, code: str, sentence: str) -> StartReason:
        reason = object.__new__(cls)
        reason._value_ = code
        reason.sentence = sentence
        return reason


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """One task to start on a device."""

    task_id: str
    device: str
    model: str
    task_bytes: int  # to reserve for the task, for all of windows_at_once
    weights_bytes: int = 0  # to reserve for loading its model; 0 when it is resident or an earlier assignment loads it
    windows_at_once: int = 1  # more than one only for a chunked task
    evict: tuple[str, ...] = ()  # idle resident models to unload first
    is_forced: bool = False  # reserve the memory even though other programs use it
    why: StartReason = StartReason.ARRIVAL
    passed: int = 0  # tasks of its priority that arrived before it and stay waiting
