"""BatchEngine: several recordings at the same time, each by openai-whisper's algorithm, their passes run together.

One round of `advance` gives the encoder's lane its next windows, fills free slots, and takes one step of the decoder
for all windows in slots. New tasks are opened in a lane of their own, since that reads whole recordings. On the CPU it
computes in fp32, on a GPU in fp16, as `whisper.transcribe` does.
"""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Collection
from concurrent.futures import Future
from functools import partial
from pathlib import Path

import torch

from errors import DeviceLostError, EngineError, OutOfMemoryError
from whisper_core.audio.log_mel import LogMel
from whisper_core.audio.sample_file import open_samples
from whisper_core.chunked import ChunkedTranscription
from whisper_core.engine.active_task import ActiveTask, RunningStrand
from whisper_core.engine.alignment import compile_alignment
from whisper_core.engine.executors import Lane
from whisper_core.engine.loaded_model import LoadedModel
from whisper_core.engine.model_runner import ModelRunner
from whisper_core.engine.recording import ExactRecording, Recording
from whisper_core.engine.slot_limit import SlotLimit
from whisper_core.engine.statistics import EngineStatistics
from whisper_core.engine.streams import DECODER_PRIORITY, new_stream, on_stream
from whisper_core.engine.threads import ThreadBudget
from whisper_core.model_requests import DEFAULT_SETTINGS, DecodeSettings, ModelTraits
from whisper_core.models.load import load_model
from whisper_core.reference.model import halve_matrices
from whisper_core.transcribe import ResumePoint
from whisper_core.worker.device_errors import free_memory, guarded
from whisper_core.worker.engine_protocol import TaskObserver
from whisper_core.worker.memory_meter import CpuMeter, CudaMeter, MemoryMeter
from whisper_core.worker.messages import MemoryReport, RunTask

log = logging.getLogger(__name__)

SLOTS = {"cpu": 16, "cuda": 64}  # 16 brought 1.2 times what 8 did (docs/benchmarks.md); beyond, not measured
ENCODER_BATCH = {"cpu": 1, "cuda": 8}  # a CPU is busy with one window
# With fewer windows in slots a CPU rather encodes those that wait: a step reads all weights, for however few rows.
FEW_ROWS = {"cpu": 10, "cuda": 0}
QUICK_ENCODING_S = 2.0  # slower models' windows are left to the lane: stops and new tasks wait for the engine's thread
ROWS_TO_SHARE = 4  # a step of fewer rows takes longer on two threads than on one
WAIT_FOR_LANE_S = 0.05  # commands that arrive meanwhile wait that long at most
OFFER_S = 0.1  # for cutting chunks in one round, while no window is decoded


class BatchEngine:
    """See engine_protocol.Engine.

    device: `cpu` or `cuda:<n>`. cpu_threads: for torch's work on the CPU; 0 for one per core.
    settings: for benchmarks and tests; the server uses openai-whisper's defaults.
    """

    def __init__(self, device: str, cpu_threads: int, settings: DecodeSettings = DEFAULT_SETTINGS) -> None:
        self._device = torch.device(device)
        kind = self._device.type
        cores = cpu_threads or os.cpu_count() or 1
        torch.set_num_threads(cores)
        self._settings = settings
        self._budget = ThreadBudget(cores)
        self._lane, self._opener = (Lane(self._budget, self._device) for _ in range(2))
        self._stream = new_stream(self._device, DECODER_PRIORITY)
        self._runners: dict[str, ModelRunner] = {}
        self._tasks: list[ActiveTask] = []
        self._unopened: deque[ActiveTask] = deque()
        self._most_tasks = 0  # since the engine was idle
        self._is_measured = False  # whether all growth since then is of one model's tasks
        self._meter: MemoryMeter = CpuMeter() if kind == "cpu" else CudaMeter(self._device)
        self.slots = SLOTS[kind]
        self.title = torch.cuda.get_device_name(self._device) if kind == "cuda" else f"CPU, {cores} threads"
        self.statistics = EngineStatistics(slots=self.slots)

    def load(self, model: str, models_dir: Path) -> int:
        if model in self._runners:
            return 0
        self._is_measured = False
        try:
            loaded = self._load_with_room(model, models_dir)
        except DeviceLostError as error:
            self._fail(self._tasks, error)
            raise
        limit = SlotLimit(self.slots, ENCODER_BATCH[self._device.type])
        self._runners[model] = ModelRunner(loaded, self._lane, limit, self.statistics, self._make_room)
        free_memory()  # the file's contents
        return loaded.weights_bytes

    def unload(self, model: str) -> None:
        tasks = [task for task in self._tasks if task.command.model == model]
        self._fail(tasks, EngineError(f"The model {model} was unloaded while it was at work."))
        self._runners.pop(model, None)
        free_memory()

    def begin(self, command: RunTask, watch: TaskObserver) -> None:
        if command.model not in self._runners:
            watch.failed(EngineError(f"The model {command.model} is not loaded on this device."))
            return
        if not self._tasks:
            self._meter.mark()
            self._most_tasks = 0
            self._is_measured = True
        self._is_measured &= all(task.command.model == command.model for task in self._tasks)
        task = ActiveTask(command, watch)
        self._tasks.append(task)
        self._most_tasks = max(self._most_tasks, len(self._tasks))
        self._unopened.append(task)

    @property
    def is_busy(self) -> bool:
        return bool(self._tasks)

    def advance(self) -> None:
        try:
            with torch.inference_mode(), on_stream(self._stream):
                guarded(self._advance)
        except DeviceLostError as error:
            self._fail(self._tasks, error)
            self._tasks.clear()
            raise

    def close(self) -> None:
        """End the lanes' threads and close the recordings. A worker's process just ends; for tests and benchmarks."""
        self._lane.close()
        self._opener.close()
        for task in self._tasks:
            task.close()

    def memory(self) -> MemoryReport:
        return self._meter.report()

    def _load_with_room(self, name: str, models_dir: Path) -> LoadedModel:
        """Once more without the slots that idle, when memory is short."""
        failure: OutOfMemoryError
        try:
            return guarded(lambda: self._load(name, models_dir))
        except OutOfMemoryError as error:
            failure = error
        if not self._release_idle(self._runners.values()):
            raise failure
        free_memory()
        return guarded(lambda: self._load(name, models_dir))

    def _load(self, name: str, models_dir: Path) -> LoadedModel:
        """By way of the CPU, so that a GPU never holds the weights twice."""
        model = load_model(name, models_dir, "cpu").eval()
        if self._device.type == "cuda":
            halve_matrices(model)
            loaded = LoadedModel(model.to(self._device), torch.float16)
            torch.cuda.synchronize(self._device)  # other streams than this one are going to use it
            return loaded
        return LoadedModel(model, torch.float32)

    # --- tasks -------------------------------------------------------------------------------------------------

    def _open(self, task: ActiveTask, traits: ModelTraits) -> Recording:
        """In a lane's thread: the whole recording is read for the floor of its features."""
        command, options = task.command, task.command.options
        if options.word_timestamps:
            compile_alignment()
        task.samples = open_samples(Path(command.audio_path))
        resume = None
        if command.resume is not None:
            resume = ResumePoint(command.resume, command.segments, command.first_window)
        if task.is_exact:
            mel = LogMel(task.samples, traits.n_mels, self._device)
            guarded(mel.prepare)
            return ExactRecording(mel, traits, options, self._settings, resume)
        return ChunkedTranscription(
            task.samples, traits, options, settings=self._settings, resume=resume, device=self._device
        )

    def _opened(self, task: ActiveTask, future: Future[Recording]) -> None:
        failure: Exception | None = None
        try:
            task.recording = guarded(future.result)
        except DeviceLostError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this task's
            failure = error
        if isinstance(failure, OutOfMemoryError) and not task.is_over and self._make_room(None):
            task.close()
            free_memory()
            self._unopened.append(task)
        elif failure is not None and not task.is_over:
            task.failed(failure)
        if task.is_over:  # it was stopped meanwhile
            task.close()

    def _advance(self) -> None:
        self._stop_tasks()
        self._opener.finish()
        self._lane.finish()
        self._offer_strands()
        for runner in self._runners.values():
            runner.drop_over()
        self._feed_lanes()
        with self._budget.share():
            for runner in self._runners.values():
                runner.admit()
        self._work()
        self._end_tasks()

    def _feed_lanes(self) -> None:
        while self._unopened and self._opener.is_free:
            task = self._unopened.popleft()
            if not task.is_over:
                traits = self._runners[task.command.model].model.traits
                self._opener.submit(partial(self._open, task, traits), then=partial(self._opened, task))
        while self._lane.is_free and (runner := self._next_to_encode()):
            runner.feed_lane()

    def _next_to_encode(self) -> ModelRunner | None:
        """The models that have windows to encode take turns."""
        for name, runner in self._runners.items():
            if runner.num_to_encode:
                self._runners[name] = self._runners.pop(name)  # to the end of the queue
                return runner
        return None

    def _work(self) -> None:
        """A step for every model that has windows in slots; else help with the encoding; else wait for it."""
        decoding = [runner for runner in self._runners.values() if runner.num_decoding]
        has_few_rows = sum(runner.num_decoding for runner in decoding) < FEW_ROWS[self._device.type]
        encoding = self._next_to_encode() if has_few_rows else None
        if encoding is not None and encoding.encoding_s < QUICK_ENCODING_S:
            with self._budget.share():
                encoding.encode_here()
        elif decoding:
            for runner in decoding:
                with self._budget.share(at_most=1 if runner.num_decoding < ROWS_TO_SHARE else None):
                    runner.step()
        else:
            (self._opener if self._lane.is_idle else self._lane).wait(WAIT_FOR_LANE_S)

    def _stop_tasks(self) -> None:
        for task in self._tasks:
            if task.is_over:
                continue
            if task.watch.should_stop():
                task.stopped()
            elif task.watch.should_preempt():
                self._preempt(task)

    def _preempt(self, task: ActiveTask) -> None:
        """Nothing more of the task is begun; it ends once nothing of it is at work."""
        task.is_leaving = True
        if self._runners[task.command.model].is_at_work_on(task):
            return
        if not task.strands:  # a chunk is told once it is known whether another one follows
            self._next_strand(task)
        if not task.is_over:
            task.report_windows()
            if task.recording is None or not task.recording.is_complete:
                task.stopped()

    def _offer_strands(self) -> None:
        """Every exact task has its one strand; chunks of the others share the slots that are left."""
        until = time.monotonic() + OFFER_S
        asked = [task for task in self._tasks if not task.is_over and not task.is_leaving]
        while asked and self._num_strands < self.slots:
            task = min(asked, key=lambda task: (not task.is_exact, len(task.strands)))
            if not self._start_strand(task):
                asked.remove(task)
            elif time.monotonic() > until:
                return

    def _start_strand(self, task: ActiveTask) -> bool:
        """Whether the task had one."""
        strand = self._next_strand(task)
        if strand is not None:
            with self._budget.share():
                self._runners[task.command.model].start(strand)
        return strand is not None and not task.is_over

    def _next_strand(self, task: ActiveTask) -> RunningStrand | None:
        """None also when its recording cannot be read; the task has then ended."""
        with self._budget.share():
            try:
                return task.next_strand()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is this task's
                task.failed(error)
                return None

    @property
    def _num_strands(self) -> int:
        return sum(len(task.strands) for task in self._tasks)

    def _end_tasks(self) -> None:
        for task in self._tasks:
            recording = task.recording
            if task.is_over or recording is None or task.strands:
                continue
            task.report_windows()
            if recording.is_complete:
                task.done(self._meter.peak_since_mark() // self._most_tasks if self._is_measured else 0)
        self._tasks = [task for task in self._tasks if not task.is_over]
        if not self._tasks:
            self._rest()

    def _make_room(self, runner: ModelRunner | None) -> bool:
        """Have other models than `runner`, or all, give memory back for one window or recording; whether one did.

        First what idles, then half of the largest batch: what is at work costs a second decoding.
        """
        others = [each for each in self._runners.values() if each is not runner]
        if self._release_idle(others):
            return True
        largest = max(others, key=lambda each: each.num_in_flight, default=None)
        if largest is None or largest.num_in_flight <= 1:
            return False
        largest.shrink()
        return True

    def _release_idle(self, runners: Collection[ModelRunner]) -> bool:
        released = [name for name, each in self._runners.items() if each in runners and each.release_idle()]
        if released:
            log.warning("event=idle_slots_released models=%s: out of memory", ",".join(released))
        return bool(released)

    def _fail(self, tasks: list[ActiveTask], error: Exception) -> None:
        for task in tasks:
            if not task.is_over:
                task.failed(error)

    def _rest(self) -> None:
        for runner in self._runners.values():
            runner.rest()
        free_memory()
