"""How far a batch shrinks when memory runs out, and how it grows again."""

from __future__ import annotations

from unittest.mock import Mock

import pytest

from whisper_core.engine.resident_models import ResidentModels
from whisper_core.engine.slot_limit import CALM_STEPS, LONGEST_CALM_STEPS, SlotLimit


def limit_of_16() -> SlotLimit:
    return SlotLimit(slots=16, encoder_batch=8)


def steps_until_grown(limit: SlotLimit) -> int:
    slots, steps = limit.slots, 0
    while limit.slots == slots:
        limit.step_succeeded()
        steps += 1
    return steps


def test_half_of_what_was_in_flight_may_be_from_then_on() -> None:
    limit = limit_of_16()
    limit.shrink(in_flight=10)
    assert (limit.slots, limit.encoder_batch, limit.is_down_to_one) == (5, 4, False)
    limit.shrink(in_flight=2)
    assert (limit.slots, limit.encoder_batch, limit.is_down_to_one) == (1, 2, True)


def test_it_doubles_while_memory_suffices_up_to_where_it_began() -> None:
    limit = limit_of_16()
    limit.shrink(in_flight=10)
    grown = []
    for _ in range(2):
        assert steps_until_grown(limit) == 2 * CALM_STEPS
        grown.append((limit.slots, limit.encoder_batch))
    assert grown == [(10, 8), (16, 8)]
    for _ in range(10 * CALM_STEPS):
        limit.step_succeeded()
    assert (limit.slots, limit.encoder_batch) == (16, 8)


def test_every_further_shortage_makes_it_wait_twice_as_long() -> None:
    limit = limit_of_16()
    waits = []
    for _ in range(8):
        limit.shrink(in_flight=2)
        waits.append(steps_until_grown(limit) // CALM_STEPS)
    assert waits == [2, 4, 8, 16, 32, 32, 32, 32]
    assert LONGEST_CALM_STEPS == 32 * CALM_STEPS


def test_an_idle_engine_starts_with_all_its_slots_again() -> None:
    limit = limit_of_16()
    limit.shrink(in_flight=4)
    limit.reset()
    assert (limit.slots, limit.encoder_batch) == (16, 8)
    limit.shrink(in_flight=4)
    assert steps_until_grown(limit) == 2 * CALM_STEPS


@pytest.mark.parametrize(
    ("told", "slots", "encoder_batch"), [(0, 64, 8), (64, 64, 8), (100, 64, 8), (24, 24, 8), (4, 4, 4), (1, 1, 1)]
)
def test_a_model_has_as_many_slots_as_it_was_loaded_with_and_encodes_no_more_at_a_time(
    told: int, slots: int, encoder_batch: int
) -> None:
    models = ResidentModels(Mock(), Mock(), slots=64, encoder_batch=8)
    models.load("tiny", Mock(), told)
    limit = models["tiny"]._limit
    assert (limit.slots, limit.encoder_batch, limit.is_down_to_one) == (slots, encoder_batch, False)
