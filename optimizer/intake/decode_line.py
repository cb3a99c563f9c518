"""Recordings that wait to be decoded, in the order in which that happens.

The order is the queue's own (see `queue.ordering`): who brings little work is due early, nobody waits for ever, and an
owner whose recordings took long lately is set back. How long a recording will take is guessed from what is known of it.
"""

from __future__ import annotations

import itertools
import math
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush

from optimizer.queue.ordering import DueTimes, OwnerShares
from whisper_core.audio.decode import DecodedAudio
from whisper_core.audio.sample_writer import KeepSamples, keep_all

# What ffmpeg does in a second on one core of the development machine, in round figures: an mp3 of 128 kbit/s.
FILE_BYTES_PER_SECOND = 5e6
AUDIO_SECONDS_PER_SECOND = 300.0

# What a recording gets at each try; it is given up if that is not enough. In the last one it is done.
SLICES_S = (0.5, 2.0, math.inf)
QUICK_S = sum(SLICES_S[:-1])
QUICK_FILE_BYTES = 64_000_000  # larger ones are not tried, unless their length says that they are quick


@dataclass(frozen=True)
class DecodeRequest:
    """One recording. track: see AudioDecoder. may_keep: see SampleWriter. is_urgent: whether a device is about to ask
    for its samples."""

    task_id: str
    owner: str = ""
    file_bytes: int = 0
    audio_seconds: float | None = None  # when it was decoded before
    track: str | None = None
    may_keep: KeepSamples = keep_all
    is_urgent: bool = False

    @property
    def expected_s(self) -> float:
        if self.audio_seconds is not None:
            return self.audio_seconds / AUDIO_SECONDS_PER_SECOND
        return self.file_bytes / FILE_BYTES_PER_SECOND

    @property
    def may_be_quick(self) -> bool:
        if self.audio_seconds is not None:
            return self.expected_s <= QUICK_S
        return self.file_bytes <= QUICK_FILE_BYTES


@dataclass(frozen=True, eq=False)
class WaitingDecode:
    request: DecodeRequest
    asked_at: float  # monotonic seconds
    future: Future[DecodedAudio] = field(default_factory=Future)
    tries: int = 0  # how many times it was given up

    @classmethod
    def of(cls, request: DecodeRequest, asked_at: float) -> WaitingDecode:
        """A new one. What cannot be quick is not tried."""
        return cls(request, asked_at, tries=0 if request.may_be_quick else len(SLICES_S) - 1)

    @property
    def slice_s(self) -> float:
        return SLICES_S[self.tries]

    @property
    def is_long(self) -> bool:
        """Whether it will be decoded to its end, however long that takes."""
        return self.slice_s == math.inf

    @property
    def expected_s(self) -> float:
        """One that was given up is taken to need all of its tries, so it goes after what came soon after it."""
        return max(self.request.expected_s, QUICK_S) if self.tries else self.request.expected_s

    def given_up(self) -> WaitingDecode:
        return replace(self, tries=self.tries + 1)


class DecodeLine:
    """Not thread-safe: the pool locks. Times are monotonic seconds."""

    def __init__(self, shares: OwnerShares) -> None:
        self._shares = shares
        self._due_times = DueTimes(lambda _, seconds: seconds)
        self._numbers = itertools.count()
        self._waiting: dict[str, list[tuple[bool, float, int, WaitingDecode]]] = {}  # a heap for each owner

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def push(self, decode: WaitingDecode) -> None:
        request = decode.request
        due = self._due_times.due("", decode.expected_s, decode.asked_at)
        heap = self._waiting.setdefault(request.owner, [])
        heappush(heap, (not request.is_urgent, due, next(self._numbers), decode))

    def pop(self, now: float) -> WaitingDecode | None:
        """The one whose turn it is; None when none waits."""
        if not self._waiting:
            return None
        owner = min(self._waiting, key=lambda owner: self._rank(owner, now))
        heap = self._waiting[owner]
        decode = heappop(heap)[-1]
        if not heap:
            del self._waiting[owner]
        return decode

    def clear(self) -> list[WaitingDecode]:
        """Takes all of them out."""
        decodes = [entry[-1] for heap in self._waiting.values() for entry in heap]
        self._waiting.clear()
        return decodes

    def _rank(self, owner: str, now: float) -> tuple[bool, float, int]:
        is_not_urgent, due, number, _ = self._waiting[owner][0]
        return is_not_urgent, due + self._shares.penalty(owner, now), number
