"""Steps of few rows get the number of threads with which they are faster, found out while they run."""

from __future__ import annotations

import pytest
import torch

from whisper_core.engine.executors import CoreShare
from whisper_core.engine.step_threads import ROWS_TO_SHARE, StepThreads

CORES = 2


class Machine:
    """Whose steps take as long as is said here, by the number of threads."""

    def __init__(self, seconds: dict[int, float]) -> None:
        self.seconds = seconds
        self.now = 0.0
        self.cores = CoreShare(CORES)
        self.threads = StepThreads(clock=lambda: self.now)

    def step(self, rows: int = 1) -> int:
        """The number of threads that the step got."""
        with self.threads.claim(self.cores, rows):
            threads = torch.get_num_threads()
            self.now += self.seconds[threads]
        return threads

    def steps(self, count: int) -> list[int]:
        return [self.step() for _ in range(count)]


@pytest.mark.parametrize(("seconds", "best"), [({1: 0.008, 2: 0.011}, 1), ({1: 0.016, 2: 0.008}, 2)])
def test_most_steps_get_the_faster_number(seconds: dict[int, float], best: int) -> None:
    threads = Machine(seconds).steps(5000)
    assert threads.count(best) > 0.98 * len(threads)


def test_when_other_programs_want_the_cores_steps_get_one_thread() -> None:
    machine = Machine({1: 0.016, 2: 0.008})
    assert machine.steps(5000)[-100:] == 100 * [2]
    machine.seconds[2] = 0.4
    busy_since = machine.now
    while machine.step() == 2 or machine.steps(100).count(2) > 10:
        assert machine.now < busy_since + 35
    machine.seconds[2] = 0.008
    free_since = machine.now
    while machine.step() == 1 or machine.steps(100).count(1) > 10:
        assert machine.now < free_since + 35


def test_a_step_that_also_reads_a_prompt_decides_nothing() -> None:
    machine = Machine({1: 0.016, 2: 0.008})
    threads = []
    for number in range(2000):
        threads.append(machine.step())
        machine.now += 0.1 * (number % 3 == 0)  # between the steps
        machine.seconds = {1: 0.016, 2: 0.1 if number % 3 == 0 else 0.008}
    assert threads[-100:].count(2) > 90


def test_steps_beside_the_encoder_get_what_is_left_and_are_not_compared() -> None:
    machine = Machine({1: 0.016, 2: 0.008})
    with machine.cores.claim():
        assert set(machine.steps(100)) == {1}
        assert machine.step(rows=ROWS_TO_SHARE) == 1
    assert machine.steps(4) == 4 * [1]
    assert machine.steps(4) == 4 * [2]


def test_steps_of_many_rows_get_all_threads() -> None:
    machine = Machine({1: 0.016, 2: 0.1})
    assert [machine.step(rows) for rows in (ROWS_TO_SHARE, 16)] == [2, 2]


def test_each_number_of_rows_is_tried_by_itself() -> None:
    machine = Machine({1: 0.016, 2: 0.008})
    machine.steps(100)
    assert (machine.step(1), machine.step(2)) == (2, 1)
