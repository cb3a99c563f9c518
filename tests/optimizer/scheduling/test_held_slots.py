"""Models hold slots on a GPU from load on: how many each is loaded with, what is promised for them and given back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from optimizer.memory.estimator import MemoryEstimationPool
from optimizer.tasks.task import TaskOptions
from tests.optimizer.scheduling.rig import CARD, GB, Rig, running_rig
from whisper_core.worker import messages as protocol

ESTIMATES = MemoryEstimationPool(1.2)
NAME = CARD.name


@pytest.fixture
def card(tmp_path: Path) -> Iterator[Rig]:
    """With a card of 24 GB as its one device, which is ready."""
    with running_rig(tmp_path, [replace(CARD, total_bytes=24 * GB)]) as made:
        made.worker(NAME).ready(slots=64)
        yield made


def start(rig: Rig, task_id: str, model: str) -> tuple[protocol.LoadModel, protocol.RunTask]:
    """The first task of a model, which is loaded for it."""
    rig.submit(task_id, options=TaskOptions(model=model))
    load = rig.worker(NAME).expect(protocol.LoadModel)
    run = rig.worker(NAME).expect(protocol.RunTask)
    rig.worker(NAME).report(protocol.ModelLoaded(model, weights_bytes=0, seconds=1.0))  # 0: not measured
    rig.settle()
    return load, run


def promised(rig: Rig) -> dict[str, int]:
    return rig.device(NAME).pool.snapshot().models


def test_two_models_share_a_card_each_with_the_slots_that_what_is_left_allows(card: Rig) -> None:
    first, _ = start(card, "T1", "turbo")
    second, _ = start(card, "T2", "large-v3")
    assert (first.slots, second.slots) == (64, 6)
    assert promised(card) == {
        "turbo": ESTIMATES.weights_bytes("turbo", "cuda", 64),
        "large-v3": ESTIMATES.weights_bytes("large-v3", "cuda", 6),
    }
    card.device(NAME).pool.check()


def test_what_was_promised_with_a_model_is_given_back_when_it_leaves(card: Rig) -> None:
    before = card.device(NAME).pool.snapshot()
    _, run = start(card, "T1", "turbo")
    card.worker(NAME).finish(run)
    card.settle()
    assert set(promised(card)) == {"turbo"}
    card.device(NAME).models.evict("turbo")
    card.worker(NAME).expect(protocol.UnloadModel)
    card.settle()
    assert set(promised(card)) == {"turbo"}  # until the worker says so
    card.worker(NAME).report(protocol.ModelUnloaded("turbo"))
    card.settle()
    after = card.device(NAME).pool.snapshot()
    assert (after.reserved, after.free, after.double_releases) == (before.reserved, before.free, 0)
    assert card.device(NAME).models.slots == {}


def test_tasks_beyond_the_slots_wait_in_the_queue(card: Rig) -> None:
    start(card, "T1", "turbo")
    load, run = start(card, "L1", "large-v3")
    for number in range(2, 9):
        card.submit(f"L{number}", options=TaskOptions(model="large-v3"))
    more = [card.worker(NAME).expect(protocol.RunTask).task_id for _ in range(load.slots - 1)]
    card.settle()
    assert more == ["L2", "L3", "L4", "L5", "L6"]
    assert not card.worker(NAME).has_commands()
    reason = card.decisions.reason("L7")
    assert reason is not None
    assert reason.code.value == "tasks_ahead"
    card.worker(NAME).finish(run)
    assert card.worker(NAME).expect(protocol.RunTask).task_id == "L7"


def test_a_load_that_finds_no_memory_is_tried_again_with_half_as_many_slots(card: Rig) -> None:
    """And once it was loaded, the next load may have as many as before."""
    device, worker = card.device(NAME), card.worker(NAME)
    for slots in (64, 32, 16):
        card.submit(f"T{slots}", options=TaskOptions(model="turbo"))
        load, run = worker.expect(protocol.LoadModel), worker.expect(protocol.RunTask)
        assert load.slots == slots
        worker.report(protocol.ModelLoadFailed("turbo", "out_of_memory", "No memory."))
        worker.fail(run, "engine_error")
        card.settle()
        assert promised(card) == {}
        card.queue.cancel(f"T{slots}")
        card.settle()
    load, _ = start(card, "T8", "turbo")
    assert (load.slots, device.models.fewer_slots) == (8, {})
    assert promised(card) == {"turbo": ESTIMATES.weights_bytes("turbo", "cuda", 8)}


def test_a_load_that_fails_for_another_reason_costs_no_slots(card: Rig) -> None:
    card.submit("T1", options=TaskOptions(model="turbo"))
    card.worker(NAME).expect(protocol.LoadModel)
    card.worker(NAME).report(protocol.ModelLoadFailed("turbo", "model_unavailable", "Put it there."))
    assert card.device(NAME).models.fewer_slots == {}


def test_idle_models_leave_for_one_that_found_no_memory(card: Rig) -> None:
    """As before slots were held, and with them goes all that was promised for theirs."""
    _, run = start(card, "T1", "turbo")
    card.worker(NAME).finish(run)
    card.settle()
    card.submit("L1", options=TaskOptions(model="small"))
    load = card.worker(NAME).expect(protocol.LoadModel)
    card.worker(NAME).expect(protocol.RunTask)
    card.worker(NAME).report(protocol.ModelLoadFailed("small", "out_of_memory", "No memory."))
    assert card.worker(NAME).expect(protocol.UnloadModel).model == "turbo"
    assert load.slots == 64
    assert card.device(NAME).models.fewer_slots == {"small": 32}
    card.worker(NAME).report(protocol.ModelUnloaded("turbo"))
    card.settle()
    assert promised(card) == {}


def test_a_worker_that_died_forgets_what_it_was_short_of(card: Rig) -> None:
    models = card.device(NAME).models
    assert models.load("turbo", GB, 8)
    models.mark_short("turbo")
    assert models.fewer_slots == {"turbo": 4}
    models.clear()
    assert (models.fewer_slots, models.slots) == ({}, {})
