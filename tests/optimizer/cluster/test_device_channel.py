"""The bridge's channel to an actor whose answers get lost: everything arrives once, and in order."""

from __future__ import annotations

import hashlib
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest

from optimizer.cluster import device_channel, messages
from optimizer.cluster.cluster_errors import ActorFailedError, ActorLostError, ActorUnavailableError, ClusterError
from optimizer.cluster.device_channel import ChannelConfig, DeviceChannel
from optimizer.devices.discovery import DeviceSpec
from whisper_core.text.options import TranscribeOptions
from whisper_core.worker import messages as protocol

WAIT_S = 20.0
SPEC = DeviceSpec("one-cpu", "cpu", "a processor", 10**9)
START = messages.StartWorker("one-cpu", 7, "tests.fake_engine:FakeEngine", 1, "INFO")

Message = TypeVar("Message")


class PlayedActor:
    """Remembers what was sent. `lost`: how many of the next answers do not arrive although the actor did its part."""

    def __init__(self) -> None:
        self.lost = 0
        self.commands: list[protocol.Command] = []
        self.sound: dict[str, bytearray] = {}
        self.has_it_shared = False
        self.problem: tuple[str, str] | None = None
        self.is_full = False
        self.is_store_full = False
        self.is_killed = False
        self.is_gone = False
        self.holds: Callable[[str], None] = lambda method: None
        self._reports: list[bytes] = []
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()

    def report(self, *reports: protocol.Report) -> None:
        self._reports += [protocol.encode(report) for report in reports]
        self._wake.put(None)

    def ask(self, method: str, *arguments: Any, timeout_s: float | None = None) -> Any:
        self.holds(method)
        if self.is_gone:
            raise ActorLostError("It is gone.")
        answer = getattr(self, f"_{method}")(*arguments)
        if self.lost:
            self.lost -= 1
            raise ActorUnavailableError("The answer was lost.")
        return answer

    def put(self, data: bytes) -> bytes:
        if self.is_store_full:
            raise ActorUnavailableError("The object store is full.")
        return data

    def kill(self) -> None:
        self.is_killed = True

    def _send(self, number: int, command: bytes) -> None:
        if number == len(self.commands):
            self.commands.append(protocol.decode(command))  # type: ignore[arg-type]

    def _next_reports(self, after: int, wait_s: float) -> tuple[int, list[bytes], None]:
        if after == len(self._reports):
            with suppress(queue.Empty):
                self._wake.get(timeout=0.05)
        return len(self._reports), self._reports[after:], None

    def _prepare_model(self, model: str) -> tuple[str, str] | None:
        return self.problem

    def _has_shared(self, path: str, size: int, digest: str) -> bool:
        return self.has_it_shared and digest == hashlib.sha256(Path(path).read_bytes()).hexdigest()

    def _take_sound(self, attempt_id: str, offset: int, data: bytes) -> None:
        if self.is_full:
            raise ActorFailedError("No space left on device")
        sound = self.sound.setdefault(attempt_id, bytearray())
        sound[offset : offset + len(data)] = data

    def _drop_sound(self, attempt_id: str) -> None:
        self.sound.pop(attempt_id, None)

    def _memory(self) -> tuple[int, int, None]:
        return 10, 9, None

    def _end(self) -> None:
        return


class Rig:
    def __init__(self, shared_dir: str) -> None:
        self.actor = PlayedActor()
        self.emitted: queue.SimpleQueue[messages.FromBridge] = queue.SimpleQueue()
        self.is_node_alive: bool | None = True
        self._shared_dir = shared_dir
        self.channel = self.new_channel()

    def new_channel(
        self, make_actor: Callable[[dict[str, Any], dict[str, Any]], PlayedActor] | None = None
    ) -> DeviceChannel:
        return DeviceChannel(
            START,
            SPEC,
            make_actor=make_actor or (lambda device, worker: self.actor),
            is_node_alive=self._tell_node_alive,
            on_node_lost=lambda: self.emitted.put(messages.NodeLost("one")),
            emit=self.emitted.put,
            config=ChannelConfig(self._shared_dir, memory_interval_s=3600.0),
        )

    def _tell_node_alive(self) -> bool:
        if self.is_node_alive is None:
            raise ClusterError("The head does not answer.")
        return self.is_node_alive

    def next(self, kind: type[Message]) -> Message:
        """The next message of that kind."""
        while True:
            message = self.emitted.get(timeout=WAIT_S)
            if isinstance(message, kind):
                return message

    def reports(self, count: int) -> list[protocol.Report]:
        found: list[Any] = []
        while len(found) < count:
            found += [protocol.decode(each) for each in self.next(messages.Reports).body.splitlines()]
        return found

    def put(self, command: protocol.Command) -> None:
        self.channel.put(protocol.encode(command))

    def hold(self, held: str) -> tuple[queue.SimpleQueue[None], queue.SimpleQueue[None]]:
        """Each call of the method puts something into the first queue, and waits for something in the second."""
        is_asked: queue.SimpleQueue[None] = queue.SimpleQueue()
        may_go_on: queue.SimpleQueue[None] = queue.SimpleQueue()

        def hold(method: str) -> None:
            if method == held:
                is_asked.put(None)
                may_go_on.get(timeout=WAIT_S)

        self.actor.holds = hold
        return is_asked, may_go_on


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Rig]:
    monkeypatch.setattr(device_channel, "ASKED_AGAIN_AFTER_S", 0.0)
    rig = Rig(str(tmp_path / "shared"))
    rig.channel.start()
    rig.next(messages.MemoryRead)  # the actor is there
    yield rig
    rig.channel.kill()


def task(path: Path, attempt: str = "a1") -> protocol.RunTask:
    return protocol.RunTask("t1", attempt, "tiny.en", str(path), TranscribeOptions())


def until(is_over: threading.Event, held: str) -> Callable[[str], None]:
    """Of an actor whose method does not answer before."""

    def hold(method: str) -> None:
        if method == held:
            is_over.wait(WAIT_S)

    return hold


def assert_becomes(is_true: Callable[[], bool]) -> None:
    pause: queue.SimpleQueue[None] = queue.SimpleQueue()
    for _ in range(int(WAIT_S / 0.01)):
        if is_true():
            return
        try:
            pause.get(timeout=0.01)
        except queue.Empty:
            continue
    raise AssertionError("waited in vain")


def test_lost_answers_double_no_report_and_no_command(rig: Rig) -> None:
    told = [protocol.ModelUnloaded(f"m{number}") for number in range(20)]
    for report in told:
        rig.actor.lost += 1
        rig.actor.report(report)
        rig.put(protocol.UnloadModel(report.model))
    assert rig.reports(20) == told
    assert_becomes(lambda: len(rig.actor.commands) == 20)
    assert rig.actor.commands == [protocol.UnloadModel(report.model) for report in told]
    assert rig.emitted.empty()


def test_an_actor_that_does_not_answer_is_told_once_and_that_it_answers_again(rig: Rig) -> None:
    is_hung = True

    def hang(method: str) -> None:
        if method == "next_reports" and is_hung:
            raise ActorUnavailableError("No answer in time.")

    rig.actor.holds = hang
    assert rig.next(messages.Reachable) == messages.Reachable("one-cpu", 7, False)
    is_hung = False
    assert rig.emitted.get(timeout=WAIT_S) == messages.Reachable("one-cpu", 7, True)


def test_a_recording_goes_in_pieces_and_before_its_task(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("optimizer.cluster.sound.CHUNK_BYTES", 1000)
    path = tmp_path / "sound.pcm"
    path.write_bytes(bytes(range(256)) * 10)
    rig.actor.lost = 2
    rig.put(task(path))
    assert_becomes(lambda: rig.actor.commands != [])
    assert rig.actor.sound == {"a1": path.read_bytes()}
    assert rig.actor.commands == [task(path)]


def test_a_shared_recording_is_not_sent_when_it_is_the_same_there(rig: Rig, tmp_path: Path) -> None:
    path = tmp_path / "shared" / "sound.pcm"
    path.parent.mkdir()
    path.write_bytes(b"sound")
    rig.actor.has_it_shared = True
    rig.put(task(path, "a1"))
    assert_becomes(lambda: len(rig.actor.commands) == 1)
    rig.actor.has_it_shared = False
    rig.put(task(path, "a2"))
    assert_becomes(lambda: len(rig.actor.commands) == 2)
    assert rig.actor.sound == {"a2": b"sound"}


def test_a_task_that_is_stopped_on_its_way_is_answered_and_not_sent(rig: Rig, tmp_path: Path) -> None:
    path = tmp_path / "sound.pcm"
    path.write_bytes(b"sound")
    is_asked, may_go_on = rig.hold("take_sound")
    rig.put(task(path))
    is_asked.get(timeout=WAIT_S)
    rig.put(protocol.StopTask("t1", "a1"))
    may_go_on.put(None)
    assert rig.reports(1) == [protocol.TaskStopped("t1", "a1")]
    assert rig.actor.sound == {}  # nothing of it stays on the node
    rig.put(protocol.UnloadModel("m"))
    assert_becomes(lambda: rig.actor.commands != [])
    assert rig.actor.commands == [protocol.UnloadModel("m")]


def test_a_stop_never_overtakes_its_task(rig: Rig, tmp_path: Path) -> None:
    """Not even one that comes in the moment in which the task is handed over: the worker would not know it yet."""
    path = tmp_path / "sound.pcm"
    path.write_bytes(b"sound")
    is_asked, may_go_on = rig.hold("send")
    rig.put(task(path))
    is_asked.get(timeout=WAIT_S)
    rig.put(protocol.StopTask("t1", "a1"))
    may_go_on.put(None)
    may_go_on.put(None)
    assert_becomes(lambda: len(rig.actor.commands) == 2)
    assert rig.actor.commands == [task(path), protocol.StopTask("t1", "a1")]


def test_a_recording_that_is_not_there_fails_its_task(rig: Rig, tmp_path: Path) -> None:
    rig.put(task(tmp_path / "none.pcm"))
    (failed,) = rig.reports(1)
    assert isinstance(failed, protocol.TaskFailed)
    assert (failed.attempt_id, failed.code) == ("a1", "task_failed")
    assert rig.actor.commands == []


def test_a_task_whose_model_the_node_could_not_get_is_refused_until_it_has_it(rig: Rig, tmp_path: Path) -> None:
    path = tmp_path / "sound.pcm"
    path.write_bytes(b"sound")
    load = protocol.LoadModel("tiny.en", "models")
    rig.actor.problem = ("model_unavailable", "Not here.")
    rig.put(load)
    rig.put(task(path))  # which was sent with it
    assert rig.reports(2) == [
        protocol.ModelLoadFailed("tiny.en", "model_unavailable", "Not here."),
        protocol.TaskFailed("t1", "a1", "model_unavailable", "Not here."),
    ]
    assert rig.actor.commands == []
    rig.actor.problem = None
    rig.put(load)
    rig.put(task(path, "a2"))
    assert_becomes(lambda: rig.actor.commands == [load, task(path, "a2")])


def test_a_model_is_loaded_with_as_many_slots_as_were_chosen_for_it(rig: Rig) -> None:
    rig.put(protocol.LoadModel("tiny.en", "models", slots=6))
    assert_becomes(lambda: rig.actor.commands != [])
    assert rig.actor.commands == [protocol.LoadModel("tiny.en", "models", slots=6)]


def test_a_node_that_fails_to_prepare_a_model_can_still_be_used(rig: Rig) -> None:
    def fail(method: str) -> None:
        if method == "prepare_model":
            raise ActorFailedError("No space left on device")

    rig.actor.holds = fail
    rig.put(protocol.LoadModel("tiny.en", "models"))
    (failed,) = rig.reports(1)
    assert isinstance(failed, protocol.ModelLoadFailed)
    assert (failed.code, "space" in failed.message) == ("model_unavailable", False)
    rig.put(protocol.UnloadModel("m"))
    assert_becomes(lambda: rig.actor.commands == [protocol.UnloadModel("m")])


@pytest.mark.parametrize("full", ["disk of the node", "object store"])
def test_a_node_that_takes_no_recording_costs_its_tasks_no_attempt(rig: Rig, tmp_path: Path, full: str) -> None:
    """Otherwise a full disk would fail one task after the other."""
    path = tmp_path / "sound.pcm"
    path.write_bytes(b"sound")
    rig.actor.is_full, rig.actor.is_store_full = full == "disk of the node", full == "object store"
    rig.put(task(path))
    assert rig.next(messages.WorkerExited) == messages.WorkerExited("one-cpu", 7, None, True)
    assert_becomes(lambda: rig.actor.is_killed)
    assert rig.actor.commands == []


def test_a_command_that_the_actor_cannot_read_is_its_end(rig: Rig) -> None:
    def fail(method: str) -> None:
        if method == "send":
            raise ActorFailedError("unexpected field")

    rig.actor.holds = fail
    rig.put(protocol.UnloadModel("m"))
    assert rig.next(messages.WorkerExited) == messages.WorkerExited("one-cpu", 7, None, False)
    assert_becomes(lambda: rig.actor.is_killed)


def test_memory_that_cannot_be_read_holds_up_no_reports() -> None:
    """A driver may hang."""
    is_over = threading.Event()
    rig = Rig("")
    rig.actor.holds = until(is_over, "memory")
    rig.channel.start()
    rig.actor.report(protocol.ModelUnloaded("m"))
    assert rig.reports(1) == [protocol.ModelUnloaded("m")]
    is_over.set()
    rig.next(messages.MemoryRead)
    rig.channel.kill()


def test_an_actor_that_comes_after_its_end_is_ended(rig: Rig) -> None:
    """The end found none to kill."""
    is_asked, may_be_there = threading.Event(), threading.Event()

    def make(device: dict[str, Any], worker: dict[str, Any]) -> PlayedActor:
        is_asked.set()
        assert may_be_there.wait(WAIT_S)
        return rig.actor

    channel = rig.new_channel(make)
    channel.start()
    assert is_asked.wait(WAIT_S)
    channel.kill()
    assert not rig.actor.is_killed
    may_be_there.set()
    assert_becomes(lambda: rig.actor.is_killed)


@pytest.mark.parametrize("is_node_alive", [True, False, None])
def test_a_lost_actor_is_an_exit_that_says_nothing_of_its_tasks(rig: Rig, is_node_alive: bool | None) -> None:
    """Whether its node is lost, too, or that is unknown because the head does not answer."""
    rig.is_node_alive = is_node_alive
    rig.actor.is_gone = True
    rig.actor.report(protocol.ModelUnloaded("m"))
    assert rig.next(messages.WorkerExited) == messages.WorkerExited("one-cpu", 7, None, True)
    if is_node_alive is False:
        assert rig.next(messages.NodeLost) == messages.NodeLost("one")
    assert_becomes(lambda: rig.actor.is_killed)
    assert rig.emitted.empty()


def test_a_lost_node_holds_up_nobody(rig: Rig) -> None:
    """Its actor may not answer for long, and others' commands come on the same thread."""
    is_over = threading.Event()
    rig.actor.holds = until(is_over, "end")
    rig.channel.lose()
    assert rig.next(messages.WorkerExited) == messages.WorkerExited("one-cpu", 7, None, True)
    assert not rig.actor.is_killed
    is_over.set()
    assert_becomes(lambda: rig.actor.is_killed)
