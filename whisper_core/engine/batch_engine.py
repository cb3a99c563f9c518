"""BatchEngine: several recordings at the same time, each by openai-whisper's algorithm, their passes run together.

One round of `advance` gives the encoder's lane its next windows, fills free slots, and takes one step of the decoder
for all windows in slots. On the CPU it computes in fp32, on a GPU in fp16, as `whisper.transcribe` does.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from concurrent.futures import Future
from functools import partial
from pathlib import Path

import torch

from errors import DeviceLostError, EngineError, SourceMissingError
from whisper_core.chunked import ChunkedTranscription
from whisper_core.device_errors import free_memory, guarded
from whisper_core.engine.active_task import ActiveTask
from whisper_core.engine.lane import Lane
from whisper_core.engine.loaded_model import LoadedModel
from whisper_core.engine.model_runner import ModelRunner
from whisper_core.engine.recording import ExactRecording, Recording
from whisper_core.engine.statistics import EngineStatistics
from whisper_core.engine.threads import ThreadBudget
from whisper_core.engine_protocol import TaskWatch
from whisper_core.features import LogMel
from whisper_core.memory_meter import CpuMeter, CudaMeter, MemoryMeter
from whisper_core.model_requests import DEFAULT_SETTINGS, DecodeSettings
from whisper_core.protocol import MemoryReport, RunTask
from whisper_core.reference_model import halve_matrices
from whisper_core.sample_file import SampleFile
from whisper_core.transcribe import ResumePoint
from whisper_core.weights import load_model

log = logging.getLogger(__name__)

SLOTS = {"cpu": 16, "cuda": 64}  # where more stop helping: docs/benchmarks.md
ENCODER_BATCH = {"cpu": 1, "cuda": 8}  # a CPU is busy with one window
# With fewer windows in slots a CPU rather encodes those that wait: a step reads all weights, for however few rows.
FEW_ROWS = {"cpu": 8, "cuda": 0}
WAIT_FOR_LANE_S = 0.05  # commands that arrive meanwhile wait that long at most


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
        self._lane = Lane(self._budget)
        self._runners: dict[str, ModelRunner] = {}
        self._tasks: list[ActiveTask] = []
        self._unopened: deque[ActiveTask] = deque()
        self._most_tasks = 0  # since the engine was idle
        self._meter: MemoryMeter = CpuMeter() if kind == "cpu" else CudaMeter(self._device)
        self.slots = SLOTS[kind]
        self.title = torch.cuda.get_device_name(self._device) if kind == "cuda" else f"CPU, {cores} threads"
        self.statistics = EngineStatistics(slots=self.slots)

    def load(self, model: str, models_dir: Path) -> int:
        if model in self._runners:
            return 0
        loaded = guarded(lambda: self._load(model, models_dir))
        encoder_batch = ENCODER_BATCH[self._device.type]
        self._runners[model] = ModelRunner(loaded, self._lane, self.slots, encoder_batch, self.statistics)
        free_memory()  # the file's contents
        return loaded.weights_bytes

    def unload(self, model: str) -> None:
        self._runners.pop(model, None)
        free_memory()

    def begin(self, command: RunTask, watch: TaskWatch) -> None:
        if command.model not in self._runners:
            watch.failed(EngineError(f"The model {command.model} is not loaded on this device."))
            return
        if not self._tasks:
            self._meter.mark()
            self._most_tasks = 0
        task = ActiveTask(command, watch)
        self._tasks.append(task)
        self._most_tasks = max(self._most_tasks, len(self._tasks))
        self._unopened.append(task)

    @property
    def is_busy(self) -> bool:
        return bool(self._tasks)

    def advance(self) -> None:
        try:
            with torch.inference_mode():
                self._advance()
        except DeviceLostError as error:
            for task in self._tasks:
                if not task.is_over:
                    task.failed(error)
            self._tasks.clear()
            raise

    def close(self) -> None:
        """End the encoder's thread. A worker's process just ends; for tests and benchmarks."""
        self._lane.close()

    def memory(self) -> MemoryReport:
        return self._meter.report()

    def _load(self, name: str, models_dir: Path) -> LoadedModel:
        """By way of the CPU, so that a GPU never holds the weights twice."""
        model = load_model(name, models_dir, "cpu").eval()
        if self._device.type == "cuda":
            halve_matrices(model)
        return LoadedModel(model.to(self._device), torch.float16 if self._device.type == "cuda" else torch.float32)

    # --- tasks -------------------------------------------------------------------------------------------------

    def _open(self, task: ActiveTask) -> Recording:
        """In the lane's thread, since the whole recording is read for the floor of its features."""
        command = task.command
        try:
            task.samples = SampleFile(Path(command.audio_path))
        except FileNotFoundError:
            raise SourceMissingError() from None
        resume = None
        if command.resume is not None:
            resume = ResumePoint(command.resume, command.segments, command.first_window)
        traits, options = self._runners[command.model].model.traits, command.options
        if task.is_exact:
            mel = LogMel(task.samples, traits.n_mels)
            return ExactRecording(mel, traits, options, self._settings, resume)
        return ChunkedTranscription(task.samples, traits, options, settings=self._settings, resume=resume)

    def _opened(self, task: ActiveTask, future: Future[Recording]) -> None:
        try:
            task.recording = guarded(future.result)
        except DeviceLostError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this task's
            if not task.is_over:
                task.failed(error)
        if task.is_over:  # it was stopped meanwhile
            task.close()

    def _advance(self) -> None:
        self._stop_tasks()
        self._lane.finish()
        self._offer_strands()
        for runner in self._runners.values():
            runner.drop_over()
        self._feed_lane()
        with self._budget.share():
            for runner in self._runners.values():
                runner.admit()
        self._work()
        self._end_tasks()

    def _feed_lane(self) -> None:
        """Windows first: they keep the tasks going that have begun."""
        while self._lane.is_free:
            if any(runner.feed_lane() for runner in self._runners.values()):
                continue
            if not self._unopened:
                return
            task = self._unopened.popleft()
            if not task.is_over:
                self._lane.submit(partial(self._open, task), then=partial(self._opened, task))

    def _work(self) -> None:
        """A step for every model that has windows in slots; else help with the encoding; else wait for it."""
        decoding = [runner for runner in self._runners.values() if runner.num_decoding]
        encoding = [runner for runner in self._runners.values() if runner.num_to_encode]
        if encoding and sum(runner.num_decoding for runner in decoding) < FEW_ROWS[self._device.type]:
            with self._budget.share():
                encoding[0].encode_here()
        elif decoding:
            with self._budget.share():
                for runner in decoding:
                    runner.step()
        else:
            self._lane.wait(WAIT_FOR_LANE_S)

    def _stop_tasks(self) -> None:
        for task in self._tasks:
            if not task.is_over and task.watch.should_stop():
                task.stopped()

    def _offer_strands(self) -> None:
        """Every exact task has its one strand; chunks of the others fill the slots that are left."""
        for task in sorted(self._tasks, key=lambda task: not task.is_exact):
            while not task.is_over and self._num_strands < self.slots:
                try:
                    strand = task.next_strand()
                except Exception as error:  # noqa: BLE001 - whatever it is, it is this task's
                    task.failed(error)
                    break
                if strand is None:
                    break
                with self._budget.share():
                    self._runners[task.command.model].start(strand)

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
                task.done(self._meter.peak_since_mark() // self._most_tasks)
        self._tasks = [task for task in self._tasks if not task.is_over]
        if not self._tasks:
            self._rest()

    def _rest(self) -> None:
        for runner in self._runners.values():
            runner.rest()
        free_memory()
