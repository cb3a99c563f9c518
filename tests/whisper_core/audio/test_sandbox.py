"""What a sandboxed program finds, may use, and leaves behind. Scripts in ffmpeg's place try to get out.

What the system does not grant is skipped with its name, after it was checked that the server's log says so too.
"""

from __future__ import annotations

import os
import socket
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.whisper_core.audio.media_corpus import fake_ffmpeg
from whisper_core.audio.sandbox import (
    STDERR_BYTES,
    STDERR_HEAD_BYTES,
    SandboxLimits,
    SandboxTimeoutError,
    measures,
    sandboxed,
)

LIMITS = SandboxLimits(memory_bytes=2 << 30, timeout_s=30)
SHELL = "/bin/sh"
BASH = Path("/bin/bash")
WAIT_S = 10.0

NewChildren = Callable[[], list[psutil.Process]]


@pytest.fixture
def output_of(tmp_path: Path) -> Callable[[str], str]:
    """What a script prints in the sandbox, whatever its exit status."""

    def run(script: str) -> str:
        with sandboxed([str(fake_ffmpeg(tmp_path, script))], LIMITS) as child:
            printed = b"".join(child.stdout())
            child.wait()
        return printed.decode()

    return run


def require(measure: str, value: str = "on") -> None:
    """Skips when the system refuses it, which is then what the server says at its start."""
    if measures(SHELL)[measure] != value:
        pytest.skip(f"this system does not grant it: {measure}={measures(SHELL)[measure]}")


@pytest.mark.proves("S20")
def test_the_childs_surroundings_are_bare(output_of: Callable[[str], str]) -> None:
    """No environment, no files of ours, an empty folder, and the limits."""
    with open(os.devnull) as inherited:
        os.set_inheritable(inherited.fileno(), True)
        open_ones = "for fd in 3 4 5 6 7 8 9; do (: <&$fd) 2>/dev/null && echo $fd; done"
        limits = "; ".join(f"ulimit -{letter}" for letter in "tfcnv")
        printed = output_of(f"env; echo --; ls -A; echo --; {open_ones}; echo --; {limits}; nice")
    environment, folder, descriptors, known = printed.split("--\n")

    # The shell itself sets these.
    assert {line.partition("=")[0] for line in environment.splitlines()} <= {"PWD", "OLDPWD", "SHLVL", "_"}
    assert folder == ""
    assert len(descriptors.split()) <= 1  # a script's interpreter may have it open; a program has none
    assert known.split() == ["60", "0", "0", "64", str((2 << 30) // 1024), str(min(19, LIMITS.niceness + os.nice(0)))]


def test_memory_beyond_the_limit_ends_the_child_only(tmp_path: Path) -> None:
    greedy = fake_ffmpeg(tmp_path, "x=a; while :; do x=$x$x; done")
    with sandboxed([str(greedy)], SandboxLimits(memory_bytes=100 << 20, timeout_s=30)) as child:
        assert b"".join(child.stdout()) == b""
        assert child.wait() != 0


def test_only_the_first_and_last_error_messages_are_kept(tmp_path: Path) -> None:
    chatty = fake_ffmpeg(tmp_path, "echo the start >&2; head -c 3000000 /dev/zero >&2; echo the end >&2")
    with sandboxed([str(chatty)], LIMITS) as child:
        assert list(child.stdout()) == []
        assert child.wait() == 0
    assert len(child.errors) == STDERR_BYTES
    assert len(child.messages) == STDERR_HEAD_BYTES + STDERR_BYTES
    assert "the start\n" in child.messages[:200]
    assert child.messages.endswith("the end\n")


@pytest.mark.parametrize(("script", "status"), [("exit 7", 7), ("kill -SEGV $$", -11), ("exit 0", 0)])
def test_the_exit_status_is_the_programs_own(tmp_path: Path, script: str, status: int) -> None:
    with sandboxed([str(fake_ffmpeg(tmp_path, script))], LIMITS) as child:
        assert list(child.stdout()) == []
        assert child.wait() == status


@pytest.mark.parametrize("way", ["sleep 1000 &", "setsid sleep 1000 &", "(setsid sleep 1000 &) &"])
@pytest.mark.parametrize("end", ["exit 0", "sleep 1000"], ids=["ended", "timed out"])
def test_nothing_that_it_started_outlives_it(tmp_path: Path, new_children: NewChildren, way: str, end: str) -> None:
    """Whether it ended by itself or was given up, and though its child left its group and session."""
    known = set(psutil.pids())
    forking = fake_ffmpeg(tmp_path, f"{way}\necho started\n{end}")
    with sandboxed([str(forking)], LIMITS) as child:
        lines = child.stdout()
        assert next(lines) == b"started\n"
        if end.startswith("sleep"):
            child.deadline = time.monotonic()
            with pytest.raises(SandboxTimeoutError):
                next(lines)
        else:
            assert list(lines) == []
            assert child.wait() == 0
    assert new_children() == []
    left = [process for process in psutil.process_iter(["cmdline"]) if process.info["cmdline"] == ["sleep", "1000"]]
    assert [process for process in left if process.pid not in known] == []


def test_everything_ends_when_the_server_is_killed(tmp_path: Path) -> None:
    """The supervisor follows the process that started it, however that ends."""
    import signal
    import subprocess
    import sys

    from tests.paths import ROOT

    program = fake_ffmpeg(tmp_path, "setsid sleep 1000 &\necho started\nsleep 1000")
    code = (
        "from whisper_core.audio.sandbox import SandboxLimits, sandboxed\n"
        f"with sandboxed([{str(program)!r}], SandboxLimits(2 << 30, 60.0)) as child:\n"
        "    for data in child.stdout(): print(data, flush=True)\n"
    )
    server = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE)
    with server:
        assert server.stdout is not None
        assert b"started" in server.stdout.readline()
        family = psutil.Process(server.pid).children(recursive=True)
        assert family != []
        server.send_signal(signal.SIGKILL)
    _, alive = psutil.wait_procs(family, timeout=WAIT_S)
    assert alive == []


# --- ways out


def test_it_reads_no_file_of_the_servers(tmp_path: Path, output_of: Callable[[str], str]) -> None:
    require("landlock")
    database = tmp_path / "tasks.db"
    database.write_text("SECRET")
    database.chmod(0o644)  # so that it is not the owner of the file that keeps it out
    printed = output_of(f"cat {database} /etc/shadow /etc/passwd /proc/1/environ; ls {tmp_path}; echo end")
    assert printed == "end\n"


def test_as_root_it_is_nobody_and_reads_no_private_file(tmp_path: Path, output_of: Callable[[str], str]) -> None:
    if os.geteuid() != 0:
        assert measures(SHELL)["uid"] in (str(os.geteuid()), "65534")
        pytest.skip("this test does not run as root")
    require("uid", "65534")
    private = tmp_path / "tasks.db"
    private.write_text("SECRET")
    private.chmod(0o600)
    assert output_of(f"id -u; id -g; id -G; cat {private}").split() == ["65534"] * 3


def test_it_has_no_right_that_root_has(output_of: Callable[[str], str]) -> None:
    require("capabilities", "none")
    require("no_new_privs")
    assert (
        output_of("chroot / true && echo out; nice -n -5 true 2>/dev/null; hostname x && echo out; echo end") == "end\n"
    )


def test_it_opens_no_connection(tmp_path: Path) -> None:
    require("network", "off")
    if not BASH.exists():
        pytest.skip("there is no bash, which can connect by itself")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        program = tmp_path / "caller"
        program.write_text(
            f"#!{BASH}\n(exec 3<>/dev/tcp/127.0.0.1/{server.getsockname()[1]} && echo connected)\necho end\n"
        )
        program.chmod(0o755)
        with sandboxed([str(program)], LIMITS) as child:
            assert b"".join(child.stdout()) == b"end\n"
            child.wait()
        with pytest.raises(BlockingIOError):
            server.accept()


def test_it_writes_no_file(tmp_path: Path, output_of: Callable[[str], str]) -> None:
    open_folder = tmp_path / "open"
    open_folder.mkdir(mode=0o777)
    open_folder.chmod(0o777)
    places = [open_folder / "new", Path(tempfile.gettempdir()) / f"new-{os.getpid()}", Path("here")]
    output_of("".join(f"echo data > {place}\n" for place in places))
    assert [place for place in places if place.exists() and place.stat().st_size] == []


def test_it_sees_no_process_but_its_own(output_of: Callable[[str], str]) -> None:
    require("pidns")
    assert output_of(f"kill -0 {os.getpid()} 2>/dev/null && echo seen; kill -9 -1; echo end") in ("end\n", "")


def test_its_input_is_the_file_it_was_given(tmp_path: Path) -> None:
    source = tmp_path / "recording"
    source.write_bytes(b"sound")
    source.chmod(0o600)
    with (
        open(source, "rb", buffering=0) as file,
        sandboxed([str(fake_ffmpeg(tmp_path, "cat"))], LIMITS, source=file) as child,
    ):
        assert b"".join(child.stdout()) == b"sound"


def test_no_folder_of_it_stays(
    tmp_path: Path, output_of: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    assert output_of(f"echo here; ls {folder}") == "here\n"
    assert list(folder.iterdir()) == []


def test_every_measure_is_named() -> None:
    names = {"capabilities", "landlock", "network", "no_new_privs", "pidns", "seccomp", "subreaper", "uid"}
    assert set(measures(SHELL)) == names
    assert measures(SHELL)["no_new_privs"] == "on"  # what every kernel grants to everybody
    assert measures(SHELL)["capabilities"] == "none"
