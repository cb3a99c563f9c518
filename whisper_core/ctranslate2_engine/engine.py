"""Ctranslate2Engine: one recording at a time, by openai-whisper's algorithm, computed by CTranslate2 on the CPU."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import ctranslate2
import torch

from errors import EngineError
from whisper_core.common.process_memory import read_process_memory
from whisper_core.ctranslate2_engine.model import Ctranslate2Model
from whisper_core.ctranslate2_engine.model_files import write_folder
from whisper_core.model_requests import ModelTraits
from whisper_core.models.catalogue import precision_of
from whisper_core.models.load import load_model
from whisper_core.reference.sequential_engine import SequentialEngine
from whisper_core.reference.serving import transcribe_with
from whisper_core.text.transcript import Transcript, WindowResult
from whisper_core.upstream import traits_of
from whisper_core.worker.device_errors import free_memory, guarded, trim_heap
from whisper_core.worker.memory_meter import meter_for
from whisper_core.worker.messages import MemoryReport, RunTask


@dataclass(frozen=True)
class _Loaded:
    model: ctranslate2.models.Whisper
    traits: ModelTraits


class Ctranslate2Engine(SequentialEngine):
    """See engine_protocol.Engine. device: `cpu`. cpu_threads: 0 for one per core."""

    def __init__(self, device: str, cpu_threads: int) -> None:
        super().__init__()
        if device != "cpu":
            raise EngineError("CTranslate2 is used on CPUs only.")
        self._threads = cpu_threads or os.cpu_count() or 1
        torch.set_num_threads(self._threads)
        self._models: dict[str, _Loaded] = {}
        self._meter = meter_for(torch.device("cpu"))
        self.title = f"CPU, {self._threads} threads, CTranslate2 {ctranslate2.__version__}"

    def load(self, model: str, models_dir: Path) -> int:
        if model in self._models:
            return 0
        before = read_process_memory().held
        self._models[model] = guarded(lambda: self._load(model, models_dir))
        free_memory()  # what it was made from
        return max(0, read_process_memory().held - before)

    def unload(self, model: str) -> None:
        self._models.pop(model, None)
        free_memory()

    def run(
        self, command: RunTask, on_window: Callable[[WindowResult], None], should_stop: Callable[[], bool]
    ) -> Transcript | None:
        loaded = self._models.get(command.model)
        if loaded is None:
            raise EngineError(f"The model {command.model} is not loaded on this device.")
        self._meter.mark()
        model = Ctranslate2Model(loaded.model, loaded.traits)
        try:
            return guarded(lambda: transcribe_with(model, command, on_window, should_stop))
        finally:
            trim_heap()

    def memory(self) -> MemoryReport:
        return self._meter.report()

    def task_peak_bytes(self) -> int:
        return self._meter.peak_since_mark()

    def _load(self, name: str, models_dir: Path) -> _Loaded:
        is_int8 = precision_of(name) == "int8"
        whisper = load_model(name, models_dir, "cpu")
        traits = replace(traits_of(whisper), precision="int8" if is_int8 else "fp32")
        with TemporaryDirectory(prefix="ctranslate2-") as folder:
            write_folder(Path(folder), whisper, traits.tokenizer("en", "transcribe"))
            del whisper
            free_memory()
            model = ctranslate2.models.Whisper(
                folder,
                device="cpu",
                compute_type="int8" if is_int8 else "float32",
                inter_threads=1,
                intra_threads=self._threads,
            )
        return _Loaded(model, traits)
