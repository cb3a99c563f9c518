"""How many files this process may have open: every page, upload and download needs one."""

from __future__ import annotations

import resource

MAX_OPEN_FILES = 65_536
FILES_SHARE = 3  # requests have at most one part in so many of them, the live feed as many


def raise_open_files_limit() -> None:
    """Raises the soft limit, usually 1024, towards the hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def open_files_limit() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_OPEN_FILES if soft == resource.RLIM_INFINITY else soft
