"""One resident model at work: what its tasks' strands ask for is encoded, given a slot, decoded and answered."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import torch

from errors import DeviceLostError, OutOfMemoryError
from whisper_core.audio.log_mel import Mel
from whisper_core.engine.active_task import ActiveTask, RunningStrand
from whisper_core.engine.decoding.encoded_window import EncodedWindow
from whisper_core.engine.decoding.sequence import Sequence
from whisper_core.engine.decoding.slot_batch import Bank
from whisper_core.engine.executors import Lane
from whisper_core.engine.loaded_model import LoadedModel
from whisper_core.engine.network.cross_attention import CrossCache
from whisper_core.engine.slot_limit import SlotLimit
from whisper_core.engine.statistics import EngineStatistics
from whisper_core.model_requests import Align, Decode, DetectLanguage, Encode
from whisper_core.text.transcript import WindowResult
from whisper_core.worker.device_errors import free_memory, guarded

log = logging.getLogger(__name__)

T = TypeVar("T")


class ModelRunner:
    """limit: how many windows may be at work. make_room: has memory given back that others hold, and says whether it
    was; asked when memory is short for a single window.

    Everything but the lane's work happens in the caller's thread. A task's own errors end that task; DeviceLostError is
    raised. encoding_s: seconds that the latest encoding took.
    """

    def __init__(
        self,
        model: LoadedModel,
        lane: Lane,
        limit: SlotLimit,
        statistics: EngineStatistics,
        make_room: Callable[[ModelRunner], bool],
    ) -> None:
        self.model = model
        self._lane = lane
        self._limit = limit
        self._statistics = statistics
        self._make_room = make_room
        self.encoding_s = float("inf")
        self._to_encode: deque[RunningStrand] = deque()
        self._encoding: list[RunningStrand] = []
        self._ready: deque[RunningStrand] = deque()
        self._banks: dict[int, Bank] = {}

    @property
    def num_decoding(self) -> int:
        """Windows in slots."""
        return sum(len(bank.sequences) for bank in self._banks.values())

    @property
    def num_to_encode(self) -> int:
        """Windows that could be encoded now."""
        waiting = sum(not strand.is_held_back for strand in self._to_encode)
        return max(0, min(self._room_to_encode, waiting))

    @property
    def num_in_flight(self) -> int:
        """Windows that take memory, or are about to."""
        return self.num_decoding + len(self._ready) + len(self._encoding)

    def is_at_work_on(self, task: ActiveTask) -> bool:
        """Whether something would be lost if the task stepped aside now."""
        idle = sum(strand.task is task and strand.is_held_back for strand in self._to_encode)
        return idle < len(task.strands)

    def start(self, strand: RunningStrand) -> None:
        self._drive(strand, None)
        self._queue(strand)

    def feed_lane(self) -> None:
        """Give the lane the next windows to encode, exact tasks' first."""
        if strands := self._next_to_encode():
            self._lane.submit(partial(self._encode, strands), then=partial(self._encoded, strands))

    def encode_here(self) -> None:
        """The same in this thread, while the lane is at work on another window."""
        if strands := self._next_to_encode():
            future: Future[_Encoding] = Future()
            try:
                future.set_result(self._encode(strands))
            except Exception as error:  # noqa: BLE001 - `_encoded` raises it again, as it does the lane's
                future.set_exception(error)
            self._encoded(strands, future)

    def admit(self) -> None:
        """Fill free slots with encoded windows."""
        while self._ready and self.num_decoding < self._limit.slots:
            strand = self._ready.popleft()
            if not strand.is_over:
                self._try(partial(self._admit, strand), [strand])

    def step(self) -> None:
        """One token for every window in a slot; answer those that have ended, and fill their slots."""
        for bank in list(self._banks.values()):
            if bank.sequences:
                self._step(bank)

    def drop_over(self) -> None:
        """Forget the strands of tasks that have ended."""
        self._to_encode = deque(strand for strand in self._to_encode if not strand.is_over)
        self._ready = deque(strand for strand in self._ready if not strand.is_over)
        for bank in self._banks.values():
            for sequence in reversed(bank.sequences.copy()):
                if sequence.strand.is_over:
                    bank.remove(sequence)

    def rest(self) -> None:
        """No task is here: give back what the slots took, and believe in the memory again."""
        self._release_banks()
        self._limit.reset()

    def release_idle(self) -> bool:
        """Give back the slots of which none is in use; whether there were such."""
        idle = [width for width, bank in self._banks.items() if not bank.sequences]
        for width in idle:
            self._banks.pop(width).release()
        return bool(idle)

    def shrink(self) -> None:
        """Take all windows back and go on with half as many; they are decoded again, to the same result.

        Only with more than one in flight.
        """
        affected = self._take_back([])
        self._halve(affected, len(affected) + len(self._encoding))
        self._queue_again(affected)

    # --- strands -----------------------------------------------------------------------------------------------

    def _drive(self, strand: RunningStrand, answer: Any) -> None:
        """Answer the strand until it waits for an encoding or a decoding, or has ended."""
        try:
            while not strand.is_over:
                if isinstance(strand.request, DetectLanguage | Align):
                    answer = self._try_answer(strand, strand.request)
                    if answer is None:
                        return
                step = strand.steps.send(answer)
                match step:
                    case WindowResult():
                        self._report(strand, step)
                        answer = None
                    case Encode():
                        self._forget_window(strand)
                        strand.window = EncodedWindow(step.mel)
                        return
                    case Decode():
                        strand.request = step
                        return
                    case DetectLanguage() | Align():
                        strand.request = step
        except StopIteration:
            strand.end()
            strand.task.report_windows()
        except DeviceLostError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this task's
            strand.task.failed(error)

    def _report(self, strand: RunningStrand, window: WindowResult) -> None:
        task = strand.task
        task.watch.window(window)
        if task.watch.should_stop():
            task.stopped()

    def _try_answer(self, strand: RunningStrand, request: DetectLanguage | Align) -> Any:
        """None when memory ran out; the strand then waits for its window to be encoded again, or its task has ended."""
        failure: OutOfMemoryError
        try:
            answer = guarded(partial(self._answer, strand, request))
        except OutOfMemoryError as error:
            failure = error
        else:
            strand.request = None
            return answer
        self._run_short([strand], failure)
        return None

    def _answer(self, strand: RunningStrand, request: DetectLanguage | Align) -> Any:
        if strand.window is None:
            raise RuntimeError("the strand has encoded no window")
        if isinstance(request, Align):
            return self.model.align(request, strand.window.cross)
        return self.model.detect_language(strand.window.cross)

    def _forget_window(self, strand: RunningStrand) -> None:
        """What lies in a slot is forgotten with the slot."""
        if strand.window is not None and strand.window.holder is None:
            strand.window.forget()

    def _queue(self, strand: RunningStrand) -> None:
        """Where the strand waits now."""
        if strand.is_over or strand.window is None or strand not in strand.task.strands:
            return
        if not strand.window.is_encoded:
            if strand not in self._to_encode:
                self._to_encode.append(strand)
        elif isinstance(strand.request, Decode):
            self._ready.append(strand)

    # --- encoding ----------------------------------------------------------------------------------------------

    def _next_to_encode(self) -> list[RunningStrand]:
        wanted = (strand for strand in self._to_encode if not strand.is_held_back)
        waiting = sorted(wanted, key=lambda strand: not strand.task.is_exact)
        strands = waiting[: _power_of_two_in(min(self.num_to_encode, self._limit.encoder_batch))]
        for strand in strands:
            self._to_encode.remove(strand)
            strand.has_begun = True
        self._encoding.extend(strands)
        return strands

    @property
    def _room_to_encode(self) -> int:
        """No more than will find a slot soon, since an encoded window takes a slot's memory; nothing ahead when memory
        was enough for one only."""
        ahead = 0 if self._limit.is_down_to_one else self._limit.encoder_batch
        return self._limit.slots + ahead - self.num_in_flight

    @torch.inference_mode()
    def _encode(self, strands: list[RunningStrand]) -> _Encoding:
        """In the lane's thread or this one."""
        began = time.perf_counter()
        encoding = _Encoding()
        mels = []
        for strand in strands:
            try:
                mels.append(guarded(_mel_of(strand).tensor))
                encoding.strands.append(strand)
            except OSError as error:  # its samples cannot be read, or its task has ended
                encoding.failures.append((strand, error))
        if mels:
            encoding.cross = guarded(lambda: self.model.encoder.encode(torch.stack(mels)))
        self.encoding_s = time.perf_counter() - began
        self._statistics.encode_seconds += self.encoding_s
        return encoding

    def _encoded(self, strands: list[RunningStrand], future: Future[_Encoding]) -> None:
        for strand in strands:
            self._encoding.remove(strand)
        present = [strand for strand in strands if not strand.is_over]
        if not present and not isinstance(future.exception(), DeviceLostError):
            return  # nobody waits for it, so nobody is to suffer for its failure
        encoding = self._try(future.result, present)
        if encoding is None:
            return
        for strand, error in encoding.failures:
            _fail(strand.task, error)
        if encoding.cross is not None:
            encoding.cross.keep_for_stream()
            self._go_on(encoding.strands, encoding.cross)

    def _go_on(self, strands: list[RunningStrand], cross: CrossCache) -> None:
        """cross: of the strands' windows, which keep it alive until the last of them has got a slot."""
        for number, strand in enumerate(strands):
            if strand.is_over or strand.window is None:
                continue
            strand.window.own = cross.slots(number)
            if not isinstance(strand.request, Decode):  # else it had been evicted, and waits for its decoding still
                self._drive(strand, strand.window)
            self._queue(strand)

    # --- decoding ----------------------------------------------------------------------------------------------

    def _bank(self, width: int) -> Bank:
        if width not in self._banks:
            self._banks[width] = Bank(self.model.layers, self.model.shape, self.model.rules, width, self._limit.slots)
        bank = self._banks[width]
        bank.limit = self._limit.slots  # it may have grown
        return bank

    def _admit(self, strand: RunningStrand) -> None:
        sequence = self.model.sequence(strand)
        self._bank(sequence.search.width).add(sequence)

    def _step(self, bank: Bank) -> None:
        began = time.perf_counter()
        statistics = self._statistics
        statistics.steps += 1
        statistics.step_rows += len(bank.sequences)
        ended = self._try(bank.step, [sequence.strand for sequence in bank.sequences])
        statistics.decode_seconds += time.perf_counter() - began
        if ended is not None:
            self._limit.step_done()
        for sequence in reversed(ended or []):
            if bank is self._banks.get(bank.width):
                self._answer_decode(bank, sequence)

    def _answer_decode(self, bank: Bank, sequence: Sequence) -> None:
        """Out of memory in here takes all windows back: those not answered are decoded again, to the same result."""
        strand = sequence.strand
        result = self._try(lambda: sequence.result(bank.rows_of(sequence)), [strand])
        if result is None:
            return
        self._count(sequence, len(result.tokens))
        strand.request = None
        self._drive(strand, result)
        if bank is not self._banks.get(bank.width):
            return
        successor = self._try(partial(self._successor, bank, sequence), [strand])
        if bank is not self._banks.get(bank.width):
            return
        if successor is None:
            bank.remove(sequence)
        else:
            self._try(partial(bank.replace, sequence, successor), [successor.strand])
        if successor is None or successor.strand is not strand:
            self._queue(strand)

    def _successor(self, bank: Bank, sequence: Sequence) -> Sequence | None:
        """Who takes the slot: the same window at the next temperature, or an encoded one that waits for such a bank."""
        strand = sequence.strand
        if strand.request is not None and not strand.is_over:
            following = self.model.sequence(strand)
            if following.search.width == bank.width:
                return following
            sequence.window.detach()
        for waiting in self._ready:
            if not waiting.is_over and (following := self.model.sequence(waiting)).search.width == bank.width:
                self._ready.remove(waiting)
                return following
        return None

    def _count(self, sequence: Sequence, num_tokens: int) -> None:
        self._statistics.tokens += num_tokens
        window = sequence.window
        window.num_decodings += 1
        self._statistics.windows += window.num_decodings == 1
        self._statistics.fallbacks += window.num_decodings == 2

    # --- memory ------------------------------------------------------------------------------------------------

    def _try(self, work: Callable[[], T], strands: list[RunningStrand]) -> T | None:
        """What `work` gives. When memory runs out the batch shrinks and everything is done again; any other error ends
        the tasks of `strands`; None then."""
        failure: Exception
        try:
            return guarded(work)
        except OutOfMemoryError as error:
            failure = error
        except DeviceLostError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it is those tasks'
            for strand in strands:
                _fail(strand.task, error)
            return None
        self._run_short(strands, failure)
        return None

    def _run_short(self, strands: list[RunningStrand], failure: Exception) -> None:
        """Out of memory with several windows: go on with half as many. With one: others make room, or it fails."""
        affected = self._take_back(strands)
        in_flight = len(affected) + len(self._encoding)
        if in_flight > 1:
            self._halve(affected, in_flight)
        elif not self._make_room(self):
            for strand in affected:
                _fail(strand.task, failure)
        self._queue_again(affected)
        free_memory()

    def _take_back(self, strands: list[RunningStrand]) -> list[RunningStrand]:
        """All windows out of the slots, and those that wait for one: the strands of these, and `strands`."""
        encoded = [*self._decoding(), *self._ready]
        self._release_banks()
        self._ready.clear()
        return encoded + [strand for strand in strands if strand not in encoded]

    def _halve(self, affected: list[RunningStrand], in_flight: int) -> None:
        self._limit.shrink(in_flight)
        slots = self._limit.slots
        log.warning("event=batch_shrunk slots=%d: out of memory with %d windows", slots, in_flight)
        for task in dict.fromkeys(strand.task for strand in affected):
            if not task.is_over:
                task.note("batch_shrunk", windows=in_flight, slots=slots)

    def _queue_again(self, affected: list[RunningStrand]) -> None:
        for strand in affected:
            if strand.window is not None:
                strand.window.forget()
                self._queue(strand)

    def _decoding(self) -> list[RunningStrand]:
        return [sequence.strand for bank in self._banks.values() for sequence in bank.sequences]

    def _release_banks(self) -> None:
        for bank in self._banks.values():
            bank.release()
        self._banks.clear()


@dataclass
class _Encoding:
    """What encoding some windows gave: cross has a slot for each of `strands`, None when there are none. failures: of
    single recordings."""

    strands: list[RunningStrand] = field(default_factory=list)
    cross: CrossCache | None = None
    failures: list[tuple[RunningStrand, OSError]] = field(default_factory=list)


def _power_of_two_in(count: int) -> int:
    """The largest that is not above it; 0 for none. So batches have few sizes, and no window is padding."""
    return 1 << count.bit_length() >> 1 if count > 0 else 0


def _mel_of(strand: RunningStrand) -> Mel:
    if strand.window is None:
        raise RuntimeError("the strand has asked for no encoding")
    return strand.window.mel


def _fail(task: ActiveTask, error: Exception) -> None:
    if not task.is_over:
        task.failed(error)
