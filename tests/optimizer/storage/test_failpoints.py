"""A crash between any two steps is repaired by the next start, and nothing that was answered is lost."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from contextlib import suppress
from functools import partial
from itertools import chain
from pathlib import Path

import pytest

from errors import UploadNotFoundError
from optimizer.common import failpoints
from optimizer.common.failpoints import FAILPOINTS, failpoint
from optimizer.queue.changes import ClaimRequest, Complete, RequestedChange, SaveWindow
from optimizer.storage.part_store import PartStore
from optimizer.storage.task_files import TaskFiles
from optimizer.tasks.task import TaskMemory, TaskStatus
from tests.databases import Databases
from tests.optimizer.fakes import FakeClock
from tests.optimizer.faults import NthHit, kill_process
from tests.optimizer.queue.helpers import Queue, new_task, running_queue, window
from tests.paths import ROOT
from whisper_core.text.transcript import Transcript

TRANSCRIPT = Transcript("Hello.", "en", window(0).segments)
CUT_EVERY = 5  # on PostgreSQL, where each step takes four times as long
KILLED_EVERY = 23  # a process for each step would take minutes; the test with exceptions covers every step


class PowerCutError(Exception):
    """Stands for the end of the process: no code of this project may catch it."""


def serve_one_task(data_dir: Path, answered: list[str]) -> None:
    """Completes a task after one window, deletes another and cancels a third. answered: what the clients were told."""
    files = TaskFiles(data_dir)
    files.acquire_lock()
    try:
        with running_queue(data_dir, FakeClock()) as queue:
            for task_id in ("a", "b", "d", "e", "f"):
                with files.begin_upload(task_id) as upload:
                    upload.write(b"sound")
                    upload.commit()
                queue.submit(task_id, sha256=upload.sha256, idempotency_key=f"key of {task_id}")
                answered.append(f"{task_id} accepted")
            serve_a_resumable_upload(PartStore(files, queue.clock), queue, answered)
            task = queue.claim("a")
            token = task.lease_token or ""
            queue.manager.save_window("a", token, window(0))
            sha256 = files.write_transcript("a", TRANSCRIPT)
            queue.manager.complete("a", token, language="en", text="Hello.", result_sha256=sha256, memory=TaskMemory())
            answered.append("a completed")
            queue.manager.delete("b")
            files.delete("b")
            answered.append("b deleted")
            serve_two_together(files, queue)
            answered.append("e and f completed")
            queue.claim("d")
            queue.manager.cancel("d")
            answered.append("d cancelled")
    finally:
        files.release_lock()


def serve_two_together(files: TaskFiles, queue: Queue) -> None:
    """Claimed by one decision; their reports come at the same time."""
    claimed = queue.manager.claim_all([ClaimRequest(task_id, "cpu", 1_000) for task_id in ("e", "f")])
    tokens = {task.id: task.lease_token or "" for task in claimed if task is not None}
    sha256s = files.write_transcripts(dict.fromkeys(tokens, TRANSCRIPT))
    queue.manager.record(
        [
            RequestedChange.of_attempt(task_id, token, change)
            for task_id, token in tokens.items()
            for change in (SaveWindow(window(0)), Complete("en", "Hello.", sha256s[task_id], TaskMemory()))
        ]
    )


def serve_a_resumable_upload(parts: PartStore, queue: Queue, answered: list[str]) -> None:
    parts.create("c", 5, "", {"filename": "c.wav"})
    answered.append("c created")
    for offset, piece in ((0, b"sou"), (3, b"nd")):
        with parts.appending("c", offset) as writer:
            writer.write(piece)
        answered.append(f"c has {offset + len(piece)} bytes")
    with parts.completing("c") as whole:
        whole.commit()
        queue.submit("c", sha256=whole.sha256, idempotency_key="key of c")
        whole.became("c")
    answered.append("c accepted")


def check_after_restart(data_dir: Path, answered: list[str]) -> None:
    files = TaskFiles(data_dir)
    files.acquire_lock()
    try:
        with running_queue(data_dir, FakeClock()) as queue:
            known = queue.store.ids()
            parts = PartStore(files, queue.clock)
            parts.recover(known)
            check_resumable_upload(parts, files, answered, is_task="c" in known)
            report = files.sweep(known, queue.clock.now())
            assert report.rows_without_media == ()
            assert not list(data_dir.rglob("*.tmp"))
            if "a accepted" in answered:
                check_task(files, queue.manager.get("a"), is_completed="a completed" in answered)
                again, is_replay = queue.manager.submit(
                    new_task("d", sha256=queue.manager.get("a").sha256, idempotency_key="key of a")
                )
                assert (again.id, is_replay) == ("a", True)
            together = [queue.manager.get(task_id) for task_id in ("e", "f") if f"{task_id} accepted" in answered]
            for task in together:
                check_task(files, task, is_completed="e and f completed" in answered)
            assert len(together) < 2 or len({task.status for task in together}) == 1
            if "b deleted" in answered:
                assert "b" not in known
                assert not files.media_path("b").exists()
            elif "b accepted" in answered and "b" in known:
                assert queue.manager.get("b").status is TaskStatus.PENDING
            if "d accepted" in answered:
                state = queue.manager.get("d").status
                assert state is TaskStatus.CANCELLED or ("d cancelled" not in answered and state is TaskStatus.PENDING)
            with queue.store.reading() as rows:
                assert rows.counts()[TaskStatus.PROCESSING] == 0
                assert rows.counts() == queue.manager.counts()
    finally:
        files.release_lock()


def check_resumable_upload(parts: PartStore, files: TaskFiles, answered: list[str], *, is_task: bool) -> None:
    """Every byte that was answered for is there, in a task or in an upload that goes on."""
    if is_task:
        assert files.find_media("c").read_bytes() == b"sound"
        with pytest.raises(UploadNotFoundError):
            parts.status("c")
        return
    assert "c accepted" not in answered
    if "c created" in answered:
        promised = max((int(word.split()[2]) for word in answered if word.startswith("c has")), default=0)
        offset = parts.status("c").offset
        assert offset >= promised
        with parts.appending("c", offset) as writer:
            writer.write(b"sound"[offset:])
        with parts.completing("c") as whole:
            assert whole.read() == b"sound"
        parts.remove("c")


def check_task(files: TaskFiles, task: object, *, is_completed: bool) -> None:
    assert files.find_media(task.id).read_bytes() == b"sound"  # type: ignore[attr-defined]
    if is_completed:
        assert task.status is TaskStatus.COMPLETED  # type: ignore[attr-defined]
    if task.status is TaskStatus.COMPLETED:  # type: ignore[attr-defined]
        assert files.read_transcript(task.id, task.result_sha256) == TRANSCRIPT  # type: ignore[attr-defined]
    else:
        assert task.status is TaskStatus.PENDING  # type: ignore[attr-defined]


def test_a_crash_at_any_step_is_repaired_by_the_next_start(tmp_path: Path, each_database: Databases) -> None:
    def cut() -> None:
        raise PowerCutError

    for step in itertools.count(1, CUT_EVERY if each_database.is_postgresql else 1):
        data_dir = tmp_path / f"data-{step}"
        answered: list[str] = []
        hit = NthHit(step, cut)
        failpoints.arm(hit.everywhere())
        with suppress(PowerCutError):
            serve_one_task(data_dir, answered)
        failpoints.disarm()
        check_after_restart(data_dir, answered)
        each_database.give_back()
        if not hit.fired:
            break
    assert step > 40
    assert answered[-1] == "d cancelled"


def test_a_killed_process_is_repaired_by_the_next_start(tmp_path: Path) -> None:
    steps = itertools.count(4, KILLED_EVERY)
    for step in steps:
        data_dir = tmp_path / f"data-{step}"
        ended = subprocess.run(
            [sys.executable, "-m", "tests.optimizer.storage.test_failpoints", str(data_dir), str(step)],
            cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        check_after_restart(data_dir, ended.stdout.splitlines())
        if ended.returncode == 0:
            break
        assert ended.returncode == -9, ended.stderr
    assert step > 40


def test_the_scenario_meets_every_failpoint_of_a_task_s_life(tmp_path: Path) -> None:
    met: set[str] = set()
    failpoints.arm({name: partial(met.add, name) for name in FAILPOINTS})
    serve_one_task(tmp_path, [])
    elsewhere = ("schema.", "scheduler.", "backup.", "restore.", "move.", "webhook.", "watch.")
    assert met == {name for name in FAILPOINTS if not name.startswith(elsewhere)}


def test_every_failpoint_in_the_code_can_be_armed() -> None:
    sources = [source for source in (ROOT / "optimizer").rglob("*.py") if source.name != "failpoints.py"]
    named = set(chain(*(re.findall(r'failpoint\("([a-z_.]+)"\)', source.read_text()) for source in sources)))
    assert "store.begin" in named
    assert named <= set(FAILPOINTS)


def test_an_unknown_name_cannot_be_armed() -> None:
    with pytest.raises(ValueError, match=r"no such failpoints: nowhere"):
        failpoints.arm({"nowhere": kill_process})


def test_nothing_happens_where_nothing_is_armed() -> None:
    hits: list[str] = []
    failpoints.arm({"upload.begin": lambda: hits.append("begin")})
    failpoint("upload.begin")
    failpoint("upload.committed")
    failpoints.disarm()
    failpoint("upload.begin")
    assert hits == ["begin"]


class _Spoken(list[str]):
    """What the client was told, printed as it is told: the process may end at any moment."""

    def append(self, word: str) -> None:
        print(word, flush=True)


if __name__ == "__main__":
    failpoints.arm(NthHit(int(sys.argv[2]), kill_process).everywhere())
    serve_one_task(Path(sys.argv[1]), _Spoken())
