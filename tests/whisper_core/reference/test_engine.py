"""ReferenceEngine: transcribing from a samples file, and what becomes of torch's errors."""

from __future__ import annotations

import copy
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from whisper.model import LayerNorm, Linear, Whisper

from errors import DeviceLostError, EngineError, OutOfMemoryError, SourceMissingError, TaskError
from tests.whisper_core.parity import noise, our_windows, short_toy
from whisper_core.audio.log_mel import LogMel
from whisper_core.reference.engine import ReferenceEngine
from whisper_core.reference.model import ReferenceModel
from whisper_core.text.options import TranscribeOptions
from whisper_core.text.transcript import WindowResult
from whisper_core.upstream import halve_matrices, traits_of
from whisper_core.worker.device_errors import guarded
from whisper_core.worker.memory_meter import CpuMeter
from whisper_core.worker.messages import RunTask

OPTIONS = TranscribeOptions(language="en", temperature=0.8)
SAMPLES = noise(65)


@pytest.fixture
def toy() -> Whisper:
    return short_toy(1)


@pytest.fixture
def engine(toy: Whisper, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ReferenceEngine:
    """An engine on the CPU with the toy under the name `tiny`."""
    monkeypatch.setattr("whisper_core.reference.engine.load_model", lambda name, models_dir, device: copy.deepcopy(toy))
    engine = ReferenceEngine("cpu", 1)
    engine.load("tiny", tmp_path)
    return engine


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    SAMPLES.tofile(tmp_path / "samples.pcm")
    return tmp_path / "samples.pcm"


def command(audio: Path, model: str = "tiny", **changes: Any) -> RunTask:
    return RunTask("task", "lease", model, str(audio), OPTIONS, seed=7, **changes)


def never() -> bool:
    return False


def run(
    engine: ReferenceEngine, command: RunTask, should_stop: Callable[[], bool] = never
) -> tuple[Any, list[WindowResult]]:
    windows: list[WindowResult] = []
    return engine.run(command, windows.append, should_stop), windows


def test_it_transcribes_a_samples_file(engine: ReferenceEngine, toy: Whisper, audio: Path) -> None:
    assert run(engine, command(audio)) == our_windows(toy, SAMPLES, OPTIONS, task_seed=7)


def test_an_int8_model_that_reaches_it_all_the_same_is_computed_in_fp32_and_the_transcript_says_so(
    engine: ReferenceEngine, audio: Path, tmp_path: Path
) -> None:
    """As a task that waited while the server was started with another engine."""
    engine.load("tiny-int8", tmp_path)
    packed, windows = run(engine, command(audio, model="tiny-int8"))
    assert packed.precision == "fp32"
    assert (packed, windows) == run(engine, command(audio))


def test_it_goes_on_after_a_checkpoint(engine: ReferenceEngine, audio: Path) -> None:
    whole, windows = run(engine, command(audio))
    last = windows[1]
    segments = tuple(segment for window in windows[:2] for segment in window.segments)
    resumed, rest = run(engine, command(audio, resume=last.checkpoint, segments=segments, first_window=2))
    assert (resumed, rest) == (whole, windows[2:])


def test_it_stops_when_it_is_told_to(engine: ReferenceEngine, audio: Path) -> None:
    assert run(engine, command(audio), lambda: True) == (None, [])


def test_a_missing_samples_file_is_named_as_such(engine: ReferenceEngine, tmp_path: Path) -> None:
    with pytest.raises(SourceMissingError):
        run(engine, command(tmp_path / "absent.pcm"))


def test_a_model_that_is_not_resident_is_refused(engine: ReferenceEngine, audio: Path) -> None:
    engine.unload("tiny")
    engine.unload("tiny")
    with pytest.raises(EngineError, match="tiny"):
        run(engine, command(audio))


def test_loading_twice_costs_nothing(engine: ReferenceEngine, toy: Whisper, tmp_path: Path) -> None:
    assert engine.load("tiny", tmp_path) == 0
    weights = sum(parameter.nbytes for parameter in toy.parameters())
    assert weights <= engine.load("base", tmp_path) < weights * 1.2


def test_it_has_the_asked_for_threads() -> None:
    engine = ReferenceEngine("cpu", 2)
    assert torch.get_num_threads() == 2
    assert engine.title == "CPU, 2 threads"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"), OutOfMemoryError),
        (RuntimeError("CUDA error: out of memory"), OutOfMemoryError),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory"),
            OutOfMemoryError,
        ),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), OutOfMemoryError),
        (RuntimeError("failed to allocated memory"), OutOfMemoryError),
        (RuntimeError("could not create a memory object"), OutOfMemoryError),
        (MemoryError(), OutOfMemoryError),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), DeviceLostError),
        (torch.AcceleratorError("CUDA error: device-side assert triggered"), DeviceLostError),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), DeviceLostError),
        (RuntimeError("The size of tensor a (3) must match"), EngineError),
    ],
)
def test_torch_s_errors_become_ours(error: Exception, expected: type[TaskError]) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(TaskError) as raised:
        guarded(fail)
    assert type(raised.value) is expected
    assert str(error) not in raised.value.message or not str(error)
    assert "in fail" in raised.value.__notes__[0]


def test_memory_that_ran_out_is_free_before_the_error_is_raised() -> None:
    """Whoever handles the error must find the failed call's tensors gone; an exception in its context keeps them."""
    tensors: list[weakref.ref[torch.Tensor]] = []

    def fail() -> None:
        tensor = torch.zeros(10)
        tensors.append(weakref.ref(tensor))
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(OutOfMemoryError) as raised:
        guarded(fail)
    assert [tensor() for tensor in tensors] == [None]
    assert raised.value.__context__ is None


def test_other_errors_pass_unchanged() -> None:
    def fail() -> None:
        raise SourceMissingError

    with pytest.raises(SourceMissingError):
        guarded(fail)


def test_the_cpu_meter_sees_a_peak_that_is_over() -> None:
    meter = CpuMeter()
    meter.mark()
    block = np.ones(20_000_000)  # 160 MB
    del block
    assert 150_000_000 < meter.peak_since_mark() < 400_000_000
    assert meter.report().peak >= meter.report().used > 0
    if sys.platform == "linux":
        meter.mark()
        assert meter.peak_since_mark() < 100_000_000


def test_halved_matrices_compute_what_upstream_computes_in_fp16() -> None:
    """On the CPU, where torch can do fp16 too, if slowly."""
    model = short_toy(1)
    halved = copy.deepcopy(model)
    halve_matrices(halved)
    assert {module.weight.dtype for module in halved.modules() if isinstance(module, Linear)} == {torch.float16}
    assert {module.weight.dtype for module in halved.modules() if isinstance(module, LayerNorm)} == {torch.float32}
    mel = LogMel(noise(5), 80).window(0, 500).tensor().half().unsqueeze(0)
    tokens = torch.tensor([[50258, 50259, 50359, 50364]])
    with torch.no_grad():
        assert torch.equal(halved.encoder(mel), model.encoder(mel))
        assert torch.equal(halved(mel, tokens), model(mel, tokens))


@pytest.mark.parametrize(("device", "precision"), [("cpu", "fp32"), ("cuda:0", "fp16")])
def test_the_precision_is_openai_whispers_on_the_models_device(device: str, precision: str) -> None:
    toy = short_toy(1)
    placed = SimpleNamespace(
        device=torch.device(device), dims=toy.dims, is_multilingual=True, num_languages=toy.num_languages
    )
    assert traits_of(cast(Any, placed)).precision == precision


def test_traits_are_the_model_s() -> None:
    traits = ReferenceModel(short_toy(1)).traits
    assert (traits.is_multilingual, traits.num_languages, traits.n_audio_ctx, traits.n_text_ctx) == (True, 99, 1500, 40)
    assert traits.precision == "fp32"
