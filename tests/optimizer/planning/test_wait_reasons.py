"""What a task that does not start is told."""

from __future__ import annotations

import pytest

from optimizer.common.text import in_gigabytes
from optimizer.planning.inputs import ModelView
from optimizer.planning.plan import PlanLimits
from optimizer.planning.planner import plan
from optimizer.queue.ready_queue import WaitingIndex
from optimizer.tasks.wait_reasons import WaitCode, preparing, retry_delay
from tests.optimizer.planning.helpers import (
    EVERY_MODEL,
    HIGH,
    TIMES,
    RoundEstimates,
    decide,
    device,
    reasons,
    started,
    task,
)


def test_a_model_that_is_being_fetched_is_told_with_its_progress() -> None:
    models = {**EVERY_MODEL, "base": ModelView(is_available=False, fetch_fraction=0.347)}
    decision = decide([task(1), task(2, "large")], [device()], models=models)
    assert started(decision) == [("t2", "cuda:0")]
    assert reasons(decision)["t1"].text == "waits: model base is being fetched (34 %)"


def test_a_model_that_could_not_be_fetched_says_why() -> None:
    failed = ModelView(is_available=False, failed_message="Put base.pt into MODELS_DIR.")
    decision = decide([task(1), task(2, "tiny")], [device()], models={"base": failed})
    assert reasons(decision)["t1"].text == "waits: model base is not here. Put base.pt into MODELS_DIR."
    assert reasons(decision)["t2"].text == "waits: model tiny is not here yet"


# --- reasons -----------------------------------------------------------------------------------------------------


def test_tasks_ahead_are_those_that_run_and_those_that_rank_before() -> None:
    tasks = [task(1), task(2), task(3, priority=HIGH), task(4, "tiny"), task(5, "large")]
    told = reasons(decide(tasks, [device(running=1)]))
    assert [told[f"t{seq}"].data["count"] for seq in (3, 4, 1, 2, 5)] == [1, 2, 3, 4, 5]


def test_the_last_of_many_tasks_is_told_how_many_are_ahead() -> None:
    last = decide([task(seq) for seq in range(1000)], [device()]).reason_for("t999")
    assert last is not None
    assert last.data["count"] == 999


def test_a_chosen_or_unknown_task_has_no_reason() -> None:
    decision = decide([task(1)], [device()])
    assert decision.reason_for("t1") is None
    assert decision.reason_for("t2") is None


@pytest.mark.parametrize(("nbytes", "text"), [(1, "0.1 GB"), (1_340_000_000, "1.3 GB"), (12_000_000_000, "12.0 GB")])
def test_a_shortage_never_reads_as_none(nbytes: int, text: str) -> None:
    assert in_gigabytes(nbytes) == text


def test_reasons_of_tasks_that_the_planner_does_not_see() -> None:
    assert str(retry_delay(11.2)) == "waits: next try in 12 s"
    assert str(retry_delay(-3.0)) == "waits: next try in 1 s"
    assert preparing().code is WaitCode.PREPARING


def test_a_task_that_came_after_the_decision_has_no_reason_yet() -> None:
    index = WaitingIndex()
    index.add(task(1))
    decision = plan(index.view(), [device(running=1)], RoundEstimates(), TIMES, EVERY_MODEL, PlanLimits(), now=1.0)
    index.add(task(2))
    index.add(task(3, "tiny"))
    assert [decision.reason_for(f"t{seq}") is None for seq in (1, 2, 3)] == [False, True, True]


def test_weights_that_the_devices_cannot_have_are_told_with_those_devices() -> None:
    """By a code of its own: other devices of this server may have them."""
    nodes = [device("one-cuda:0", lacking=frozenset({"base"})), device("two-cpu", lacking=frozenset({"base"}))]
    reason = reasons(decide([task(1)], nodes))["t1"]
    assert reason.text == "waits: the weights of model base are not available on one-cuda:0, two-cpu"
    assert (reason.code, reason.data) == (WaitCode.MODEL_LACKING, {"model": "base", "devices": "one-cuda:0, two-cpu"})
