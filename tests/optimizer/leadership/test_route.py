"""What becomes of a call when the leader changes while it is under way."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from errors import (
    CommitUncertainError,
    NoLeaderError,
    ShuttingDownError,
    TaskNotFoundError,
    TranscriptionServerError,
)
from optimizer.common.clock import SystemClock
from optimizer.leadership.calls import ONCE, REMOVALS, REPEATABLE
from optimizer.leadership.channel_client import AnswerLostError, ChannelClient, NotBegunError
from optimizer.leadership.messages import BEGUN, Failure, send
from optimizer.leadership.route import Route
from tests.optimizer.fakes import FakeClock
from tests.optimizer.leadership.leaders import (
    PlayedLeader,
    SmallSystem,
    channel,
    dies_before,
    dies_in_between,
)

LIMIT_S = 30


class Asked:
    """A call under way: it has been taken by a leader that has died, and there is no other yet."""

    def __init__(self, folder: Path, play: Any, name: str, *args: Any) -> None:
        self.route = Route(ChannelClient(folder), SystemClock(), wait_s=LIMIT_S)
        died = threading.Event()

        def then_die(connection: Any, call: Any) -> None:
            play(connection, call)
            died.set()

        leader = PlayedLeader(folder, then_die)
        self._threads = ThreadPoolExecutor(1)
        self._answer = self._threads.submit(self.route.call, name, *args)
        assert died.wait(LIMIT_S)
        leader.stop()

    def answer(self) -> Any:
        try:
            return self._answer.result(LIMIT_S)
        finally:
            self._threads.shutdown()
            self.route.stop()


def test_each_call_has_its_way() -> None:
    assert not REPEATABLE & ONCE
    assert not (REPEATABLE | ONCE) & set(REMOVALS)


@pytest.mark.parametrize("play", [dies_before, dies_in_between])
def test_what_is_harmless_is_asked_of_the_next_leader(tmp_path: Path, play: Any) -> None:
    asked = Asked(tmp_path, play, "default_model")
    with channel(tmp_path, SmallSystem()):
        assert asked.answer() == "tiny.en"


@pytest.mark.parametrize("play", [dies_before, dies_in_between])
def test_this_process_may_be_the_next_leader(tmp_path: Path, play: Any) -> None:
    asked = Asked(tmp_path, play, "default_model")
    asked.route.lead(SmallSystem())
    assert asked.answer() == "tiny.en"


def test_what_must_not_be_done_twice_is_not_and_its_asker_is_told(tmp_path: Path) -> None:
    asked = Asked(tmp_path, dies_in_between, "editor.edit", "task")
    with pytest.raises(NoLeaderError, match="not known"):
        asked.answer()


def test_what_was_not_begun_is_done_then(tmp_path: Path) -> None:
    system = SmallSystem()
    asked = Asked(tmp_path, dies_before, "delete", "task")
    asked.route.lead(system)
    asked.answer()
    assert system.deleted == ["task"]


def test_a_removal_whose_answer_was_lost_may_have_been_made(tmp_path: Path) -> None:
    for deleted in ([], ["task"]):
        system = SmallSystem()
        system.deleted = deleted
        asked = Asked(tmp_path, dies_in_between, "delete", "task")
        asked.route.lead(system)
        asked.answer()
        assert system.deleted == ["task"]


def test_a_removal_of_what_is_not_there_is_refused_otherwise(tmp_path: Path) -> None:
    system = SmallSystem()
    system.deleted = ["task"]
    asked = Asked(tmp_path, dies_before, "delete", "task")
    asked.route.lead(system)
    with pytest.raises(TaskNotFoundError):
        asked.answer()


@pytest.mark.parametrize("error", [ShuttingDownError(), CommitUncertainError()])
def test_a_leader_that_makes_way_is_as_good_as_none(tmp_path: Path, error: TranscriptionServerError) -> None:
    def refuse(connection: Any, _: Any) -> None:
        send(connection, BEGUN)
        send(connection, Failure.of(error))

    asked = Asked(tmp_path, refuse, "default_model")
    asked.route.lead(SmallSystem())
    assert asked.answer() == "tiny.en"


def test_what_may_be_stored_or_not_is_not_done_again(tmp_path: Path) -> None:
    def refuse(connection: Any, _: Any) -> None:
        send(connection, BEGUN)
        send(connection, Failure.of(CommitUncertainError()))

    asked = Asked(tmp_path, refuse, "editor.edit", "task")
    with pytest.raises(NoLeaderError, match="not known"):
        asked.answer()


def test_without_a_leader_a_call_is_refused_in_the_end(tmp_path: Path) -> None:
    route = Route(ChannelClient(tmp_path), SystemClock(), wait_s=0.1)
    with pytest.raises(NoLeaderError):
        route.call("default_model")
    with pytest.raises(NoLeaderError):
        route.enter("keys.holding", "me", "k")
    route.stop()
    with pytest.raises(ShuttingDownError):
        route.wait(None)


@pytest.mark.parametrize("kind", ["call", "enter"])
def test_the_wait_for_the_next_leader_begins_when_the_last_one_is_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    route = Route(ChannelClient(tmp_path), clock := FakeClock(), wait_s=LIMIT_S)

    def die_late(*_: Any) -> None:
        clock.advance(10 * LIMIT_S)
        route.lead(SmallSystem())
        raise AnswerLostError()

    monkeypatch.setattr(route.client, kind, die_late)
    if kind == "call":
        assert route.call("default_model") == "tiny.en"
    else:
        with route.enter("keys.holding", "me", "k") as entered:
            assert entered == "me's k"


def test_it_is_one_wait_however_many_leaders_are_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    route = Route(ChannelClient(tmp_path), clock := FakeClock(), wait_s=LIMIT_S)

    def die(*_: Any) -> None:
        clock.advance(0.6 * LIMIT_S)
        raise NotBegunError()

    monkeypatch.setattr(route.client, "call", die)
    with pytest.raises(NoLeaderError):
        route.call("default_model")
    assert clock.monotonic() - FakeClock().monotonic() == pytest.approx(3 * 0.6 * LIMIT_S)


def test_a_dictionarys_values_can_be_asked_about(tmp_path: Path) -> None:
    route = Route(ChannelClient(tmp_path), SystemClock())
    with channel(tmp_path, SmallSystem()):
        assert route.call("ownership.ids_of", {1: "b", 2: "a"}.values()) == ["a", "b"]
        route.stop()
