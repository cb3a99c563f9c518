"""Tasks with beams need more memory, in every place that counts it, and teach nothing about plain ones."""

from __future__ import annotations

from dataclasses import replace

import pytest

from optimizer.common.kinds import DeviceKind
from optimizer.memory.estimator import MemoryEstimationPool
from optimizer.memory.formula import beams_formula, slot_bytes
from optimizer.storage import mapping
from optimizer.tasks.task import Priority, TaskOptions
from whisper_core.models.catalogue import MODEL_NAMES, model_info
from whisper_core.text.options import TranscribeOptions

PLAIN = TranscribeOptions()


@pytest.mark.parametrize(
    ("options", "beams"),
    [
        (PLAIN, 0),
        (replace(PLAIN, beam_size=1, best_of=1), 0),
        (replace(PLAIN, beam_size=5), 5),
        (replace(PLAIN, best_of=4), 4),
        (replace(PLAIN, beam_size=5, best_of=5), 5),
        (replace(PLAIN, beam_size=5, best_of=3), 8),
        (replace(PLAIN, beam_size=5, best_of=3, temperature=0.0), 5),
        (replace(PLAIN, beam_size=5, best_of=3, temperature=0.4), 3),
    ],
)
def test_beams_are_the_rows_of_every_width_that_a_window_may_take(options: TranscribeOptions, beams: int) -> None:
    assert options.beams == beams
    assert options.is_plain is (beams == 0)


def test_a_waiting_task_keeps_its_beams_over_a_restart() -> None:
    stored = mapping._field_to_column(TaskOptions(model="tiny.en", beam_size=5, best_of=3))
    assert mapping.read_kind(stored, int(Priority.NORMAL), "auto", "")[-4:] == (False, False, 8, False)


@pytest.mark.parametrize("model", MODEL_NAMES)
@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_each_beam_takes_the_text_s_part_of_a_slot_and_the_sound_s_once(model: str, kind: DeviceKind) -> None:
    """Where a slot is the task's own."""
    slot, five, ten = (
        slot_bytes(model_info(model).dimensions, kind),
        beams_formula(model_info(model), kind, 5, holds_slots=False),
        beams_formula(model_info(model), kind, 10, holds_slots=False),
    )
    assert 1.5 * slot < five < ten < 2 * five


@pytest.mark.parametrize("model", MODEL_NAMES)
def test_beams_read_the_sound_where_the_model_holds_it(model: str) -> None:
    """So they take the text's part of a slot each, logits and noise, and no more."""
    dims, info = model_info(model).dimensions, model_info(model)
    text = dims.n_text_ctx * slot_bytes(dims, "cuda") // (dims.n_text_ctx + dims.n_audio_ctx)
    five, ten = (beams_formula(info, "cuda", beams) for beams in (5, 10))
    assert 5 * text < five < 1.6 * 5 * (text + 1.1e6)
    assert ten == 2 * five
    assert five < beams_formula(info, "cuda", 5, holds_slots=False)


def test_what_beams_add_to_an_estimate_is_known_at_once_and_multiplied_like_the_rest() -> None:
    pool = MemoryEstimationPool(1.5)
    plain, wide = (pool.task_bytes("base", "cpu", 60.0, beams=beams) for beams in (0, 5))
    assert wide - plain == pytest.approx(1.5 * beams_formula(model_info("base"), "cpu", 5), abs=1)
