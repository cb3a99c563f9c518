"""What a sandboxed program finds, may use, and leaves behind."""

from __future__ import annotations

import os
import select
import time
from pathlib import Path

import pytest

from tests.whisper_core.audio.media_corpus import fake_ffmpeg
from whisper_core.audio.sandbox import STDERR_BYTES, SandboxLimits, SandboxTimeoutError, sandboxed


def test_the_childs_surroundings_are_bare(tmp_path: Path) -> None:
    """No environment, no files of ours, an empty folder, and the limits."""
    script = "cat /proc/$$/environ; echo --; ls -A; echo --; ls /proc/$$/fd; echo --; cat /proc/$$/limits"
    limits = SandboxLimits(memory_bytes=2 << 30, timeout_s=10)
    with open(os.devnull) as inherited, sandboxed([str(fake_ffmpeg(tmp_path, script))], limits) as child:
        os.set_inheritable(inherited.fileno(), True)
        environment, folder, descriptors, known = b"".join(child.stdout()).decode().split("--\n")
        assert child.wait() == 0

    assert environment == ""
    assert folder == ""
    assert set(descriptors.split()) <= {"0", "1", "2", "10"}  # 10: the shell's own, on its script
    rows = {line[:26].strip(): line[26:].split()[0] for line in known.splitlines()}
    assert rows["Max address space"] == str(2 << 30)
    assert (rows["Max cpu time"], rows["Max file size"], rows["Max open files"]) == ("20", "0", "64")
    assert rows["Max core file size"] == "0"


def test_memory_beyond_the_limit_ends_the_child_only(tmp_path: Path) -> None:
    greedy = fake_ffmpeg(tmp_path, "x=a; while :; do x=$x$x; done")
    with sandboxed([str(greedy)], SandboxLimits(memory_bytes=100 << 20, timeout_s=30)) as child:
        assert b"".join(child.stdout()) == b""
        assert child.wait() != 0


def test_only_the_last_error_messages_are_kept(tmp_path: Path) -> None:
    chatty = fake_ffmpeg(tmp_path, "head -c 3000000 /dev/zero >&2; echo the end >&2")
    with sandboxed([str(chatty)], SandboxLimits(memory_bytes=2 << 30, timeout_s=30)) as child:
        assert list(child.stdout()) == []
        assert child.wait() == 0
    assert len(child.errors) == STDERR_BYTES
    assert child.errors.endswith(b"the end\n")


def test_a_grandchild_does_not_outlive_the_sandbox(tmp_path: Path) -> None:
    forking = fake_ffmpeg(tmp_path, "sleep 1000 & echo $!; wait")
    limits = SandboxLimits(memory_bytes=2 << 30, timeout_s=30)
    with sandboxed([str(forking)], limits) as child:
        lines = child.stdout()
        grandchild = os.pidfd_open(int(next(lines)))
        child.deadline = time.monotonic()
        with pytest.raises(SandboxTimeoutError):
            next(lines)
    ended, _, _ = select.select([grandchild], [], [], 10)  # readable once it has ended, reaped or not
    os.close(grandchild)
    assert ended == [grandchild]
