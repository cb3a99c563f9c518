"""ReferenceEngine: one recording at a time, by openai-whisper's own functions. Faster engines are compared with it.

On the CPU it computes in fp32, on a GPU in fp16, as `whisper.transcribe` does.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import torch
from whisper.model import Whisper

from errors import EngineError
from whisper_core.model_requests import DecodeSettings
from whisper_core.models.catalogue import weights_name_of
from whisper_core.models.load import load_model
from whisper_core.reference.model import ReferenceModel
from whisper_core.reference.sequential_engine import SequentialEngine
from whisper_core.reference.serving import transcribe_with
from whisper_core.text.transcript import Transcript, WindowResult
from whisper_core.upstream import place_on
from whisper_core.worker.device_errors import free_memory, guarded, trim_heap
from whisper_core.worker.memory_meter import meter_for
from whisper_core.worker.messages import MemoryReport, RunTask


class ReferenceEngine(SequentialEngine):
    """See engine_protocol.Engine.

    device: `cpu` or `cuda:<n>`. cpu_threads: for torch's work on the CPU, in the whole process; 0 for one per core.
    settings: for benchmarks and tests, in place of those that each task's options name.
    """

    def __init__(self, device: str, cpu_threads: int, settings: DecodeSettings | None = None) -> None:
        super().__init__()
        torch.set_num_threads(cpu_threads or os.cpu_count() or 1)
        self._device = torch.device(device)
        self._settings = settings
        self._models: dict[str, Whisper] = {}
        self._meter = meter_for(self._device)
        self.title = _title_of(self._device)

    def load(self, model: str, models_dir: Path) -> int:
        if model in self._models:
            return 0
        loaded = guarded(lambda: place_on(load_model(weights_name_of(model), models_dir, "cpu"), self._device))
        self._models[model] = loaded
        free_memory()  # the file's contents
        return sum(tensor.nbytes for tensor in (*loaded.parameters(), *loaded.buffers()) if not tensor.is_sparse)

    def unload(self, model: str) -> None:
        self._models.pop(model, None)
        free_memory()

    def run(
        self, command: RunTask, on_window: Callable[[WindowResult], None], should_stop: Callable[[], bool]
    ) -> Transcript | None:
        whisper = self._models.get(command.model)
        if whisper is None:
            raise EngineError(f"The model {command.model} is not loaded on this device.")
        self._meter.mark()
        model = ReferenceModel(whisper, seed=command.seed)
        try:
            return guarded(lambda: transcribe_with(model, command, on_window, should_stop, self._settings))
        finally:
            trim_heap()

    def memory(self) -> MemoryReport:
        return self._meter.report()

    def task_peak_bytes(self) -> int:
        return self._meter.peak_since_mark()


def _title_of(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads"
