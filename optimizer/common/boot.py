"""Which start of the server this is, and by whom.

A boot id is `<random>.<launcher>`. The launcher is the process that started this one: gunicorn's master, which starts
the web process again when only that was killed. A task's row keeps the boot id of the server that claimed it, so the
next start can tell whether the whole server was gone or just its web process.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path

_STARTED_AT = 19  # the field of /proc/<pid>/stat, counted from the one behind the name


def new_boot_id() -> str:
    return f"{secrets.token_hex(8)}.{_launcher()}"


def is_same_launch(earlier: str | None, boot_id: str) -> bool:
    """Whether the process that started `earlier` has lived on and started `boot_id`. False when that is unknown."""
    launcher = (earlier or "").partition(".")[2]
    return launcher != "" and launcher == boot_id.partition(".")[2]


def _launcher() -> str:
    """Names the parent process, and no other one of this machine or a later one; empty where that cannot be told."""
    parent = os.getppid()
    try:
        status = Path(f"/proc/{parent}/stat").read_text()
        kernel = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
    started_at = status.rpartition(")")[2].split()[_STARTED_AT]
    return hashlib.sha256(f"{kernel} {parent} {started_at}".encode()).hexdigest()[:16]
