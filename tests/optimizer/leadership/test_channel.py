"""The channel between a web process and the leader: values, errors and contexts, and either end's death."""

from __future__ import annotations

import errno
import os
import socket
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from errors import EditConflictError, NoLeaderError, QuotaExceededError, TooManyRequestsError, TranscriptionServerError
from optimizer.leadership import channel_client, messages
from optimizer.leadership.calls import CALLS
from optimizer.leadership.channel_client import AnswerLostError, ChannelClient, NotBegunError
from optimizer.leadership.channel_server import RequestBrokenOffError
from optimizer.leadership.messages import SOCKET, Failure, send
from tests.optimizer.leadership.leaders import (
    PlayedLeader,
    SmallSystem,
    channel,
    dies_before,
    dies_in_between,
    wait_until,
)

LIMIT_S = 30


@pytest.fixture
def system() -> SmallSystem:
    return SmallSystem()


@pytest.fixture
def client(tmp_path: Path) -> Iterator[ChannelClient]:
    client = ChannelClient(tmp_path)
    yield client
    client.close()


@pytest.fixture
def leader(tmp_path: Path, system: SmallSystem, client: ChannelClient) -> Iterator[SmallSystem]:
    with channel(tmp_path, system):
        yield system
        client.close()


def test_a_call_is_answered_with_the_value(leader: SmallSystem, client: ChannelClient) -> None:
    assert client.call("default_model") == "tiny.en"
    assert client.call("ownership.ids_of", ["b", "a"]) == ["a", "b"]


def test_an_error_arrives_with_all_that_it_says(leader: SmallSystem, client: ChannelClient) -> None:
    with pytest.raises(EditConflictError) as conflict:
        client.call("editor.edit")
    assert conflict.value.present == {"segment": 7}
    with pytest.raises(QuotaExceededError, match="'max_batch_size': 3") as quota:
        client.call("set_limits", max_batch_size=3)
    assert quota.value.field == "max_batch_size"
    sent = Failure.of(TooManyRequestsError(retry_after_s=17)).error()
    assert (type(sent), getattr(sent, "retry_after_s", 0)) == (TooManyRequestsError, 17)


@pytest.mark.parametrize("name", ["figures", "models", "start", "ownership.settings", "__class__.mro"])
def test_what_cannot_be_answered_is_the_leaders_own_fault_and_the_connection_lives(
    leader: SmallSystem, client: ChannelClient, name: str
) -> None:
    with pytest.raises(TranscriptionServerError) as error:
        client.call(name)
    assert error.value.code == "internal"
    assert client.call("default_model") == "tiny.en"


def test_many_ask_at_a_time(leader: SmallSystem, client: ChannelClient) -> None:
    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(lambda number: client.call("ownership.ids_of", [str(number)]), range(400)))
    assert answers == [[str(number)] for number in range(400)]


def test_only_this_user_reaches_the_socket(
    leader: SmallSystem, client: ChannelClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stat.S_IMODE((tmp_path / SOCKET).lstat().st_mode) == 0o600
    own = os.geteuid()
    monkeypatch.setattr("os.geteuid", lambda: own + 1)
    with pytest.raises(NotBegunError):
        client.call("default_model")


def test_a_folder_with_a_long_path_has_a_socket_as_well(tmp_path: Path) -> None:
    folder = tmp_path / ("d" * 120)
    folder.mkdir()
    client = ChannelClient(folder)
    with channel(folder, SmallSystem()):
        assert client.call("default_model") == "tiny.en"
        client.close()


def test_without_a_leader_nothing_was_begun(client: ChannelClient) -> None:
    with pytest.raises(NotBegunError):
        client.call("default_model")


@pytest.mark.parametrize(("play", "error"), [(dies_before, NotBegunError), (dies_in_between, AnswerLostError)])
def test_a_leader_that_dies_leaves_a_call_undone_or_open(
    tmp_path: Path, client: ChannelClient, play: Any, error: type[Exception]
) -> None:
    leader = PlayedLeader(tmp_path, play)
    try:
        with pytest.raises(error):
            client.call("default_model")
        with pytest.raises(error):
            client.enter("keys.holding", "me", "key")
    finally:
        leader.stop()


def test_a_leader_that_hangs_is_given_up(tmp_path: Path, client: ChannelClient) -> None:
    over = threading.Event()

    def hang(connection: Connection, _: Any) -> None:
        send(connection, messages.BEGUN)
        over.wait(LIMIT_S)

    leader = PlayedLeader(tmp_path, hang)
    try:
        with pytest.raises(AnswerLostError):
            client.call("default_model", limit_s=0.05)
    finally:
        over.set()
        leader.stop()


def test_a_connection_of_a_dead_leader_is_not_taken_for_the_next_one(tmp_path: Path, client: ChannelClient) -> None:
    for _ in range(3):
        with channel(tmp_path, SmallSystem()):
            for session in [client.enter("keys.holding", "me", str(number)) for number in range(3)]:
                with session:  # so that three connections are kept
                    pass
            assert client.call("default_model") == "tiny.en"
            assert len(client._idle) == 3


def test_a_leader_that_hangs_is_waited_for_once(client: ChannelClient, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, silent = socket.socketpair(socket.AF_UNIX)
    client._give_back(messages.connection_over(ours))
    asked: list[str] = []
    monkeypatch.setattr(client, "_new_connection", lambda: asked.append("again"))
    with silent, pytest.raises(NotBegunError):
        client.call("default_model", limit_s=0.05)
    assert asked == []


def test_a_leader_that_stops_answers_what_it_has_begun(
    tmp_path: Path, system: SmallSystem, client: ChannelClient
) -> None:
    system.go_on.clear()
    with ExitStack() as stack:
        server = stack.enter_context(channel(tmp_path, system))
        threads = stack.enter_context(ThreadPoolExecutor(2))
        asked = threads.submit(client.call, "status")
        assert system.begun.wait(LIMIT_S)
        stopping = threads.submit(server.stop)
        wait_until(lambda: not (tmp_path / SOCKET).exists())
        system.go_on.set()
        assert asked.result(LIMIT_S) == {"version": "1"}
        stopping.result(LIMIT_S)
        with pytest.raises(NotBegunError):
            client.call("default_model")


@pytest.mark.parametrize("errors", [[OSError(errno.EMFILE, "Too many open files")], [ConnectionAbortedError()]])
def test_what_cannot_be_accepted_at_the_moment_is_accepted_later(
    tmp_path: Path, client: ChannelClient, monkeypatch: pytest.MonkeyPatch, errors: list[OSError]
) -> None:
    accept = socket.socket.accept

    def accept_later(listener: socket.socket) -> Any:
        if errors:
            raise errors.pop()
        return accept(listener)

    monkeypatch.setattr(socket.socket, "accept", accept_later)
    with channel(tmp_path, SmallSystem()):
        assert client.call("default_model", limit_s=LIMIT_S) == "tiny.en"
        assert errors == []
        client.close()


def test_a_connection_without_a_thread_is_closed_and_the_next_one_served(
    tmp_path: Path, client: ChannelClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, refused = threading.Thread.start, list[str]()

    def start_later(thread: threading.Thread) -> None:
        if thread.name == "channel" and not refused:
            refused.append(thread.name)
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_later)
    with channel(tmp_path, SmallSystem()) as server:
        with pytest.raises(NotBegunError):
            client.call("default_model", limit_s=LIMIT_S)
        assert client.call("default_model", limit_s=LIMIT_S) == "tiny.en"
        assert len(server._connections) == 1
        client.close()


def test_nobody_waits_for_ever_to_be_accepted(
    tmp_path: Path, client: ChannelClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel_client, "CONNECT_LIMIT_S", 0.05)
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(tmp_path / SOCKET))
        deaf.listen(0)
        with socket.socket(socket.AF_UNIX) as first:
            first.connect(str(tmp_path / SOCKET))
            with pytest.raises(NotBegunError):
                client.call("default_model", limit_s=0.05)


def test_a_web_process_of_another_version_is_told_so_at_once_and_it_is_logged_once(
    tmp_path: Path, client: ChannelClient, caplog: pytest.LogCaptureFixture
) -> None:
    def answer(connection: Connection, _: Any) -> None:
        connection.send_bytes(b"0.0.0-other 0 what no other version reads")

    leader = PlayedLeader(tmp_path, answer)
    try:
        for _ in range(3):
            with pytest.raises(NoLeaderError, match="Another version"):
                client.call("default_model")
        with pytest.raises(NoLeaderError, match="Another version"):
            client.enter("keys.holding", "me", "k")
    finally:
        leader.stop()
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_a_leader_refuses_a_web_process_of_another_version_and_logs_it_once(
    leader: SmallSystem, client: ChannelClient, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        with client._new_connection() as connection:
            connection.send_bytes(b"0.0.0-other 0 what no other version reads")
            assert messages.receive(connection) == messages.BEGUN
            with pytest.raises(EOFError):
                messages.receive(connection)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert client.call("default_model") == "tiny.en"


# --- contexts -------------------------------------------------------------------------------------------------------


def test_a_context_is_held_until_it_is_left(leader: SmallSystem, client: ChannelClient) -> None:
    with client.enter("keys.holding", "me", "k") as entered:
        assert entered == "me's k"
        assert leader.held == ["k"]
        assert client.call("default_model") == "tiny.en"
    assert leader.left == [("k", None)]


def test_what_is_entered_may_take_longer_than_a_call(
    leader: SmallSystem, client: ChannelClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel_client, "ANSWER_LIMIT_S", 0.0)
    session = client.enter("keys.holding", "me", "k")
    assert session.value == "me's k"
    session._connection.close()


def test_an_error_of_ours_leaves_a_context_as_itself(leader: SmallSystem, client: ChannelClient) -> None:
    with pytest.raises(QuotaExceededError, match="mine"), client.enter("keys.holding", "me", "k"):
        raise QuotaExceededError("mine")
    ((_, error),) = leader.left
    assert isinstance(error, QuotaExceededError)
    assert client.call("default_model") == "tiny.en"


def test_another_error_leaves_it_as_broken_off(leader: SmallSystem, client: ChannelClient) -> None:
    with pytest.raises(KeyError), client.enter("keys.holding", "me", "k"):
        raise KeyError("mine")
    ((_, error),) = leader.left
    assert isinstance(error, RequestBrokenOffError)


def test_a_web_process_that_dies_leaves_its_contexts(leader: SmallSystem, client: ChannelClient) -> None:
    session = client.enter("keys.holding", "me", "k")
    session._connection.close()
    wait_until(lambda: leader.left)
    assert leader.held == []


def test_a_leader_that_stops_does_not_wait_for_a_request_that_goes_on(
    tmp_path: Path, system: SmallSystem, client: ChannelClient
) -> None:
    with channel(tmp_path, system) as server:
        session = client.enter("keys.holding", "me", "k")
        server.stop()
        assert system.held == []
        with session:
            pass
        assert session.is_lost


def test_no_context_but_those_that_are_meant(leader: SmallSystem, client: ChannelClient) -> None:
    assert "holding" not in CALLS
    with pytest.raises(TranscriptionServerError) as error:
        client.enter("holding", "me", "k")
    assert error.value.code == "internal"
