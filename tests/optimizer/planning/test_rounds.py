"""Decision after decision: no stream of tasks starves a task, everything is started, devices are filled."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from optimizer.planning.assignment import Assignment
from optimizer.planning.plan import PlanLimits
from optimizer.planning.planner import plan
from optimizer.queue.ready_queue import WaitingIndex, WaitingTask
from optimizer.tasks.task import Priority
from tests.optimizer.planning.helpers import ESTIMATES, EVERY_MODEL, GB, MODELS, TIMES, device, task
from tests.properties import budget


@dataclass
class Simulation:
    """One server over time: every started task runs for a fixed number of rounds. Time passes one second a round."""

    capacity: int
    slots: int
    limits: PlanLimits
    duration: int = 2
    waiting: list[WaitingTask] = field(default_factory=list)
    running: dict[str, tuple[Assignment, int]] = field(default_factory=dict)
    resident: list[str] = field(default_factory=list)
    rounds: int = 0
    now: int = 0

    def step(self) -> list[str]:
        """One decision, carried out; the ids of what it started."""
        self.now += 1
        self.running = {key: value for key, value in self.running.items() if value[1] > self.now}
        view = device(
            capacity=self.capacity,
            slots=self.slots,
            running=len(self.running),
            running_models={assignment.model for assignment, _ in self.running.values()},
            running_tasks_bytes=sum(assignment.task_bytes for assignment, _ in self.running.values()),
            resident=self.resident,
            rounds=self.rounds,
        )
        decision = plan(
            WaitingIndex.of(self.waiting).view(), [view], ESTIMATES, TIMES, EVERY_MODEL, self.limits, float(self.now)
        )
        self.rounds += bool(decision.assignments)
        for assignment in decision.assignments:
            self.resident = [model for model in self.resident if model not in assignment.evict]
            if assignment.weights_bytes:
                self.resident.append(assignment.model)
            self.running[assignment.task_id] = (assignment, self.now + self.duration)
        self.waiting = [each for each in self.waiting if each.id not in decision.assigned]
        return [assignment.task_id for assignment in decision.assignments]


@given(
    slots=st.integers(1, 4),
    min_batch=st.integers(1, 3),
    victim_model=st.sampled_from(MODELS),
    stream=st.lists(st.tuples(st.sampled_from(["tiny", "base"]), st.sampled_from(Priority)), min_size=1, max_size=5),
)
@budget(30)
def test_no_stream_of_other_tasks_starves_a_task(
    slots: int, min_batch: int, victim_model: str, stream: list[tuple[str, Priority]]
) -> None:
    """A low-priority task that needs the whole device starts when those have begun that are due before it or soon
    after, whatever else arrives: at least every second round is theirs."""
    limits = PlanLimits(min_batch=min_batch, starvation_s=20.0)
    simulation = Simulation(13 * GB, slots, limits)
    victim = task(0, victim_model, Priority.LOW, waiting_since=0.0, audio_seconds=400.0, due=30.0)
    simulation.waiting.append(victim)
    seq = due_before = 0
    while victim in simulation.waiting:
        for model, priority in stream:
            seq += 1
            simulation.waiting.append(task(seq, model, priority, waiting_since=float(simulation.now + 1)))
            due_before += simulation.waiting[-1].due <= victim.due + limits.starvation_s
        simulation.step()
        assert simulation.now <= victim.due + limits.starvation_s + 2 * simulation.duration * (due_before + 2)


def test_a_high_priority_task_passes_a_long_queue_of_starving_ones() -> None:
    simulation = Simulation(13 * GB, 1, PlanLimits(starvation_s=20.0))
    simulation.now = 10_000
    simulation.waiting = [task(seq, waiting_since=float(seq)) for seq in range(200)]
    simulation.waiting.append(task(1000, "large", Priority.HIGH, waiting_since=10_000.0))
    order = [task_id for _ in range(8) for task_id in simulation.step()]
    assert "t1000" in order[:2]


def test_everything_that_fits_is_started_in_the_end() -> None:
    simulation = Simulation(13 * GB, 3, PlanLimits(min_batch=2, starvation_s=20.0))
    simulation.waiting = [
        task(seq, MODELS[seq % 4], Priority(seq % 3), audio_seconds=10.0 * (seq % 7 + 1)) for seq in range(60)
    ]
    begun = [task_id for _ in range(200) for task_id in simulation.step()]
    assert sorted(begun) == sorted(f"t{seq}" for seq in range(60))


def test_round_after_round_a_device_is_filled_up_to_its_slots() -> None:
    """Each round has one model; several models come to run side by side."""
    simulation = Simulation(30 * GB, 6, PlanLimits(max_concurrent=None, max_batch=2), duration=100)
    simulation.waiting = [task(seq, MODELS[seq % 2]) for seq in range(12)]
    started = [len(simulation.step()) for _ in range(4)]
    assert started == [2, 2, 2, 0]
    simulation.waiting = [task(seq, MODELS[seq % 2]) for seq in range(12, 16)]
    assert simulation.step() == []


def test_several_models_run_side_by_side_when_they_fit() -> None:
    simulation = Simulation(30 * GB, 6, PlanLimits(max_batch=2), duration=100)
    simulation.waiting = [task(1, "tiny"), task(2, "tiny"), task(3, "base"), task(4, "base"), task(5, "medium")]
    for _ in range(3):
        simulation.step()
    assert {assignment.model for assignment, _ in simulation.running.values()} == {"tiny", "base", "medium"}
    assert sorted(simulation.resident) == ["base", "medium", "tiny"]
