"""A GPU's kernels are all used where every one of them works, and none of them where one does not."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from subprocess import CalledProcessError
from typing import Any

import pytest
import torch

from tests.whisper_core.engine.decoding.test_token_rules import begin
from tests.whisper_core.engine.driving import toy
from whisper_core.engine.decoding import choosing, step_kernels
from whisper_core.engine.decoding.row_state import RowState
from whisper_core.engine.decoding.step_kernels import StepKernels, step_kernels_for, triton_kernels
from whisper_core.engine.loaded_model import LoadedModel
from whisper_core.engine.network.cross_attention import CrossCache
from whisper_core.engine.network.decoder import run_step
from whisper_core.engine.network.dims import CrossForm
from whisper_core.engine.network.function_check import check_dims
from whisper_core.engine.network.self_attention import SelfCache
from whisper_core.engine.network.step_functions import TORCH_FUNCTIONS

errors = pytest.importorskip("triton.errors", reason="exists for Linux only")

CPU, GPU = (check_dims(torch.device(kind)) for kind in ("cpu", "cuda"))
TORCHS = StepKernels(TORCH_FUNCTIONS, choosing.choose)
KERNELS = StepKernels(TORCH_FUNCTIONS._replace(name="triton"), lambda *_: None)


@pytest.mark.filterwarnings("ignore:divide by zero encountered:RuntimeWarning")  # in numpy: see test_triton_choosing.py
def test_whole_steps_say_the_same() -> None:
    """Of a toy, interpreted, in rows and slots anywhere, beside rows of padding."""
    model = LoadedModel(toy())
    assert tokens_of(model, triton_kernels()) == tokens_of(model, TORCHS)


def tokens_of(model: LoadedModel, kernels: StepKernels) -> list[list[int]]:
    """What two rows say, from their first token on."""
    dims = replace(model.decoder.dims, cross=CrossForm(False, False, is_fused=True))
    generator = torch.Generator().manual_seed(4)
    state, cache, cross = RowState.empty(dims, 4), SelfCache.empty(dims, 4), CrossCache.empty(dims, 3)
    for tensor in (cross.keys, cross.values):
        tensor.normal_(generator=generator)
    cache.clear()
    begin(state, model.rules, 1, 20)
    state.token.copy_(torch.tensor([5, 6, 7, 8]))
    rows, places = torch.tensor([2, 0, 3, 3]), torch.tensor([1, 0, 2, 2])
    for _ in range(4):
        logits = run_step(
            model.decoder.layers, kernels.functions, state.token, state.position, rows, places, 1, 20, cross, cache
        )
        kernels.choose(logits, model.rules, state, rows, None)
    said: list[list[int]] = state.sampled.tokens[rows[:2], :4].tolist()
    return said


@pytest.fixture(autouse=True)
def _gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """On which everything works."""
    monkeypatch.setattr(torch.cuda, "device", nullcontext)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    monkeypatch.setattr(step_kernels, "triton_kernels", lambda: KERNELS)
    for check in ("first_wrong", "wrong_choice"):
        monkeypatch.setattr(step_kernels, check, lambda kernels, device: None)
    step_kernels_for.cache_clear()
    yield
    step_kernels_for.cache_clear()


def raising(error: BaseException) -> Callable[..., Any]:
    def fail(*_: Any) -> None:
        raise error

    return fail


def assert_torchs(kernels: StepKernels) -> None:
    assert kernels.functions is TORCH_FUNCTIONS
    assert kernels.choose is choosing.choose


def test_the_cpu_uses_torch_s_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    assert step_kernels_for(CPU) == (TORCH_FUNCTIONS, choosing.choose)
    assert caplog.records == []


def test_a_gpu_uses_kernels_that_work(caplog: pytest.LogCaptureFixture) -> None:
    assert step_kernels_for(GPU) is KERNELS
    assert caplog.records == []


@pytest.mark.parametrize(
    "error",
    [
        errors.TritonError("cannot compile"),
        RuntimeError("PassManager::run failed"),
        RuntimeError("Triton Error [CUDA]: device kernel image is invalid"),
        FileNotFoundError("ptxas"),
        CalledProcessError(1, "gcc"),
        AssertionError("libcuda.so cannot found!"),
        TypeError("takes 3 arguments"),
    ],
)
def test_kernels_that_do_not_compile_are_given_up_with_one_line(
    error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(step_kernels, "first_wrong", raising(error))
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert_torchs(step_kernels_for(GPU))
    reason = type(error).__name__
    (record,) = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[1] is error, "whoever looks for the reason finds it"
    assert record.getMessage() == f"event=kernels_off reason={reason}: torch's functions are used"


@pytest.mark.parametrize(("check", "name"), [("first_wrong", "add_norm"), ("wrong_choice", "choose")])
def test_one_kernel_that_computes_something_else_turns_all_off(
    check: str, name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(step_kernels, check, lambda kernels, device: name)
    assert_torchs(step_kernels_for(GPU))
    assert f"reason=wrong_{name}:" in caplog.text


def test_without_triton_torch_s_are_used(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(step_kernels, "triton_kernels", raising(ImportError("triton")))
    assert_torchs(step_kernels_for(GPU))
    assert "reason=not_installed:" in caplog.text


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), torch.AcceleratorError("CUDA error: unspecified failure")]
)
def test_a_device_in_trouble_says_nothing_about_the_kernels(
    error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(torch.cuda, "synchronize", raising(error))
        with pytest.raises(type(error)):
            step_kernels_for(GPU)
    assert step_kernels_for(GPU) is KERNELS, "tried again"
    assert caplog.records == []
