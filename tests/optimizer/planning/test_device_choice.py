"""On which device a task starts."""

from __future__ import annotations

from optimizer.tasks.wait_reasons import WaitCode
from tests.optimizer.planning.helpers import GB, decide, device, reasons, started, task


def test_a_task_goes_where_its_model_is_loaded() -> None:
    devices = [device("cuda:0"), device("cuda:1", resident=["base"])]
    assert started(decide([task(1)], devices)) == [("t1", "cuda:1")]


def test_every_device_gets_work_in_one_decision() -> None:
    devices = [device("cuda:0"), device("cuda:1"), device("cuda:2")]
    assert sorted(started(decide([task(1), task(2)], devices))) == [("t1", "cuda:0"), ("t2", "cuda:1")]


def test_a_gpu_is_taken_before_the_cpu() -> None:
    assert started(decide([task(1)], [device("cpu", 100 * GB), device("cuda:0")])) == [("t1", "cuda:0")]


def test_a_task_runs_only_on_the_device_that_was_asked_for() -> None:
    devices = [device("cuda:0", resident=["base"]), device("cuda:1", running=1)]
    decision = decide([task(1, device="cuda:1"), task(2, device="cuda:1")], devices)
    assert decision.assignments == ()
    assert reasons(decision)["t1"].text == "waits: 1 task ahead"


def test_a_device_without_a_free_slot_gets_nothing() -> None:
    assert decide([task(1)], [device(running=1)]).assignments == ()


def test_a_device_that_is_not_ready_gets_nothing_and_is_named() -> None:
    decision = decide([task(1)], [device(is_ready=False)])
    assert decision.assignments == ()
    assert reasons(decision)["t1"].text == "waits: cuda:0 is starting"


def test_an_unknown_device_is_named() -> None:
    decision = decide([task(1, device="cuda:7"), task(2)], [device()])
    assert started(decision) == [("t2", "cuda:0")]
    assert reasons(decision)["t1"].code is WaitCode.DEVICE_UNKNOWN


def test_without_any_device_tasks_wait_for_one() -> None:
    assert reasons(decide([task(1)], []))["t1"].code is WaitCode.DEVICE_STARTING


def test_a_machine_that_could_not_get_a_model_gets_no_task_for_it() -> None:
    """It would fail each at once, and so be the idle one for the next."""
    devices = [device("one-cuda:0", lacking=frozenset({"base"})), device("two-cuda:0", running=1)]
    decision = decide([task(1), task(2, "tiny"), task(3, device="one-cuda:0")], devices)
    assert started(decision) == [("t2", "one-cuda:0")]
    assert reasons(decision)["t1"].text == "waits: 2 tasks ahead"
    assert reasons(decision)["t3"].text == "waits: the weights of model base are not available on one-cuda:0"
