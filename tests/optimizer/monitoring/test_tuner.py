"""The tuner against simulated devices: it finds what gets most done, and then leaves it alone."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from optimizer.monitoring.search_directions import PAUSE_SAMPLES
from optimizer.monitoring.tuner import BASE_SAMPLES, GIVE_UP_SAMPLES, Tuner
from optimizer.monitoring.tuning import Bounds, Change, Observation, Point, Setting
from tests.slow_cases import slow

SAMPLES = 200
MOST_MOVES = 30  # of the settings in SAMPLES: there and back for fifteen trials

Curve = Callable[[int], float]

CURVES: dict[str, Curve] = {
    "saturates late": lambda tasks: 40 * tasks / (tasks + 3),
    "saturates": lambda tasks: 40 * tasks / (tasks + 1),
    "saturates early": lambda tasks: 40 * tasks / (tasks + 0.3),
    "has a peak": lambda tasks: 20 * tasks / (1 + (tasks / 4) ** 2),
    "is flat": lambda tasks: 40.0,
    "has four slots": lambda tasks: 10.0 * min(tasks, 4),
    "grows": lambda tasks: 5.0 * tasks,
}


@dataclass
class Device:
    """Throughput by tasks at a time and tasks in a round, with noise; remembers what the tuner changed."""

    curve: Curve
    noise: float
    seed: int
    batch: Curve = lambda tasks: 1.0
    mix: str = "base"
    changes: list[Change] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def seen(self, tuner: Tuner, **changes: object) -> Observation:
        concurrent, batch = tuner.point
        throughput = self.curve(concurrent) * self.batch(batch) * max(0.2, self._random.gauss(1, self.noise))
        given: dict[str, object] = {
            "throughput": throughput,
            "work": throughput * 0.145,
            "mix": {self.mix: 1.0},
            "running": float(concurrent),
            "bound_fraction": 1.0,
        }
        return Observation(**(given | changes))  # type: ignore[arg-type]

    def drive(self, tuner: Tuner, samples: int, **changes: object) -> None:
        for _ in range(samples):
            change = tuner.observe(self.seen(tuner, **changes))
            if change is not None:
                self.changes.append(change)

    @property
    def moves(self) -> list[Change]:
        return [change for change in self.changes if change.step != "kept"]


def settled(tuner: Tuner, device: Device) -> Point:
    """The point in force, or the one before it while a trial is under way."""
    last = device.changes[-1] if device.changes else None
    if last is None or last.step != "tried":
        return tuner.point
    return tuner.point.with_value(last.setting, last.before)


def fraction_of_best(curve: Curve, concurrent: int, highest: int) -> float:
    return curve(concurrent) / max(curve(tasks) for tasks in range(1, highest + 1))


@pytest.mark.parametrize("seed", [0, slow(1), slow(2)])
@pytest.mark.parametrize("noise", [0.05, 0.1])
@pytest.mark.parametrize("highest", [8, 64])
@pytest.mark.parametrize("name", CURVES)
def test_from_the_configured_maximum_it_comes_within_5_percent_of_the_best_and_settles(
    name: str, highest: int, noise: float, seed: int
) -> None:
    tuner = Tuner(Point(highest, 4), Bounds((1, highest), (1, 4)))
    device = Device(CURVES[name], noise, seed)
    device.drive(tuner, SAMPLES)
    assert fraction_of_best(device.curve, settled(tuner, device)[0], highest) >= 0.95
    assert len(device.moves) <= MOST_MOVES


@pytest.mark.parametrize("seed", [0, slow(1), slow(2)])
@pytest.mark.parametrize("name", CURVES)
def test_from_a_low_value_it_climbs(name: str, seed: int) -> None:
    tuner = Tuner(Point(2, 4), Bounds((1, 16), (1, 4)))
    device = Device(CURVES[name], 0.05, seed)
    device.drive(tuner, SAMPLES)
    assert fraction_of_best(device.curve, settled(tuner, device)[0], 16) >= 0.95
    assert len(device.moves) <= MOST_MOVES


def test_trials_become_ever_rarer() -> None:
    tuner = Tuner(Point(8, 4), Bounds((1, 8), (1, 4)))
    device = Device(CURVES["grows"], 0.05, seed=0)
    device.drive(tuner, 5 * SAMPLES)
    early = len(device.moves)
    device.drive(tuner, 5 * SAMPLES)
    assert len(device.moves) - early < early / 2


def test_fewer_tasks_at_a_time_are_preferred_when_they_get_as_much_done() -> None:
    tuner = Tuner(Point(8, 4), Bounds((1, 8), (1, 4)))
    device = Device(CURVES["has four slots"], 0.03, seed=1)
    device.drive(tuner, SAMPLES)
    assert settled(tuner, device)[0] == 4


def test_it_never_leaves_the_bounds() -> None:
    for start, bounds in ((Point(3, 2), Bounds((3, 6), (2, 3))), (Point(6, 3), Bounds((3, 6), (2, 3)))):
        for seed in range(5):
            tuner, device = Tuner(start, bounds), Device(CURVES["is flat"], 0.3, seed)
            for _ in range(SAMPLES):
                device.drive(tuner, 1)
                assert 3 <= tuner.point[0] <= 6
                assert 2 <= tuner.point[1] <= 3


def test_a_round_of_another_size_stays_only_when_it_gets_more_done() -> None:
    tuner = Tuner(Point(2, 4), Bounds((2, 2), (1, 4)))
    device = Device(CURVES["is flat"], 0.03, seed=3, batch=lambda tasks: 1.2 if tasks == 3 else 1.0)
    device.drive(tuner, SAMPLES)
    assert settled(tuner, device) == (2, 3)
    same = Device(CURVES["is flat"], 0.03, seed=3)
    unmoved = Tuner(Point(2, 4), Bounds((2, 2), (1, 4)))
    same.drive(unmoved, SAMPLES)
    assert settled(unmoved, same) == (2, 4)


@pytest.mark.parametrize(
    "changes",
    [{"bound_fraction": 0.0}, {"is_disturbed": True}, {"work": 0.0}, {"running": 40.0}],
    ids=["too little waits or memory binds", "a model is loaded", "nothing is done", "more still run than allowed"],
)
def test_nothing_is_tried_while_its_effect_could_not_be_measured(changes: dict[str, object]) -> None:
    tuner = Tuner(Point(4, 4), Bounds((1, 8), (1, 4)))
    device = Device(CURVES["grows"], 0.05, seed=0)
    device.drive(tuner, SAMPLES, **changes)
    assert device.changes == []


def test_a_trial_that_cannot_be_measured_is_taken_back() -> None:
    tuner = Tuner(Point(8, 4), Bounds((1, 8), (1, 4)))
    device = Device(CURVES["grows"], 0.0, seed=0)
    device.drive(tuner, BASE_SAMPLES + 1)
    assert [change.step for change in device.changes] == ["tried"]
    device.drive(tuner, GIVE_UP_SAMPLES, bound_fraction=0.1)
    assert (tuner.point, device.changes[-1].step) == ((8, 4), "taken_back")
    assert "too little work was waiting" in device.changes[-1].text


def test_other_models_are_not_mistaken_for_an_effect() -> None:
    """After the change a larger model runs, and everything is slower."""
    tuner = Tuner(Point(8, 4), Bounds((1, 8), (1, 4)))
    device = Device(CURVES["is flat"], 0.0, seed=0)
    device.drive(tuner, BASE_SAMPLES + 1)
    device.mix = "large-v3"
    device.drive(tuner, 40)
    assert "other models ran" in next(change for change in device.changes if change.step == "taken_back").text


def test_a_change_is_told_with_its_reason_and_then_with_its_effect() -> None:
    tuner = Tuner(Point(2, 4), Bounds((1, 4), (4, 4)))
    device = Device(CURVES["grows"], 0.0, seed=0)
    device.drive(tuner, BASE_SAMPLES + 10)
    tried, kept = device.changes[:2]
    assert (tried.setting, tried.step, tried.before, tried.after) == (Setting.CONCURRENT, "tried", 2, 3)
    assert tried.text == "MAX_CONCURRENT_TASKS from 2 to 3: tasks wait, and more of them at a time may get more done."
    assert (kept.step, kept.throughput_before, kept.throughput_after) == ("kept", 10.0, 15.0)
    assert kept.text == (
        "MAX_CONCURRENT_TASKS=3 stays: throughput went from 10.0 to 15.0 seconds of sound per second (+50% of work)."
    )


def test_a_value_set_by_hand_holds_for_a_while_and_tuning_goes_on_from_there() -> None:
    tuner = Tuner(Point(8, 4), Bounds((1, 8), (4, 4)))
    device = Device(CURVES["grows"], 0.02, seed=0)
    device.drive(tuner, BASE_SAMPLES + 2)
    change = tuner.set_by_hand(Setting.CONCURRENT, 3)
    assert (change.step, change.after, tuner.point) == ("by_hand", 3, (3, 4))
    assert f"{PAUSE_SAMPLES} samples" in change.text
    before = len(device.changes)
    device.drive(tuner, PAUSE_SAMPLES - 1)
    assert (tuner.point, len(device.changes)) == ((3, 4), before)
    device.drive(tuner, SAMPLES)
    assert settled(tuner, device)[0] == 8


def test_a_sudden_change_of_the_device_is_followed() -> None:
    tuner = Tuner(Point(8, 4), Bounds((1, 8), (4, 4)))
    device = Device(CURVES["has four slots"], 0.03, seed=2)
    device.drive(tuner, SAMPLES)
    assert settled(tuner, device)[0] == 4
    device.curve = CURVES["grows"]
    device.drive(tuner, 2 * SAMPLES)
    assert settled(tuner, device)[0] == 8
