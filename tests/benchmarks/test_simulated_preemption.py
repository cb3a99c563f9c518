"""Short recordings behind long ones, on simulated machines from half to 200 times as fast as real time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.scheduling.scenarios import roomy
from benchmarks.scheduling.simulation import Simulation
from benchmarks.scheduling.traces import Arrival
from benchmarks.scheduling.virtual_device import Gain
from benchmarks.scheduling.world import Scheme, Service
from optimizer.queue.ordering import MAX_PATIENCE_S, TARGET_SLOWDOWN
from optimizer.tasks.task import Task, TaskStatus
from tests.properties import budget
from tests.slow_cases import slow
from whisper_core.common.units import WINDOW_SECONDS

MODEL = "tiny.en"
LONG, CLIP = 540.0, 10.0  # seconds of sound
WINDOWS = LONG / WINDOW_SECONDS
GAIN = Gain([(1, 1.0), (4, 1.7)])
SPEEDS = st.floats(0.5, 200)
SLOTS = st.sampled_from([1, 4])


class Machine(Simulation):
    """Remembers what became of every task: tasks are called t1, t2 … in the order of their arrival."""

    def __init__(self, speed: float, slots: int = 1) -> None:
        service = Service(speeds={MODEL: speed}, gain=GAIN, load_seconds={MODEL: 0.0})
        super().__init__(Scheme("machine", slots, GAIN), service, roomy())
        self.window = WINDOW_SECONDS / speed  # seconds, for a task alone
        self.slowdown = slots / GAIN.at(slots)  # of each task, when every slot is taken
        self.changes: list[tuple[float, str, TaskStatus]] = []

    def _change(self, before: TaskStatus | None, task: Task) -> None:
        super()._change(before, task)
        self.changes.append((self._now, task.id, task.status))

    def times(self, task_id: str, status: TaskStatus) -> list[float]:
        """When the task entered that state."""
        return [at for at, each, entered in self.changes if (each, entered) == (task_id, status)]


def wait_for_a_place(machine: Machine, slots: int, arrives_at: float) -> float:
    """Of a clip that comes while every slot has a long recording."""
    longs = [Arrival(0.0, MODEL, LONG, "a")] * slots
    machine.run([*longs, Arrival(arrives_at, MODEL, CLIP, "a")])
    return machine.times(f"t{slots + 1}", TaskStatus.PROCESSING)[0] - arrives_at


@given(SPEEDS, SLOTS, st.floats(0.01, 10))
@budget(60)
def test_a_clip_behind_a_recording_of_nine_minutes_starts_within_two_windows(
    speed: float, slots: int, windows_before: float
) -> None:
    machine = Machine(speed, slots)
    window = machine.window * machine.slowdown
    assert wait_for_a_place(machine, slots, windows_before * window) <= 2 * window * (1 + 1e-6)
    assert machine.outcome.stepped_aside == 1


@given(SPEEDS, SLOTS, st.floats(0, WINDOWS))
@budget(60)
def test_near_the_end_a_clip_waits_for_at_most_three_and_two_thirds_windows_or_a_window_and_a_second(
    speed: float, slots: int, windows_before: float
) -> None:
    machine = Machine(speed, slots)
    wait = wait_for_a_place(machine, slots, windows_before * machine.window * machine.slowdown)
    most = max((3 + 2 * CLIP / WINDOW_SECONDS) * machine.window, machine.window + 1.0)
    assert wait <= most * machine.slowdown * (1 + 1e-6)


@pytest.mark.parametrize(
    ("owner", "speed", "load"),
    [
        ("a", 0.5, 0.5),
        ("a", 0.5, 1.5),
        slow("a", 20.0, 0.5),
        slow("a", 20.0, 1.5),
        slow("b", 0.5, 0.5),
        slow("b", 0.5, 1.5),
        ("b", 20.0, 0.5),
        slow("b", 20.0, 1.5),
    ],
)
def test_a_recording_makes_way_for_many_clips_a_bounded_number_of_times_and_is_done(
    speed: float, load: float, owner: str
) -> None:
    """What passes it is due before it, so it came before its due time; making way takes it a window each time."""
    machine = Machine(speed)
    clip = CLIP / speed
    due = min(TARGET_SLOWDOWN * LONG / speed, MAX_PATIENCE_S)
    clips = (Arrival(number * clip / load, MODEL, CLIP, owner) for number in range(1, int(1.1 * due * load / clip)))
    machine.run([Arrival(0.0, MODEL, LONG, "a"), *clips])
    made_way = machine.outcome.stepped_aside
    assert made_way == len(machine.times("t1", TaskStatus.PENDING)) - 1
    assert 1 <= made_way <= WINDOWS - 4
    (ended,) = machine.times("t1", TaskStatus.COMPLETED)
    assert ended <= max(1.0, load) * due + (WINDOWS + made_way) * machine.window + clip
    if load < 1:
        assert ended <= (WINDOWS + made_way + 1) * machine.window / (1 - load)
