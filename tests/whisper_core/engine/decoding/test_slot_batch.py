"""Whatever else is in a slot batch, and wherever its slot is, a sequence has the result that it has alone."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import pytest
import torch

from tests.whisper_core.engine.as_on_gpu import as_on_gpu
from tests.whisper_core.parity import short_toy
from whisper_core.engine.cuda_window_memory import CudaWindowMemory
from whisper_core.engine.decoding.cpu_slots import CpuSlots
from whisper_core.engine.decoding.encoded_window import EncodedWindow
from whisper_core.engine.decoding.search import SlotKind
from whisper_core.engine.decoding.sequence import Sequence
from whisper_core.engine.decoding.slot_batch import SlotBatch
from whisper_core.engine.loaded_model import LoadedModel
from whisper_core.engine.network.cross_attention import CrossCache
from whisper_core.engine.slot_limit import SlotLimit
from whisper_core.engine.window_memory import CpuWindowMemory, WindowMemory
from whisper_core.model_requests import Decode, Decoded, DecodeSettings

WINDOWS = 12
LIMIT = 5
SETTINGS = {1: DecodeSettings(), 3: DecodeSettings(beam_size=3, best_of=3)}


@dataclass
class Slots:
    """A model on a device, with its memory for windows."""

    model: LoadedModel
    memory: WindowMemory

    def batch(self, width: int = 1) -> SlotBatch:
        return self.memory.slot_batch(SlotKind(width))

    def sequence(self, number: int, width: int = 1, cross: CrossCache | None = None) -> Sequence:
        """Windows differ in sound, in the length of their prompts, and in temperature."""
        (place,) = self.memory.places(1)
        own = cross or heard("cpu" if place is None else "gpu").slots(number % WINDOWS)
        if place is None:
            window = EncodedWindow(mel=cast(Any, None), own_cross=own.clone())
        else:
            there = cast(Any, place).kept.cross.slots(place.number)
            there.copy_from(own)
            window = EncodedWindow(mel=cast(Any, None), own_cross=there, place=place)
        prompt = tuple(range(200, 200 + number % 9))
        temperature = (0.0, 0.7)[number // 2 % 2]
        request = Decode(window, prompt, "en", "transcribe", temperature, number, SETTINGS[width])
        return self.model.sequence(request, owner=None, task_seed=number)


@pytest.fixture(autouse=True)
def _as_the_engine_computes() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture(params=["cpu", "gpu"])
def device(request: pytest.FixtureRequest) -> Iterator[str]:
    """Slots as on a GPU are computed by the CPU, too."""
    if request.param == "cpu":
        yield "cpu"
        return
    with as_on_gpu():
        yield "gpu"


@pytest.fixture
def slots(device: str) -> Slots:
    return new_slots(device)


def new_slots(device: str, limit: int = LIMIT) -> Slots:
    model = loaded(device)
    memory = CudaWindowMemory if device == "gpu" else CpuWindowMemory
    return Slots(model, memory(model, SlotLimit(limit, WINDOWS)))


@cache
def loaded(device: str) -> LoadedModel:
    """Inside `as_on_gpu` it keeps keys and values as a GPU does."""
    return LoadedModel(short_toy(3, n_text_ctx=24, sharpness=1.0))


@cache
def heard(device: str) -> CrossCache:
    """A slot for each of the windows, of noise that is louder in each."""
    generator = torch.Generator().manual_seed(1)
    mels = torch.randn(WINDOWS, 80, 3000, generator=generator) * torch.arange(1, WINDOWS + 1)[:, None, None] / WINDOWS
    return loaded(device).encoder.encode(mels)


def read_prompts(batch: SlotBatch) -> None:
    for sequences in batch.prompts_to_read():
        batch.read_prompts(sequences)


def finish(batch: SlotBatch, sequence: Sequence) -> Decoded:
    while True:
        read_prompts(batch)
        if sequence in batch.step():
            return sequence.result(batch.rows_of(sequence))


@cache
def alone(device: str, number: int, width: int = 1) -> Decoded:
    slots = new_slots(device, 1)
    own, one = slots.batch(width), slots.sequence(number, width)
    own.add(one)
    return finish(own, one)


def assert_same(ours: Decoded, expected: Decoded) -> None:
    assert ours.tokens == expected.tokens
    assert ours.avg_logprob == pytest.approx(expected.avg_logprob, abs=1e-4)
    assert ours.no_speech_prob == pytest.approx(expected.no_speech_prob, rel=1e-3)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("width", [1, 3])
def test_sequences_come_and_go_in_any_order(width: int, seed: int, slots: Slots, device: str) -> None:
    dice, shared = random.Random(seed), slots.batch(width)
    numbers: dict[Sequence, int] = {}
    unbegun, num_answered = list(range(WINDOWS)), 0

    def begin_next() -> Sequence:
        number = unbegun.pop(dice.randrange(len(unbegun)))
        numbers[following := slots.sequence(number, width)] = number
        return following

    while unbegun or shared.sequences:
        while unbegun and len(shared.sequences) < LIMIT and dice.random() < 0.6:
            shared.add(begin_next())
        if shared.sequences and dice.random() < 0.1:
            stopped = dice.choice(shared.sequences)
            shared.remove(stopped)
            stopped.window.evict()
        read_prompts(shared)
        for ended in reversed(shared.step() if shared.sequences else []):
            assert_same(ended.result(shared.rows_of(ended)), alone(device, numbers[ended], width))
            num_answered += 1
            if device == "gpu":
                ended.window.evict()  # as its stream does; on the CPU the slot holds it
            if unbegun and dice.random() < 0.5:
                shared.replace(ended, begin_next())
            else:
                shared.remove(ended)
        assert len({sequence.slot for sequence in shared.sequences}) == len(shared.sequences)
        if device == "cpu":
            for slot, present in enumerate(shared.sequences):
                assert (present.slot, present.window.holder, present.window.slot) == (slot, shared, slot)
    assert num_answered > WINDOWS // 2


def test_the_same_window_at_another_temperature_keeps_its_slot(slots: Slots, device: str) -> None:
    shared, first, second = slots.batch(), slots.sequence(0), slots.sequence(2)
    other = slots.sequence(2, cross=heard(device).slots(0))
    second.window = first.window
    shared.add(first)
    shared.add(slots.sequence(1))
    finish(shared, first)
    slot = first.slot
    shared.replace(first, second)
    assert second.slot == slot
    decoded = finish(shared, second)
    apart = new_slots(device)
    other.window = apart.sequence(2, cross=heard(device).slots(0)).window
    batch = apart.batch()
    batch.add(other)
    assert_same(decoded, finish(batch, other))


@pytest.mark.parametrize("leaves", ["replaced", "removed, another stays", "removed, the next is added"])
def test_numbers_that_are_none_stay_with_their_window(leaves: str, slots: Slots, device: str) -> None:
    """fp16 may overflow in one window; whoever gets its slot must not read what it left there."""
    broken, good, neighbour = slots.sequence(8, cross=of_nan(device)), slots.sequence(1), slots.sequence(4)
    shared = slots.batch()
    shared.add(broken)
    shared.add(neighbour)
    for _ in range(6):
        read_prompts(shared)
        shared.step()
    if leaves == "replaced":
        shared.replace(broken, good)
    else:
        if leaves == "removed, the next is added":
            shared.remove(neighbour)
        shared.remove(broken)
        shared.add(good)
    if neighbour in shared.sequences:
        assert_same(finish(shared, neighbour), alone(device, 4))
        shared.remove(neighbour)
    assert_same(finish(shared, good), alone(device, 1))


def of_nan(device: str) -> CrossCache:
    cross = heard(device).slots(0).clone()
    cross.keys.fill_(torch.nan)
    return cross


def test_released_memory_is_gone_although_the_batch_is_not(slots: Slots) -> None:
    shared, one = slots.batch(), slots.sequence(0)
    shared.add(one)
    shared.release()
    assert not one.window.is_encoded
    assert shared.sequences == []
    assert cast(Any, shared)._cache.keys.shape[1] <= 1  # the spare one on a GPU


def test_prompts_of_one_length_are_read_together_on_a_gpu() -> None:
    with as_on_gpu():
        slots = new_slots("gpu", 8)
        shared = slots.batch()
        for _ in range(7):
            shared.add(slots.sequence(0))
        assert [len(sequences) for sequences in shared.prompts_to_read()] == [4, 2, 1]
        read_prompts(shared)
        assert shared.prompts_to_read() == []


def test_a_window_that_was_given_up_keeps_no_other_from_being_read() -> None:
    """Its task has ended, and it is about to be removed."""
    with as_on_gpu():
        slots = new_slots("gpu", 8)
        shared, ended, others = slots.batch(), slots.sequence(0), [slots.sequence(0) for _ in range(2)]
        for each in (others[0], ended, others[1]):
            shared.add(each)
        ended.window.evict()
        assert shared.prompts_to_read() == [others]
        for sequences in shared.prompts_to_read():
            shared.read_prompts(sequences)
        shared.remove(ended)
        assert_same(finish(shared, others[0]), alone("gpu", 0))


def test_a_gpu_answers_few_windows_a_step_and_none_is_forgotten() -> None:
    with as_on_gpu():
        slots = new_slots("gpu", 8)
        shared, reported = slots.batch(), []
        for _ in range(8):
            shared.add(slots.sequence(0))  # all of them end at the same step
        read_prompts(shared)
        while shared.sequences:
            ended = shared.step()
            reported.append(len(ended))
            for sequence in ended:
                assert_same(sequence.result(shared.rows_of(sequence)), alone("gpu", 0))
                shared.remove(sequence)
        assert reported[-2:] == [4, 4]


def test_wide_slots_double_on_a_gpu_while_windows_are_in_them(device: str) -> None:
    slots = new_slots(device)
    shared, numbers = slots.batch(3), {}
    for number in range(LIMIT):
        numbers[sequence := slots.sequence(number, 3)] = number
        shared.add(sequence)
        read_prompts(shared)
        if number < 2:
            shared.step()
    while shared.sequences:
        for ended in reversed(shared.step()):
            assert_same(ended.result(shared.rows_of(ended)), alone(device, numbers[ended], 3))
            shared.remove(ended)


def test_on_the_cpu_further_windows_move_nothing() -> None:
    """Where slots grow by doubling, the fifth window takes as much memory as the eighth."""
    slots = new_slots("cpu")
    shared = cast(CpuSlots, slots.batch())
    shared.add(slots.sequence(0))
    places = {shared.cross_of(0).keys.data_ptr()}
    for number in range(1, LIMIT):
        shared.add(slots.sequence(number))
        places.add(shared.cross_of(0).keys.data_ptr())
    assert len(places) == 1
    assert len(shared.sequences) == LIMIT


def test_where_there_is_no_room_for_all_slots_they_double(monkeypatch: pytest.MonkeyPatch) -> None:
    allocate, sizes = CpuSlots._allocate, []

    def refuse_many(batch: CpuSlots, capacity: int) -> None:
        if capacity > 2:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        sizes.append(capacity)
        allocate(batch, capacity)

    monkeypatch.setattr(CpuSlots, "_allocate", refuse_many)
    slots = new_slots("cpu")
    shared, first, second = slots.batch(), slots.sequence(0), slots.sequence(1)
    for each in (first, second):
        shared.add(each)
    assert sizes == [1, 2]
    assert_same(finish(shared, first), alone("cpu", 0))


def test_a_limit_that_rises_again_is_filled() -> None:
    """It had fallen because memory ran out."""
    slots = new_slots("cpu", 1)
    shared = slots.batch()
    first, *later = (slots.sequence(number) for number in range(3))
    shared.add(first)
    shared.limit = 3
    for each in later:
        shared.add(each)
    assert_same(finish(shared, first), alone("cpu", 0))
