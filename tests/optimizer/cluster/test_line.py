"""The bridge's line to a host whose answers get lost: everything arrives once, and in order."""

from __future__ import annotations

import hashlib
import queue
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest

from optimizer.cluster import line as lines
from optimizer.cluster import messages
from optimizer.cluster.cluster_errors import HostFailedError, HostLostError, HostUnavailableError
from optimizer.cluster.line import DeviceLine, LineConfig
from optimizer.common.clock import SystemClock
from optimizer.devices.discovery import DeviceSpec
from whisper_core.text.options import TranscribeOptions
from whisper_core.worker import messages as protocol

WAIT_S = 20.0
SPEC = DeviceSpec("one-cpu", "cpu", "a processor", 10**9)
START = messages.StartWorker("one-cpu", 7, "tests.fake_engine:FakeEngine", 1, "INFO")

Message = TypeVar("Message")


class PlayedHost:
    """Remembers what was sent. `lost`: how many of the next answers do not arrive although the host did its part."""

    def __init__(self) -> None:
        self.lost = 0
        self.commands: list[protocol.Command] = []
        self.sound: dict[str, bytearray] = {}
        self.has_it_shared = False
        self.problem: tuple[str, str] | None = None
        self.is_full = False
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
            raise HostLostError("It is gone.")
        answer = getattr(self, f"_{method}")(*arguments)
        if self.lost:
            self.lost -= 1
            raise HostUnavailableError("The answer was lost.")
        return answer

    def put(self, data: bytes) -> bytes:
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
            raise HostFailedError("No space left on device")
        sound = self.sound.setdefault(attempt_id, bytearray())
        sound[offset : offset + len(data)] = data

    def _memory(self) -> tuple[int, int, None]:
        return 10, 9, None

    def _end(self) -> None:
        return


class Rig:
    def __init__(self, shared_dir: str) -> None:
        self.host = PlayedHost()
        self.emitted: queue.SimpleQueue[messages.FromBridge] = queue.SimpleQueue()
        self.is_node_alive = True
        self.line = DeviceLine(
            START,
            SPEC,
            make_host=lambda device, worker: self.host,
            is_node_alive=lambda: self.is_node_alive,
            on_node_lost=lambda: self.emitted.put(messages.NodeGone("one")),
            emit=self.emitted.put,
            clock=SystemClock(),
            config=LineConfig(shared_dir, memory_interval_s=3600.0),
        )

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
        self.line.put(protocol.encode(command))


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Rig]:
    monkeypatch.setattr(lines, "ASKED_AGAIN_AFTER_S", 0.0)
    rig = Rig(str(tmp_path / "shared"))
    rig.line.start()
    rig.next(messages.MemoryRead)  # the host is there
    yield rig
    rig.line.kill()


def task(path: Path, attempt: str = "a1") -> protocol.RunTask:
    return protocol.RunTask("t1", attempt, "tiny.en", str(path), TranscribeOptions())


def wait_until(is_true: Callable[[], bool]) -> None:
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
        rig.host.lost += 1
        rig.host.report(report)
        rig.put(protocol.UnloadModel(report.model))
    assert rig.reports(20) == told
    wait_until(lambda: len(rig.host.commands) == 20)
    assert rig.host.commands == [protocol.UnloadModel(report.model) for report in told]
    assert rig.emitted.empty()


def test_a_recording_goes_in_pieces_and_before_its_task(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("optimizer.cluster.sound.CHUNK_BYTES", 1000)
    path = tmp_path / "sound.pcm"
    path.write_bytes(bytes(range(256)) * 10)
    rig.host.lost = 2
    rig.put(task(path))
    wait_until(lambda: rig.host.commands != [])
    assert rig.host.sound == {"a1": path.read_bytes()}
    assert rig.host.commands == [task(path)]


def test_a_shared_recording_is_not_sent_when_it_is_the_same_there(rig: Rig, tmp_path: Path) -> None:
    path = tmp_path / "shared" / "sound.pcm"
    path.parent.mkdir()
    path.write_bytes(b"sound")
    rig.host.has_it_shared = True
    rig.put(task(path, "a1"))
    wait_until(lambda: len(rig.host.commands) == 1)
    rig.host.has_it_shared = False
    rig.put(task(path, "a2"))
    wait_until(lambda: len(rig.host.commands) == 2)
    assert rig.host.sound == {"a2": b"sound"}


def test_a_task_that_is_stopped_on_its_way_is_answered_and_not_sent(rig: Rig, tmp_path: Path) -> None:
    path = tmp_path / "sound.pcm"
    path.write_bytes(b"sound")
    is_asked: queue.SimpleQueue[None] = queue.SimpleQueue()
    may_go_on: queue.SimpleQueue[None] = queue.SimpleQueue()

    def hold(method: str) -> None:
        if method == "take_sound":
            is_asked.put(None)
            may_go_on.get(timeout=WAIT_S)

    rig.host.holds = hold
    rig.put(task(path))
    is_asked.get(timeout=WAIT_S)
    rig.put(protocol.StopTask("t1", "a1"))
    may_go_on.put(None)
    assert rig.reports(1) == [protocol.TaskStopped("t1", "a1")]
    rig.put(protocol.UnloadModel("m"))
    wait_until(lambda: rig.host.commands != [])
    assert rig.host.commands == [protocol.UnloadModel("m")]


def test_what_a_task_needs_and_the_node_cannot_have_is_said_as_a_worker_would(rig: Rig, tmp_path: Path) -> None:
    rig.host.problem = ("model_unavailable", "Not here.")
    rig.put(protocol.LoadModel("tiny.en", "models"))
    assert rig.reports(1) == [protocol.ModelLoadFailed("tiny.en", "model_unavailable", "Not here.")]
    path = tmp_path / "sound.pcm"
    path.write_bytes(b"sound")
    rig.host.is_full = True
    rig.put(task(path, "full"))
    rig.put(task(tmp_path / "none.pcm", "none"))
    failed = rig.reports(2)
    assert [(each.attempt_id, each.code) for each in failed if isinstance(each, protocol.TaskFailed)] == [
        ("full", "task_failed"),
        ("none", "task_failed"),
    ]
    assert rig.host.commands == []


@pytest.mark.parametrize("is_node_alive", [True, False])
def test_a_lost_host_is_an_exit_that_says_whether_its_node_is_lost(rig: Rig, is_node_alive: bool) -> None:
    rig.is_node_alive = is_node_alive
    rig.host.is_gone = True
    rig.host.report(protocol.ModelUnloaded("m"))
    assert rig.next(messages.WorkerExited) == messages.WorkerExited("one-cpu", 7, None, not is_node_alive)
    if not is_node_alive:
        assert rig.next(messages.NodeGone) == messages.NodeGone("one")
    wait_until(lambda: rig.host.is_killed)
    assert rig.emitted.empty()
