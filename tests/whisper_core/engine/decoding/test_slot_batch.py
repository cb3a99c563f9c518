"""Whatever else is in a slot batch, and wherever its slot moves, a sequence has the result that it has alone."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import cache
from typing import Any, cast

import pytest
import torch

from tests.whisper_core.parity import short_toy
from whisper_core.engine.decoding.encoded_window import EncodedWindow
from whisper_core.engine.decoding.search import SlotKind
from whisper_core.engine.decoding.sequence import Sequence
from whisper_core.engine.decoding.slot_batch import SlotBatch
from whisper_core.engine.loaded_model import LoadedModel
from whisper_core.engine.network.cross_attention import CrossCache
from whisper_core.model_requests import Decode, Decoded, DecodeSettings

WINDOWS = 12
LIMIT = 5
SETTINGS = {1: DecodeSettings(), 3: DecodeSettings(beam_size=3, best_of=3)}


@pytest.fixture(autouse=True)
def _as_the_engine_computes() -> Iterator[None]:
    with torch.inference_mode():
        yield


@cache
def model() -> LoadedModel:
    return LoadedModel(short_toy(3, n_text_ctx=24, sharpness=1.0))


@cache
def heard() -> CrossCache:
    """A slot for each of the windows, of noise that is louder in each."""
    generator = torch.Generator().manual_seed(1)
    mels = torch.randn(WINDOWS, 80, 3000, generator=generator) * torch.arange(1, WINDOWS + 1)[:, None, None] / WINDOWS
    return model().encoder.encode(mels)


def sequence(number: int, width: int = 1, cross: CrossCache | None = None) -> Sequence:
    """Windows differ in sound, in the length of their prompts, and in temperature."""
    window = EncodedWindow(mel=cast(Any, None), own_cross=cross or heard().slots(number % WINDOWS).clone())
    prompt = tuple(range(200, 200 + number % 9))
    temperature = (0.0, 0.7)[number // 2 % 2]
    request = Decode(window, prompt, "en", "transcribe", temperature, number, SETTINGS[width])
    return model().sequence(request, owner=None, task_seed=number)


def slot_batch(width: int = 1, limit: int = LIMIT) -> SlotBatch:
    return model().slot_batch(SlotKind(width), limit)


def finish(batch: SlotBatch, sequence: Sequence) -> Decoded:
    while True:
        if sequence in batch.step():
            return sequence.result(batch.rows_of(sequence))


@cache
def alone(number: int, width: int = 1) -> Decoded:
    own, one = slot_batch(width, 1), sequence(number, width)
    own.add(one)
    return finish(own, one)


def assert_same(ours: Decoded, expected: Decoded) -> None:
    assert ours.tokens == expected.tokens
    assert ours.avg_logprob == pytest.approx(expected.avg_logprob, abs=1e-4)
    assert ours.no_speech_prob == pytest.approx(expected.no_speech_prob, rel=1e-3)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("width", [1, 3])
def test_sequences_come_and_go_in_any_order(width: int, seed: int) -> None:
    dice, shared = random.Random(seed), slot_batch(width)
    numbers: dict[Sequence, int] = {}
    unbegun, num_answered = list(range(WINDOWS)), 0

    def begin_next() -> Sequence:
        number = unbegun.pop(dice.randrange(len(unbegun)))
        numbers[following := sequence(number, width)] = number
        return following

    while unbegun or shared.sequences:
        while unbegun and len(shared.sequences) < LIMIT and dice.random() < 0.6:
            shared.add(begin_next())
        if shared.sequences and dice.random() < 0.1:
            shared.remove(dice.choice(shared.sequences))  # its task was stopped
        for ended in reversed(shared.step() if shared.sequences else []):
            assert_same(ended.result(shared.rows_of(ended)), alone(numbers[ended], width))
            num_answered += 1
            if unbegun and dice.random() < 0.5:
                shared.replace(ended, begin_next())
            else:
                shared.remove(ended)
        for slot, present in enumerate(shared.sequences):
            assert (present.window.holder, present.window.slot) == (shared, slot)
    assert num_answered > WINDOWS // 2


def test_the_same_window_at_another_temperature_keeps_its_slot() -> None:
    shared, first, second = slot_batch(), sequence(0), sequence(2)
    second.window = first.window
    shared.add(first)
    shared.add(sequence(1))
    finish(shared, first)
    shared.replace(first, second)
    other = sequence(2, cross=heard().slots(0).clone())
    apart = slot_batch()
    apart.add(other)
    assert_same(finish(shared, second), finish(apart, other))


@pytest.mark.parametrize("leaves", ["replaced", "removed, the last moves in", "removed, the next is added"])
def test_numbers_that_are_none_stay_with_their_window(leaves: str) -> None:
    """fp16 may overflow in one window; whoever gets its slot must not read what it left there."""
    shared, broken, good, neighbour = slot_batch(), sequence(8, cross=of_nan()), sequence(1), sequence(4)
    shared.add(broken)
    shared.add(neighbour)
    for _ in range(6):
        shared.step()
    if leaves == "replaced":
        shared.replace(broken, good)
    else:
        if leaves == "removed, the next is added":
            shared.remove(neighbour)
        shared.remove(broken)
        shared.add(good)
    if neighbour in shared.sequences:
        assert_same(finish(shared, neighbour), alone(4))
        shared.remove(neighbour)
    assert_same(finish(shared, good), alone(1))


def of_nan() -> CrossCache:
    cross = heard().slots(0).clone()
    cross.keys.fill_(torch.nan)
    return cross


def test_released_memory_is_gone_although_the_bank_is_not() -> None:
    shared, one = slot_batch(), sequence(0)
    shared.add(one)
    shared.release()
    assert not one.window.is_encoded
    assert shared.sequences == []
    assert shared.cross_of(0).keys.numel() == 0


def test_on_the_cpu_further_windows_move_nothing() -> None:
    """Where slots grow by doubling, the fifth window takes as much memory as the eighth."""
    shared = slot_batch()
    shared.add(sequence(0))
    places = {shared.cross_of(0).keys.data_ptr()}
    for number in range(1, LIMIT):
        shared.add(sequence(number))
        places.add(shared.cross_of(0).keys.data_ptr())
    assert len(places) == 1
    assert len(shared.sequences) == LIMIT


def test_where_there_is_no_room_for_all_slots_they_double(monkeypatch: pytest.MonkeyPatch) -> None:
    allocate, sizes = SlotBatch._allocate, []

    def refuse_many(batch: SlotBatch, capacity: int) -> None:
        if capacity > 2:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        sizes.append(capacity)
        allocate(batch, capacity)

    monkeypatch.setattr(SlotBatch, "_allocate", refuse_many)
    shared, first, second = slot_batch(), sequence(0), sequence(1)
    for each in (first, second):
        shared.add(each)
    assert sizes == [1, 2]
    assert_same(finish(shared, first), alone(0))


def test_a_limit_that_rises_again_is_filled() -> None:
    """It had fallen because memory ran out."""
    shared = slot_batch(limit=1)
    first, *later = (sequence(number) for number in range(3))
    shared.add(first)
    shared.limit = 3
    for each in later:
        shared.add(each)
    assert_same(finish(shared, first), alone(0))
