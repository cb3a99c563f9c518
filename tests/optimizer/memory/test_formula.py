"""The formula compared with measurements of real engines."""

from __future__ import annotations

from dataclasses import asdict

import pytest
import torch
from whisper.model import ModelDimensions as WhisperDimensions
from whisper.model import Whisper

from optimizer.memory.costs import ConcurrentTasks, Costs
from optimizer.memory.formula import (
    beams_formula,
    costs_formula,
    held_formula,
    slot_bytes,
    weights_formula,
    workspace_formula,
)
from tests.optimizer.memory.helpers import MIB, formula, own
from whisper_core.models.catalogue import MODEL_NAMES, WEIGHTS_NAMES, model_info

# Of the reference engine, which runs one task at a time. Growth of resident memory at its peak, openai-whisper 20250625
# with random weights, torch 2.13, 2 cores: a window with the longest prompt (and 224 sampled tokens, small 40); the
# pass for word timestamps with 220 tokens.
MEASURED_ON_CPU = {"tiny": (168 * MIB, 401 * MIB), "base": (193 * MIB, 524 * MIB), "small": (260 * MIB, 688 * MIB)}

# Of the batch engine on an NVIDIA H200, torch 2.11, random weights, when it held nothing but its weights: MB of these
# once loaded, and by how much the allocator's memory grew with 1, 16 and 64 tasks of two windows at once (`python -m
# benchmarks.cuda_all memory`).
MEASURED_ON_GPU = {
    "tiny.en": (189, {1: 201, 16: 751, 64: 1976}),
    "base": (285, {1: 245, 16: 1388, 64: 3855}),
    "small": (765, {1: 357, 16: 3362, 64: 11507}),
    "medium": (2087, {1: 696, 16: 8502, 64: 27831}),
    "turbo": (2405, {1: 283, 16: 2173, 64: 4222}),
    "large-v3": (4287, {1: 1017, 16: 13957, 64: 47358}),
}


@pytest.mark.parametrize("model", MEASURED_ON_CPU)
def test_the_formula_is_above_what_a_task_takes_and_below_twice_that(model: str) -> None:
    """The longest prompt is one of a second window."""
    peak, _ = MEASURED_ON_CPU[model]
    assert peak < formula(model, "cpu", 60.0) < 2 * peak


@pytest.mark.parametrize("model", MEASURED_ON_CPU)
def test_the_formula_for_word_timestamps_is_above_what_they_take_and_below_twice_that(model: str) -> None:
    _, peak = MEASURED_ON_CPU[model]
    assert peak < formula(model, "cpu", 30.0, words=True) < 2 * peak


@pytest.mark.parametrize(
    ("model", "cross_mb", "self_mb"),
    [("tiny", 9.2, 2.8), ("base", 18.4, 5.5), ("small", 55, 16.5), ("medium", 147, 44), ("large-v3", 246, 73),
     ("turbo", 31, 9.2)],
)  # fmt: skip
def test_a_slot_holds_the_keys_and_values_of_a_window(model: str, cross_mb: float, self_mb: float) -> None:
    assert slot_bytes(model_info(model).dimensions, "cuda") == pytest.approx((cross_mb + self_mb) * 1e6, rel=0.01)


@pytest.mark.parametrize("model", MODEL_NAMES)
def test_the_estimate_of_a_task_is_its_slot_and_little_else(model: str) -> None:
    """What several tasks share counts once, with the model, however many there are. Where slots are not held."""
    dims = model_info(model).dimensions
    for kind in ("cpu", "cuda"):
        slot = slot_bytes(dims, kind)
        task = costs_formula(model_info(model), kind, holds_slots=False).own(60.0)
        assert slot < task <= (2 if kind == "cpu" else 2.8) * slot + 40_000_000


@pytest.mark.parametrize("model", MODEL_NAMES)
def test_a_task_adds_next_to_nothing_where_its_model_holds_the_slots(model: str) -> None:
    """However long it is, and whatever the model; only the pass for word timestamps and beams are its own."""
    assert own(model, "cuda", 3600.0) == own(model, "cuda", 1.0) == own("tiny", "cuda", 1.0) < 10_000_000
    assert workspace_formula(model_info(model), "cuda") < 30_000_000


# --- what a model holds on a GPU, by its dimensions; no card has seen it ---------------------------------------------


@pytest.mark.parametrize(
    ("model", "slots", "held_mb"),
    [
        # Windows' keys and values are 30.7 MB each, for 72 windows; their texts' 9.2, for 65 rows; the vocabulary is
        # 0.21 MB a row, five times for 64 rows and four times for 8 more; the encoder 50 MB a window and the prompts
        # 9.3 + 7.7, for 8 each; 195 MB are graphs and what libraries keep.
        ("turbo", 64, 72 * 30.72 + 65 * 9.175 + 5 * 64 * 0.2075 + 32 * 0.2075 + 8 * (49.92 + 9.298 + 7.68) + 195),
        ("turbo", 8, 16 * 30.72 + 9 * 9.175 + 5 * 8 * 0.2075 + 32 * 0.2075 + 8 * (49.92 + 9.298 + 7.68) + 195),
        ("turbo", 1, 2 * 30.72 + 2 * 9.175 + 5 * 0.2075 + 4 * 0.2075 + 49.92 + 9.298 + 7.68 + 195),
        # Eight times as many layers, the rest is the same.
        ("large-v3", 64, 72 * 245.76 + 65 * 73.4 + 5 * 64 * 0.2075 + 32 * 0.2075 + 8 * (49.92 + 9.298 + 7.68) + 195),
        ("large-v3", 2, 4 * 245.76 + 3 * 73.4 + 10 * 0.2075 + 8 * 0.2075 + 2 * (49.92 + 9.298 + 7.68) + 195),
    ],
)
def test_what_a_model_holds_is_the_sum_of_its_tensors(model: str, slots: int, held_mb: float) -> None:
    assert held_formula(model_info(model), "cuda", slots) == pytest.approx(held_mb * 1e6, rel=1e-4)


@pytest.mark.parametrize("model", MODEL_NAMES)
def test_more_slots_hold_more_and_each_of_them_less(model: str) -> None:
    """What is shared by the slots counts once."""
    steps = (1, 2, 4, 8, 16, 24, 32, 48, 64)
    held = [held_formula(model_info(model), "cuda", slots) for slots in steps]
    assert held == sorted(set(held))
    each = [nbytes / slots for nbytes, slots in zip(held, steps, strict=True)]
    assert each == sorted(each, reverse=True)
    slot = slot_bytes(model_info(model).dimensions, "cuda")
    assert held[-1] - held[3] == pytest.approx(56 * slot, rel=0.1)


@pytest.mark.parametrize("model", MODEL_NAMES)
def test_nothing_is_held_on_the_cpu(model: str) -> None:
    info = model_info(model)
    assert [held_formula(info, "cpu", slots) for slots in (1, 16)] == [0, 0]
    assert costs_formula(info, "cpu") == costs_formula(info, "cpu", holds_slots=False)
    assert beams_formula(info, "cpu", 5) == beams_formula(info, "cpu", 5, holds_slots=False)


def test_the_cpus_figures_are_those_that_were_measured() -> None:
    """To the byte, as long as nothing changes on the CPU: workspace, task, a second of it, the window ahead, words."""
    base = costs_formula(model_info("base"), "cpu", word_timestamps=True)
    assert base == Costs(160_587_776, 55_874_048, 1000, 35_905_536, 159_562_840, 359_568_000)
    large = costs_formula(model_info("large-v3"), "cpu", word_timestamps=True)
    assert large == Costs(291_553_536, 646_320_640, 1000, 478_740_480, 965_868_656, 359_568_000)
    weights = [weights_formula(model_info(name), "cpu") for name in ("tiny.en", "base", "base-int8", "large-v3")]
    assert weights == [360_200_192, 607_697_920, 220_053_704, 9_657_885_696]
    beams = [beams_formula(model_info(name), "cpu", 5) for name in ("tiny.en", "base", "large-v3")]
    assert beams == [50_106_240, 96_063_440, 1_229_672_480]


@pytest.mark.parametrize(
    ("lengths", "grown_mb"),
    [([8], 91), ([60], 124), ([1000], 131), ([60] * 2, 152), ([60] * 3, 211), ([40] * 4, 253), ([50] * 9, 574)],
)
def test_the_formula_is_above_what_the_batch_engine_took(lengths: list[float], grown_mb: int) -> None:
    """Growth of resident memory with so many seconds of sound at once, tiny.en on 2 cores, torch 2.13."""
    assert (
        grown_mb * 1e6
        < costs_formula(model_info("tiny.en"), "cpu").growth(ConcurrentTasks.of(lengths))
        < 2 * grown_mb * 1e6
    )


@pytest.mark.parametrize(
    ("lengths", "grown_mb"),
    [
        ([3], 69),
        ([7], 83),
        ([12], 80),
        ([15], 71),
        ([24], 97),
        ([30], 140),
        ([68], 182),
        ([3] * 5, 185),
        ([58] * 3, 302),
    ],
)
def test_the_formula_for_word_timestamps_is_above_what_the_batch_engine_took(
    lengths: list[float], grown_mb: int
) -> None:
    """Growth of held memory, tiny.en on 2 cores (AVX-512), torch 2.13, English speech of 3 to 4 tokens a second."""
    costs = costs_formula(model_info("tiny.en"), "cpu", word_timestamps=True)
    assert grown_mb * 1e6 < costs.growth(ConcurrentTasks.of(lengths))


@pytest.mark.parametrize("model", MODEL_NAMES)
def test_word_timestamps_of_a_clip_take_a_fraction_of_what_those_of_a_window_take(model: str) -> None:
    """A clip has little text, and the alignment is of its text and of its sound."""
    for kind in ("cpu", "cuda"):
        clip, half, window, hour = (
            costs_formula(model_info(model), kind, word_timestamps=True).own(seconds) - own(model, kind, seconds)
            for seconds in (3.0, 15.0, 30.0, 3600.0)
        )
        assert 0 < 9 * clip < 1.8 * half < window
        assert window == pytest.approx(hour)


@pytest.mark.parametrize(("model", "grown_by"), [("tiny", 154 * MIB), ("base", 287 * MIB), ("small", 933 * MIB)])
def test_the_weights_formula_is_what_loading_takes_and_the_decoders_second_layout(model: str, grown_by: int) -> None:
    """grown_by: of upstream's model alone. The second layout has the MLP, six other matrices and the vocabulary, which
    is kept twice."""
    dims = model_info(model).dimensions
    anew = 4 * (14 * dims.n_text_layer * dims.n_text_state**2 + 2 * dims.n_vocab * dims.n_text_state)
    assert grown_by < weights_formula(model_info(model), "cpu") - anew < 1.1 * grown_by


@pytest.mark.parametrize("name", ["tiny.en", "base"])
def test_an_int8_model_takes_its_packed_matrices_and_the_rest_in_fp32(name: str) -> None:
    dims = model_info(name).dimensions
    whisper = Whisper(WhisperDimensions(**asdict(dims)))
    matrices = [module.weight.numel() for module in whisper.modules() if isinstance(module, torch.nn.Linear)]
    outputs = [module.out_features for module in whisper.modules() if isinstance(module, torch.nn.Linear)]
    others = sum(parameter.numel() for parameter in whisper.parameters()) - sum(matrices)
    others += sum(buffer.numel() for buffer in whisper.buffers() if not buffer.is_sparse)
    embedding = dims.n_vocab * dims.n_text_state
    packed = 2 * (sum(matrices) + embedding) + 8 * (sum(outputs) + dims.n_vocab)
    kept = packed + 2 * embedding + 4 * (others - embedding)
    assert weights_formula(model_info(f"{name}-int8"), "cpu") == kept + 16_000_000


@pytest.mark.parametrize(("name", "grown_by"), [("tiny.en", 117 * MIB), ("base", 231 * MIB)])
def test_the_weights_formula_of_int8_is_what_loading_took(name: str, grown_by: int) -> None:
    """grown_by: of anonymous memory by BatchEngine.load, torch 2.13, 2 cores of an EPYC with VNNI and bf16, oneDNN. The
    first model that is loaded also brings some 20 MiB of libraries, in fp32 too, which count with the process."""
    assert weights_formula(model_info(f"{name}-int8"), "cpu") == pytest.approx(grown_by, rel=0.12)


@pytest.mark.parametrize("name", WEIGHTS_NAMES)
def test_an_int8_model_takes_less_than_its_model_and_its_tasks_as_much(name: str) -> None:
    packed = f"{name}-int8"
    assert (
        0.15 * weights_formula(model_info(name), "cpu")
        < weights_formula(model_info(packed), "cpu")
        < 0.5 * weights_formula(model_info(name), "cpu")
    )
    assert workspace_formula(model_info(packed), "cpu") == workspace_formula(model_info(name), "cpu")
    assert costs_formula(model_info(packed), "cpu") == costs_formula(model_info(name), "cpu")


@pytest.mark.parametrize("model", MEASURED_ON_GPU)
def test_the_weights_formula_is_what_loading_took_on_a_gpu(model: str) -> None:
    measured, _ = MEASURED_ON_GPU[model]
    assert weights_formula(model_info(model), "cuda") == pytest.approx(measured * 1e6, rel=0.05)


@pytest.mark.parametrize("model", MEASURED_ON_GPU)
def test_the_formula_is_above_what_the_batch_engine_took_on_a_gpu_without_holding_slots(model: str) -> None:
    weights, grown = MEASURED_ON_GPU[model]
    for tasks, grown_mb in grown.items():
        costs = costs_formula(model_info(model), "cuda", holds_slots=False)
        formula = weights_formula(model_info(model), "cuda") + costs.growth(ConcurrentTasks.of([60.0] * tasks))
        measured = (weights + grown_mb) * 1e6
        assert measured < 1.01 * formula < (1.3 if tasks <= 16 else 1.8) * measured


@pytest.mark.parametrize("model", MEASURED_ON_GPU)
def test_what_slots_hold_is_of_the_size_that_as_many_tasks_took_with_slots_that_came_and_went(model: str) -> None:
    """With few of them what is kept ready for batches counts for more; with many of them a slot batch's old and new
    tensors, which were there at once whenever it grew, and every task's own window ahead are missing."""
    _, grown = MEASURED_ON_GPU[model]
    for tasks, grown_mb in grown.items():
        held = held_formula(model_info(model), "cuda", tasks)
        formula = held + costs_formula(model_info(model), "cuda").growth(ConcurrentTasks.of([60.0] * tasks))
        assert formula > slot_bytes(model_info(model).dimensions, "cuda") * tasks
        assert 0.45 * grown_mb * 1e6 < formula < 1.8 * grown_mb * 1e6


def test_a_larger_model_takes_more() -> None:
    models = [model_info(model) for model in ("tiny", "base", "small", "medium", "large-v3")]
    for sizes in (
        [costs_formula(model, "cuda", holds_slots=False).own(60.0) for model in models],
        [held_formula(model, "cuda", 8) for model in models],
        [costs_formula(model, "cpu").own(60.0) for model in models],
    ):
        assert sizes == sorted(set(sizes))
