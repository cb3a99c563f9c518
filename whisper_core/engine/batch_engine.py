"""BatchEngine: several recordings at the same time, each by openai-whisper's algorithm, their passes run together.

One round of `advance` gives the encoder's thread its next windows, fills free slots, and takes one step of the decoder
for all windows in slots. On the CPU it computes in fp32, on a GPU in fp16, as `whisper.transcribe`
does; an int8 model's matrices are in int8.
"""

from __future__ import annotations

import heapq
import os
import time
from collections.abc import Callable, Iterable
from itertools import count
from pathlib import Path

import torch

from errors import DeviceLostError, EngineError
from whisper_core.common import slots
from whisper_core.engine.active_task import ActiveStream, ActiveTask
from whisper_core.engine.executors import DECODER_PRIORITY, CoreShare, SerialExecutor, new_cuda_stream, on_cuda_stream
from whisper_core.engine.loaded_model import LoadedModel
from whisper_core.engine.model_runner import ModelRunner
from whisper_core.engine.recording_opener import MOST_AT_ONCE, RecordingOpener
from whisper_core.engine.resident_models import ResidentModels
from whisper_core.engine.statistics import EngineStatistics
from whisper_core.model_requests import DecodeSettings
from whisper_core.models.catalogue import precision_of
from whisper_core.models.load import load_model
from whisper_core.upstream import place_on
from whisper_core.worker.device_errors import free_memory, guarded
from whisper_core.worker.engine_protocol import TaskObserver
from whisper_core.worker.memory_meter import MemoryMeter, meter_for
from whisper_core.worker.messages import MemoryReport, RunTask

SLOTS = dict(slots.SLOTS)  # its own, so that an engine can be tried with fewer
ENCODER_BATCH = {"cpu": 1, "cuda": 8}  # one window keeps a CPU busy

# With fewer windows in slots, the engine's thread encodes too instead of taking a step: a step reads all weights,
# however few rows it computes.
FEW_ROWS = {"cpu": 10, "cuda": 0}
# Windows of slower models are left to the encoder's thread, because stops and new tasks wait for the engine's thread.
QUICK_ENCODING_S = 2.0

WAIT_FOR_EXECUTOR_S = 0.05  # when nothing else can be done; a command that arrives meanwhile waits as long
START_STREAMS_S = 0.1  # for cutting chunks in one round, during which no window is decoded


class BatchEngine:
    """See engine_protocol.SlotHoldingEngine.

    device: `cpu` or `cuda:<n>`. cpu_threads: for torch's work on the CPU; 0 for one per core.
    settings: for benchmarks and tests, in place of those that each task's options name.
    """

    def __init__(self, device: str, cpu_threads: int, settings: DecodeSettings | None = None) -> None:
        self._device = torch.device(device)
        kind = self._device.type
        self._meter = meter_for(self._device)  # before anything else touches a GPU: it measures its context
        cores = cpu_threads or os.cpu_count() or 1
        torch.set_num_threads(cores)
        self._cores = CoreShare(cores)
        self._cuda_stream = new_cuda_stream(self._device, DECODER_PRIORITY)
        self._encoder_executor = SerialExecutor(self._cores, self._device, "encoder")
        self._open_executor = SerialExecutor(self._cores, self._device, "open", MOST_AT_ONCE)
        self.slots = SLOTS[kind]
        self.title = torch.cuda.get_device_name(self._device) if kind == "cuda" else f"CPU, {cores} threads"
        self.statistics = EngineStatistics(slots=self.slots)
        self._models = ResidentModels(self._encoder_executor, self.statistics, self.slots, ENCODER_BATCH[kind])
        self._opener = RecordingOpener(self._open_executor, self._device, settings, self._models.free_memory_elsewhere)
        self._few_rows = FEW_ROWS[kind]
        self._tasks: list[ActiveTask] = []
        self._with_more_streams: list[ActiveTask] = []  # of `_tasks`, in the same order
        self._preempted: list[ActiveTask] = []  # likewise
        self._num_stops: Callable[[], int] = count().__next__  # never the same, so tasks are asked in every round
        self._num_stops_obeyed = -1
        self._peak = _PeakPerTask(self._meter)

    def load(self, model: str, models_dir: Path, slots: int = 0) -> int:
        if model in self._models:
            return 0
        self._peak.invalidate()
        try:
            # How fast kernels are depends on the threads.
            with self._cores.claim(), on_cuda_stream(self._cuda_stream):
                loaded = self._models.load(model, lambda: self._read_model(model, models_dir), slots)
        except DeviceLostError as error:
            _fail(self._tasks, error)
            raise
        free_memory()  # the file's contents
        return loaded.weights_bytes

    def unload(self, model: str) -> None:
        tasks = [task for task in self._tasks if task.command.model == model]
        _fail(tasks, EngineError(f"The model {model} was unloaded while it was at work."))
        with torch.inference_mode(), on_cuda_stream(self._cuda_stream):
            self._encoder_executor.run(lambda: None)
            self._encoder_executor.deliver_results()  # windows in the encoder hold on to the model
            self._models.unload(model)
        free_memory()

    def start(self, command: RunTask, observer: TaskObserver) -> None:
        if command.model not in self._models:
            observer.failed(EngineError(f"The model {command.model} is not loaded on this device."))
            return
        self._peak.add_task(command.model, [task.command.model for task in self._tasks])
        task = ActiveTask(command, observer)
        self._tasks.append(task)
        self._with_more_streams.append(task)
        self._opener.enqueue(task, self._models[command.model].model.traits)

    def watch_stops(self, num_stops: Callable[[], int]) -> None:
        """See engine_protocol.StopsWatcher."""
        self._num_stops = num_stops

    @property
    def is_busy(self) -> bool:
        return bool(self._tasks)

    def advance(self) -> None:
        try:
            with torch.inference_mode(), on_cuda_stream(self._cuda_stream):
                guarded(self._advance)
        except DeviceLostError as error:
            _fail(self._tasks, error)
            self._tasks.clear()
            raise
        self._meter.sample()

    def close(self) -> None:
        """End the threads and close the recordings. For tests and benchmarks: a worker's process simply ends."""
        self._encoder_executor.close()
        self._open_executor.close()
        for task in self._tasks:
            task.close_samples()

    def memory(self) -> MemoryReport:
        return self._meter.report()

    def _read_model(self, name: str, models_dir: Path) -> LoadedModel:
        model = place_on(load_model(name, models_dir, "cpu"), self._device)
        loaded = LoadedModel(model, precision_of(name))
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)  # other CUDA streams than this one are going to use the weights
        return loaded

    @property
    def _is_gpu(self) -> bool:
        return self._device.type == "cuda"

    # --- a round -----------------------------------------------------------------------------------------------

    def _advance(self) -> None:
        self._stop_tasks()
        self._open_executor.deliver_results()
        self._encoder_executor.deliver_results()
        self._start_streams()
        if any(task.is_done for task in self._tasks):
            self._drop_done()
        self._feed_executors()
        with self._cores.claim():
            for runner in self._models:
                runner.fill_free_slots()
        self._compute()
        self._end_tasks()

    def _feed_executors(self) -> None:
        self._opener.submit_waiting()
        while self._encoder_executor.has_capacity and (runner := self._models.next_to_encode()):
            runner.submit_encoding()

    def _compute(self) -> None:
        """Take a step for every model that has windows in slots, or encode a window, or wait for the executors."""
        decoding = {runner: windows for runner in self._models if (windows := runner.num_decoding)}
        if runner := self._runner_to_encode_inline(sum(decoding.values())):
            with self._cores.claim():
                runner.encode_inline()
        elif decoding and not self._should_wait_for_windows(sum(decoding.values())):
            for runner, windows in decoding.items():
                with runner.step_threads.claim(self._cores, windows):
                    runner.step()
        else:
            executor = self._open_executor if self._encoder_executor.is_idle else self._encoder_executor
            executor.wait(WAIT_FOR_EXECUTOR_S)

    def _runner_to_encode_inline(self, num_decoding: int) -> ModelRunner | None:
        if num_decoding >= self._few_rows:
            return None
        runner = self._models.next_to_encode()
        return runner if runner is not None and runner.encoding_s < QUICK_ENCODING_S else None

    def _should_wait_for_windows(self, num_decoding: int) -> bool:
        """Whether most windows are still being encoded. On a GPU a step of few takes nearly as long as one of many."""
        return self._is_gpu and num_decoding < sum(runner.num_encoding for runner in self._models)

    # --- tasks -------------------------------------------------------------------------------------------------

    def _stop_tasks(self) -> None:
        num_stops = self._num_stops()  # before the tasks are asked, so that none is missed
        if num_stops != self._num_stops_obeyed:
            self._num_stops_obeyed = num_stops
            self._ask_tasks()
        for task in self._preempted:
            if not task.is_done:
                self._preempt(task)

    def _ask_tasks(self) -> None:
        self._preempted = []
        for task in self._tasks:
            if task.is_done:
                continue
            if task.observer.should_stop():
                task.stop()
            elif task.observer.should_preempt():
                self._preempted.append(task)

    def _preempt(self, task: ActiveTask) -> None:
        """Start nothing more of the task, and end it as soon as no work of it would be lost."""
        task.is_preempted = True
        if self._models[task.command.model].is_working_on(task):
            return
        if not task.streams:
            # A chunk is reported once it is known whether another one follows, which only asking for it tells.
            self._next_stream(task)
        if not task.is_done:
            task.report_windows()
            if task.recording is None or not task.recording.is_complete:
                task.stop()

    def _start_streams(self) -> None:
        """Start the single stream of every exact task; the chunks of the others share the slots that are left."""
        if not self._with_more_streams:
            return
        waiting = [_turn(number, task) for number, task in enumerate(self._with_more_streams) if task.may_start_stream]
        if waiting:
            self._start_in_turn(waiting)
            self._with_more_streams = [task for task in self._with_more_streams if task.has_more_streams]

    def _start_in_turn(self, waiting: list[_Turn]) -> None:
        until = time.monotonic() + START_STREAMS_S
        room = self.slots - sum(len(task.streams) for task in self._tasks)
        heapq.heapify(waiting)
        while waiting and room > 0:
            *_, number, task = heapq.heappop(waiting)
            num_streams = len(task.streams)
            stream = self._next_stream(task)
            if stream is None:
                continue
            with self._cores.claim():
                self._models[task.command.model].start(stream)
            room -= len(task.streams) - num_streams
            if task.may_start_stream:
                heapq.heappush(waiting, _turn(number, task))
            if time.monotonic() > until:
                return

    def _next_stream(self, task: ActiveTask) -> ActiveStream | None:
        """None also when the recording cannot be read; the task has then ended."""
        with self._cores.claim():
            try:
                return task.start_stream()
            except Exception as error:  # noqa: BLE001 - whatever it is, it ends this task only
                task.fail(error)
                return None

    def _end_tasks(self) -> None:
        without_streams = [task for task in self._tasks if not task.streams]
        for task in without_streams:
            if task.is_done or task.recording is None:
                continue
            task.report_windows()
            if task.recording.is_complete:
                task.complete(self._peak.bytes_per_task())
        if not any(task.is_done for task in without_streams):
            return
        self._drop_done()
        self._tasks = [task for task in self._tasks if not task.is_done]
        self._with_more_streams = [task for task in self._with_more_streams if not task.is_done]
        self._preempted = [task for task in self._preempted if not task.is_done]
        if not self._tasks:
            self._on_idle()
        else:
            self._release_slots_of_ended_tasks()

    def _drop_done(self) -> None:
        for runner in self._models:
            runner.drop_done()

    def _release_slots_of_ended_tasks(self) -> None:
        was_released = False
        for runner in self._models:
            tasks = (task for task in self._tasks if self._models[task.command.model] is runner)
            was_released |= runner.keep_slots_for(task.command.options for task in tasks)
        if was_released:
            free_memory()

    def _on_idle(self) -> None:
        was_released = [runner.on_idle() for runner in self._models]
        if not self._is_gpu or any(was_released):
            free_memory()


class _PeakPerTask:
    """Memory that a task needs at its peak: the engine's growth since it was idle, divided by the most tasks that ran
    at the same time."""

    def __init__(self, meter: MemoryMeter) -> None:
        self._meter = meter
        self._most_tasks = 0
        self._is_valid = False  # whether all growth is of tasks of one model

    def add_task(self, model: str, others: list[str]) -> None:
        """others: the models of the tasks that are running already; the engine was idle when there are none."""
        if not others:
            self._meter.mark()
            self._most_tasks = 0
            self._is_valid = True
        self._is_valid &= all(other == model for other in others)
        self._most_tasks = max(self._most_tasks, len(others) + 1)

    def invalidate(self) -> None:
        """Something else than tasks takes memory, so there is no measurement until the engine was idle."""
        self._is_valid = False

    def bytes_per_task(self) -> int:
        """0 when it was not measured."""
        return self._meter.peak_since_mark() // self._most_tasks if self._is_valid else 0


_Turn = tuple[bool, int, int, ActiveTask]


def _turn(number: int, task: ActiveTask) -> _Turn:
    """Sorts tasks by who gets the next stream: exact ones, then those with the fewest. number: in order of arrival."""
    return not task.is_exact, len(task.streams), number, task


def _fail(tasks: Iterable[ActiveTask], error: Exception) -> None:
    for task in tasks:
        task.fail(error)
