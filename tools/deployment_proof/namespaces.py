"""Namespaces and a control group of a proof's own: what it mounts and starts ends with it."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tools.deployment_proof.network import NAMESPACES

CGROUPS = Path("/sys/fs/cgroup")
# Where Podman, crun, systemd-nspawn and ip write down what runs: others on this machine are not to see it, nor the
# reverse.
STATE_FOLDERS = (
    Path("/run/systemd/nspawn"),
    Path("/run/crun"),
    Path("/run/libpod"),
    NAMESPACES,
    Path("/var/lib/containers"),
    Path("/dev/shm"),  # noqa: S108 - only mounted over
)


def run_in_own_namespaces(command: Sequence[str], limit_s: int) -> int:
    """The command's exit code, or 1 after `limit_s`. Whatever it started ends with it."""
    process = subprocess.Popen(["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", *command])
    try:
        return process.wait(limit_s)
    except subprocess.TimeoutExpired:
        print(f"Given up after {limit_s} s.", file=sys.stderr)
        return 1
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def prepare_mounts() -> None:
    """In this mount namespace only: of cgroups the second version alone, as crun and systemd want it."""
    _mount("cgroup2", CGROUPS)
    for folder in STATE_FOLDERS:
        folder.mkdir(parents=True, exist_ok=True)
        _mount("tmpfs", folder)


def _mount(kind: str, place: Path) -> None:
    subprocess.run(["mount", "-t", kind, kind, str(place)], check=True, timeout=60)


@contextmanager
def own_cgroup(name: str) -> Iterator[None]:
    """This process in a new group below the root, for programs that make groups beside themselves."""
    folder = CGROUPS / name
    folder.mkdir()
    _join(folder)
    try:
        yield
    finally:
        _join(CGROUPS)
        # Deepest first. A group that still has a dying process cannot be removed; it is empty soon, and does nothing.
        for group in sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True):
            with suppress(OSError):
                group.rmdir()
        with suppress(OSError):
            folder.rmdir()


def _join(group: Path) -> None:
    (group / "cgroup.procs").write_text("0")
