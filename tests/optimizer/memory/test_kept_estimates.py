"""What a pool has learned is there after a restart."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil
from pathlib import Path
from typing import Any

import pytest

from errors import DiskFullError
from optimizer.memory.estimator import MemoryEstimationPool
from optimizer.memory.formula import costs_formula
from optimizer.memory.regression import Calibration
from optimizer.storage.documents import DocumentStore
from optimizer.storage.store import TaskStore
from tests.optimizer.fakes import FakeClock
from tests.optimizer.memory.helpers import ONE_MINUTE, own, run_out, teach, total_bytes
from whisper_core.models.catalogue import model_info


@pytest.fixture
def document_store(tmp_path: Path) -> Iterator[DocumentStore]:
    store = TaskStore(tmp_path)
    store.open()
    yield DocumentStore(store.database, FakeClock())
    store.close()


def restarted(document_store: DocumentStore) -> MemoryEstimationPool:
    pool = MemoryEstimationPool(1.2)
    pool.add_device("cpu", "cpu", "CPU, 2 threads / fast")
    pool.open(document_store)
    return pool


def test_what_was_learned_is_there_after_a_restart(document_store: DocumentStore) -> None:
    pool = restarted(document_store)
    teach(pool, ONE_MINUTE, 1.7, 10, device="cpu")
    teach(pool, ONE_MINUTE, 1.7, 10, device="cpu", word_timestamps=True)
    run_out(pool, pool.task_bytes("base", "cpu", 60.0))
    pool.save(document_store)
    again = restarted(document_store)
    assert again.accuracy() == pool.accuracy()
    for words in (False, True):
        expected, found = (total_bytes(each, "base", "cpu", 60.0, words) for each in (pool, again))
        assert found == pytest.approx(expected, rel=0.001)


def test_only_what_is_new_is_written(document_store: DocumentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[list[str]] = []
    monkeypatch.setattr(document_store, "write", lambda documents: written.append(sorted(documents)))
    pool = restarted(document_store)
    teach(pool, ONE_MINUTE, 1.0, 3, device="cpu")
    pool.save(document_store)
    pool.save(document_store)
    assert written == [["memory/cpu/CPU, 2 threads / fast/base/plain"], []]


def test_what_could_not_be_written_is_written_the_next_time(
    document_store: DocumentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = restarted(document_store)
    teach(pool, ONE_MINUTE, 1.0, 3, device="cpu")

    def refuse(documents: dict[str, Any]) -> None:
        raise DiskFullError

    with monkeypatch.context() as context:
        context.setattr(document_store, "write", refuse)
        pool.save(document_store)
    assert restarted(document_store).accuracy() == []
    pool.save(document_store)
    assert restarted(document_store).accuracy() == pool.accuracy()


@pytest.mark.parametrize(
    "damage",
    [
        {"version": "0"},
        {"torch": "1.0"},
        {"processor": "another one"},
        {"model": "enormous"},
        {"kind": "abacus"},
        {"measurements": [[1, 0, 60.0, 1, 5]]},
        {"measurements": [[1, 1, float("nan"), 1, 5]]},
        {"measurements": [[float("inf"), 1, 60.0, 1, 5]]},
        {"measurements": "all"},
        {"forecasts": [[1, 2]]},
        {"forecasts": [[1, 2, 0]]},
        {"pressure": None},
    ],
)
def test_what_an_unreadable_document_held_is_measured_again(
    document_store: DocumentStore, damage: dict[str, Any]
) -> None:
    pool = restarted(document_store)
    teach(pool, ONE_MINUTE, 1.7, 10, device="cpu")
    pool.save(document_store)
    ((name, document),) = document_store.read("memory/").items()
    document_store.write({name: {**document, **damage}, "memory/strange": [1, 2]})
    again = restarted(document_store)
    assert again.accuracy() == []
    assert again.task_bytes("base", "cpu", 60.0) == ceil(1.2 * own("base", "cpu", 60.0))


@pytest.mark.parametrize("row", [[1, 1, 60.0, 1, 1e8], [1, 1, 60.0, 1, 1e8, 30.0]])
def test_a_measurement_that_does_not_say_how_long_the_longest_was_is_of_a_full_window(row: list[float]) -> None:
    calibration = Calibration(costs_formula(model_info("base"), "cpu"))
    calibration.restore([row])
    assert calibration.to_json() == [[1, 1, 60.0, 1, 1e8, 30.0]]


@pytest.mark.parametrize("longest", [[-1.0], [31.0], [float("nan")], ["long"], [30.0, 30.0]])
def test_a_measurement_with_an_impossible_length_is_refused(longest: list[Any]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whatever it says
        Calibration(costs_formula(model_info("base"), "cpu")).restore([[1, 1, 60.0, 1, 1e8, *longest]])
