"""The Wyoming protocol, spoken by the client of the package wyoming, as Home Assistant speaks it."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import json
import resource
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.error import Error
from wyoming.event import Event
from wyoming.info import Describe, Info
from wyoming.ping import Ping, Pong

from config import Settings
from errors import InvalidSettingsError, StartError
from optimizer.tasks.events import TaskChanged
from optimizer.tasks.task import Task, TaskFilter, TaskStatus
from tests.properties import budget
from tests.web.access.conftest import API_KEYS
from tests.web.fake_system import FakeSystem
from web.adapters import waiting
from web.adapters.raw_sound import SoundFormat, wav_header
from web.adapters.waiting import WaitingRoom
from web.adapters.wyoming import event_stream, listener
from web.adapters.wyoming.listener import WyomingListener
from web.adapters.wyoming.session import Session
from web.application import create_app
from web.server import served_app

LIMIT_S = 30.0
SOUND = bytes(range(256)) * 8
VOICE = {"rate": 16000, "width": 2, "channels": 1}
START, STOP = AudioStart(**VOICE).event(), AudioStop().event()
CHUNK = AudioChunk(**VOICE, audio=SOUND).event()
KINDS = ["describe", "ping", "transcribe", "audio-start", "audio-chunk", "audio-stop"]

Ask = Callable[..., Event | None]


@pytest.fixture
def system(make_settings: Callable[..., Settings]) -> FakeSystem:
    system = FakeSystem(make_settings(max_upload_mb=1, default_model="base"))
    system.when_pending = lambda task_id: system.complete(task_id, " Turn on", " the light. ")
    return system


@pytest.fixture
def room(system: FakeSystem) -> WaitingRoom:
    return WaitingRoom(system, 4)


@pytest.fixture
def port(system: FakeSystem, room: WaitingRoom) -> Iterator[int]:
    wyoming = WyomingListener(system, room)
    wyoming.start()
    yield wyoming.port
    room.close()
    wyoming.stop()


async def asked(port: int, *events: Event) -> Event | None:
    """Sends them; the first answer, or None when there is none."""
    async with AsyncTcpClient("127.0.0.1", port, read_timeout=LIMIT_S) as client:
        for event in events:
            await client.write_event(event)
        return await client.read_event()


@pytest.fixture
def ask(port: int) -> Ask:
    return lambda *events: asyncio.run(asked(port, *events))


def only_task(system: FakeSystem) -> Task:
    ((view,), _, _) = system.tasks(TaskFilter())
    return view.task


def incoming(system: FakeSystem) -> list[Path]:
    return list((system.settings.data_dir / "incoming").iterdir())


def test_a_sentence_is_a_task_and_its_text_the_answer(system: FakeSystem, ask: Ask) -> None:
    request = Transcribe(language="de-DE", transcript_names=["Küche"], transcript_terms=["Licht", "an"]).event()
    answer = ask(request, START, CHUNK, CHUNK, STOP)
    assert answer is not None
    assert Transcript.from_event(answer) == Transcript(text="Turn on the light.", language="en")
    task = only_task(system)
    assert (task.filename, task.options.language, task.options.model) == ("wyoming.wav", "de", "base")
    assert task.options.hotwords == "Küche, Licht, an"
    assert system.media(task.id).read_bytes() == wav_header() + SOUND + SOUND


def test_who_asks_for_nothing_gets_the_servers_defaults(system: FakeSystem, ask: Ask) -> None:
    kind = SoundFormat(rate=44100, width=3, channels=2)
    answer = ask(AudioChunk(**vars(kind), audio=SOUND).event(), STOP)
    assert answer is not None
    assert Transcript.is_type(answer.type)
    assert system.media(only_task(system).id).read_bytes() == wav_header(sound_format=kind) + SOUND
    assert only_task(system).options.language is None


def test_what_can_be_asked_for_is_described(ask: Ask) -> None:
    answer = ask(Describe().event())
    assert answer is not None
    (program,) = Info.from_event(answer).asr
    assert program.installed
    assert [model.name for model in program.models] == ["base", "base-int8"]  # those that are here
    assert {"en", "de", "zh"} <= set(program.models[0].languages)


def test_a_ping_is_answered_and_unknown_events_are_not(ask: Ask) -> None:
    answer = ask(Event("run-pipeline", {"x": 1}), Ping(text="hello").event())
    assert answer is not None
    assert Pong.from_event(answer).text == "hello"


def test_silence_is_no_task(system: FakeSystem, ask: Ask) -> None:
    answer = ask(Transcribe().event(), START, STOP)
    assert answer is not None
    assert Transcript.from_event(answer).text == ""
    assert system.tasks(TaskFilter())[0] == []


@pytest.mark.parametrize(
    ("events", "code", "start"),
    [
        ([Transcribe(language="klingon").event()], "invalid_option", "language: Must be auto"),
        ([Transcribe(name="huge").event()], "unknown_model", "model: "),
        ([Transcribe(name="base.en", language="de").event()], "invalid_option", "language: The model base.en knows"),
        ([Event("transcribe", {"language": 7})], "invalid_option", "language: Must be text"),
        ([Event("transcribe", {"transcript_names": "x"})], "invalid_option", "transcript_names: Must be a list"),
        ([AudioChunk(rate=16000, width=1, channels=1, audio=b"x").event()], "invalid_option", "width: Must be"),
        ([AudioChunk(rate=9, width=2, channels=1, audio=b"x").event()], "invalid_option", "rate: Must be"),
        ([Event("audio-chunk", {}, b"x")], "invalid_option", "rate: Must be"),
        ([Transcribe(language="klingon").event(), *[CHUNK] * 400, STOP], "invalid_option", "language: Must be auto"),
        ([CHUNK, AudioChunk(rate=8000, width=2, channels=1, audio=b"xx").event()], "invalid_option", "The sound's"),
        ([AudioChunk(**VOICE, audio=bytes(1_000_001)).event()], "too_large", ""),
    ],
)
def test_what_is_wrong_is_an_error_event_and_leaves_nothing(
    system: FakeSystem, ask: Ask, events: list[Event], code: str, start: str
) -> None:
    answer = ask(*events)
    assert answer is not None
    error = Error.from_event(answer)
    assert (error.code, error.text.startswith(start)) == (code, True), error.text
    assert system.tasks(TaskFilter())[0] == []
    assert incoming(system) == []


def test_a_task_that_fails_is_an_error_event(system: FakeSystem, ask: Ask) -> None:
    system.when_pending = lambda task_id: system.fail(task_id, "engine_error", "It failed.")
    answer = ask(CHUNK, STOP)
    assert answer is not None
    assert Error.from_event(answer) == Error(text="It failed.", code="engine_error")


def test_a_client_that_hangs_up_leaves_no_task_that_runs(
    system: FakeSystem, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of a sentence it leaves nothing at all."""
    monkeypatch.setattr(waiting, "LOOK_EVERY_S", 0.01)
    is_here, is_cancelled = threading.Event(), threading.Event()
    system.when_pending = lambda _: is_here.set()

    def note(event: object) -> None:
        if isinstance(event, TaskChanged) and system.task(event.task_id).task.status is TaskStatus.CANCELLED:
            is_cancelled.set()

    system.add_listener(note)

    async def leave(*events: Event) -> None:
        async with AsyncTcpClient("127.0.0.1", port) as client:
            for event in events:
                await client.write_event(event)
            if events[-1] is STOP:
                await asyncio.to_thread(is_here.wait, LIMIT_S)

    asyncio.run(leave(START, CHUNK))
    asyncio.run(leave(START, CHUNK, STOP))
    assert is_cancelled.wait(LIMIT_S)
    assert only_task(system).status is TaskStatus.CANCELLED


def test_who_comes_when_there_is_no_room_is_told(system: FakeSystem, room: WaitingRoom, ask: Ask) -> None:
    with room.place(), room.place(), room.place(), room.place():
        answer = ask(CHUNK)
    assert answer is not None
    assert Error.from_event(answer).code == "too_many_waiting"
    assert ask(Describe().event()) is not None
    room.close()
    stopping = ask(CHUNK)
    assert stopping is not None
    assert Error.from_event(stopping).code == "shutting_down"


def test_connections_are_counted_and_end_with_silence(
    system: FakeSystem, room: WaitingRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "MAX_CLIENTS", 1)
    monkeypatch.setattr(event_stream, "IDLE_S", 0.2)
    wyoming = WyomingListener(system, room)
    wyoming.start()
    first, second = (socket.create_connection(("127.0.0.1", wyoming.port), LIMIT_S) for _ in range(2))
    assert second.recv(1) == b""
    assert first.recv(1) == b""  # after IDLE_S
    for client in (first, second):
        client.close()
    wyoming.stop()


def test_one_address_gets_half_of_the_connections(
    system: FakeSystem, room: WaitingRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "MAX_CLIENTS", 4)
    addresses = iter(["one", "one", "one", "other"])
    monkeypatch.setattr(listener, "share_key", lambda *_: next(addresses))
    wyoming = WyomingListener(system, room)
    wyoming.start()
    first, second, third, other = (socket.create_connection(("127.0.0.1", wyoming.port), LIMIT_S) for _ in range(4))
    assert third.recv(1) == b""
    for client in (first, second, other):
        client.sendall(b'{"type":"ping"}\n')
        assert client.recv(1) == b"{"
    for client in (first, second, third, other):
        client.close()
    wyoming.stop()


def test_a_want_of_descriptors_passes(
    system: FakeSystem, room: WaitingRoom, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    wyoming = WyomingListener(system, room)
    problems = iter([OSError(errno.EMFILE, "Too many open files")] * 2)
    accept = socket.socket.accept

    def accept_or_fail(self: socket.socket) -> tuple[socket.socket, Any]:
        for problem in problems:
            raise problem
        return accept(self)

    monkeypatch.setattr(listener, "PAUSE_S", 0.01)
    monkeypatch.setattr(socket.socket, "accept", accept_or_fail)
    wyoming.start()
    assert asyncio.run(asked(wyoming.port, Ping().event())) is not None
    wyoming.stop()
    assert caplog.text.count("wyoming_cannot_accept") == 1


def test_who_is_there_is_seen_behind_a_large_descriptor() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    try:
        here, there = socket.socketpair()
        with here, there, socket.socket(fileno=fcntl.fcntl(here, fcntl.F_DUPFD, 2000)) as large:
            events = event_stream.EventStream(large)
            assert not events.is_client_gone()
            there.sendall(b"x")
            assert not events.is_client_gone()
            large.recv(1)
            there.shutdown(socket.SHUT_WR)
            assert events.is_client_gone()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    "event", [Event("ping", {"text": "\ud800"}), Event("transcribe", {"transcript_terms": ["\ud800"]})]
)
def test_half_a_character_is_no_text(system: FakeSystem, port: int, event: Event) -> None:
    with socket.create_connection(("127.0.0.1", port), LIMIT_S) as client, client.makefile("rb") as answers:
        for each in (event.to_dict(), CHUNK.to_dict(), STOP.to_dict()):
            client.sendall(json.dumps(each).encode() + b"\n")
        head = json.loads(answers.readline())
        told = json.loads(answers.read(head["data_length"]))
    assert (head["type"], told["code"]) == ("error", "bad_request")
    assert incoming(system) == []


def test_the_end_of_the_server_ends_connections_and_keeps_tasks(system: FakeSystem, room: WaitingRoom) -> None:
    is_here = threading.Event()
    system.when_pending = lambda _: is_here.set()
    wyoming = WyomingListener(system, room)
    wyoming.start()
    idle = socket.create_connection(("127.0.0.1", wyoming.port), LIMIT_S)
    with ThreadPoolExecutor() as threads:
        answer = threads.submit(lambda: asyncio.run(asked(wyoming.port, CHUNK, STOP)))
        assert is_here.wait(LIMIT_S)
        room.close()
        wyoming.stop()
        told = answer.result(LIMIT_S)
    assert told is not None
    assert Error.from_event(told).code == "shutting_down"
    assert idle.recv(1) == b""
    idle.close()
    assert only_task(system).status is TaskStatus.PENDING


def test_who_does_not_take_its_answers_does_not_hold_up_the_end(
    system: FakeSystem, room: WaitingRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "STOP_S", 0.1)
    wyoming = WyomingListener(system, room)
    wyoming.start()
    with socket.socket() as client, ThreadPoolExecutor() as threads:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", wyoming.port))
        client.sendall(b'{"type":"describe"}\n' * 20_000)  # many times what the buffers between the two hold
        assert threads.submit(wyoming.stop).result(event_stream.SEND_S / 2) is None


# --- accounts --------------------------------------------------------------------------------------------------------


def test_where_there_are_accounts_somebody_has_to_own_the_tasks(make_settings: Callable[..., Settings]) -> None:
    nobodys = FakeSystem(make_settings(api_keys=API_KEYS))
    with pytest.raises(InvalidSettingsError, match="WYOMING_OWNER has to name the account"):
        WyomingListener(nobodys, WaitingRoom(nobodys, 1)).start()
    nobodys.stop()
    system = FakeSystem(make_settings(api_keys=API_KEYS, wyoming_owner="Alice", default_model="base"))
    system.when_pending = lambda task_id: system.complete(task_id, " Hello.")
    room = WaitingRoom(system, 1)
    wyoming = WyomingListener(system, room)
    wyoming.start()
    assert asyncio.run(asked(wyoming.port, CHUNK, STOP)) is not None
    assert only_task(system).owner == "alice"
    wyoming.stop()
    system.stop()


def test_accounts_that_come_later_are_heeded(system: FakeSystem, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system.accounts, "are_in_force", lambda: True)
    answer = ask(CHUNK)
    assert answer is not None
    assert Error.from_event(answer).code == "not_authenticated"


def test_a_port_in_use_stops_the_start(
    make_settings: Callable[..., Settings], system: FakeSystem, port: int, room: WaitingRoom
) -> None:
    system.settings = make_settings(wyoming_port=port)
    with pytest.raises(StartError, match="Choose another WYOMING_PORT"):
        WyomingListener(system, room).start()


def test_the_server_opens_the_port_and_closes_it(
    make_settings: Callable[..., Settings], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    system = FakeSystem(make_settings(wyoming_port=port))
    monkeypatch.setattr(served_app, "create_app", partial(create_app, root=root))
    served = served_app.ServedApp(system.settings, lambda _: system)
    served.build()
    served.start()
    assert asyncio.run(asked(port, Ping().event())) is not None
    served.stop()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), LIMIT_S)


# --- invented events -------------------------------------------------------------------------------------------------

_VALUES = st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.lists(st.text(max_size=5), max_size=3)
_HEADS = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(KINDS) | _VALUES,
        "data": st.fixed_dictionaries(
            {},
            optional={
                "rate": st.just(16000) | _VALUES,
                "width": st.just(2) | _VALUES,
                "channels": st.just(1) | _VALUES,
                **dict.fromkeys(("language", "name", "transcript_names", "transcript_terms", "text"), _VALUES),
            },
        )
        | _VALUES,
        "data_length": st.integers(-1, 40) | _VALUES,
        "payload_length": st.integers(-1, 40) | _VALUES,
    },
)
_PIECES = st.one_of(
    _HEADS.map(lambda head: json.dumps(head).encode() + b"\n"),
    st.binary(max_size=60),
    st.sampled_from([b"\n", b"{}\n", b"[" * 5000 + b"\n", b'{"type":"audio-stop"}\n']),
    st.binary(max_size=30).map(
        lambda sound: (
            b'{"type":"audio-chunk","data":{"rate":16000,"width":2,"channels":1},"payload_length":%d}\n' % len(sound)
            + sound
        )
    ),
)


@pytest.mark.hypothesis
def test_whatever_arrives_ends_in_a_text_an_error_or_nothing(
    system: FakeSystem, room: WaitingRoom, caplog: pytest.LogCaptureFixture
) -> None:
    @budget(40)
    @given(pieces=st.lists(_PIECES, max_size=6))
    def run(pieces: list[bytes]) -> None:
        client, served = socket.socketpair()
        with client, served:
            client.sendall(b"".join(pieces))
            client.shutdown(socket.SHUT_WR)
            Session(system, room, served, "127.0.0.1").run()
            served.shutdown(socket.SHUT_WR)
            received = b""
            while more := client.recv(65536):
                received += more
        for line in received.splitlines():
            answer: dict[str, Any] = json.loads(line) if line.startswith(b'{"type"') else {}
            assert answer.get("type", "info") in {"info", "pong", "transcript", "error"}

    run()
    assert incoming(system) == []
    assert {view.task.status for view in system.tasks(TaskFilter(limit=200))[0]} <= {
        TaskStatus.COMPLETED, TaskStatus.CANCELLED
    }  # fmt: skip
    assert "wyoming_failed" not in caplog.text
