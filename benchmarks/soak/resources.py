"""What the server holds while it has nothing to do, before and after."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True)
class Held:
    """By the web process, except for the last three figures."""

    descriptors: int
    threads: int
    resident_bytes: int
    processes: int  # of the whole server
    temporary_files: int  # in the data folder and in the folder for temporary files
    unfinished_uploads: int  # of clients that a kill cut off; kept for a day, so they may grow

    @classmethod
    def by(cls, master: psutil.Process, web: psutil.Process, data_dir: Path, temporary: Path) -> Held:
        return cls(
            descriptors=web.num_fds(),
            threads=web.num_threads(),
            resident_bytes=web.memory_info().rss,
            processes=1 + len(master.children(recursive=True)),
            temporary_files=count_temporary(data_dir, temporary),
            unfinished_uploads=sum(1 for _ in (data_dir / "incoming").iterdir()),
        )


# Apart from measuring: a thread pool that has grown, a page cache of SQLite, an allocator's reserve.
SPARE_DESCRIPTORS = 30
SPARE_THREADS = 40
SPARE_SHARE = 0.25
SPARE_BYTES = 30_000_000


def growth(before: Held, after: Held) -> list[str]:
    """What has grown, each as a sentence; none when everything is flat."""
    limits = {
        "descriptors": before.descriptors + SPARE_DESCRIPTORS,
        "threads": before.threads + SPARE_THREADS,
        "resident_bytes": int(before.resident_bytes * (1 + SPARE_SHARE)) + SPARE_BYTES,
        "processes": before.processes,
        "temporary_files": before.temporary_files,
    }
    return [
        f"{name.replace('_', ' ')} have grown from {getattr(before, name)} to {getattr(after, name)}"
        for name, limit in limits.items()
        if getattr(after, name) > limit
    ]


def count_temporary(data_dir: Path, temporary: Path) -> int:
    """Half-written files and what a decode leaves when it is killed."""
    found = 0
    for folder, pattern in ((data_dir, "**/*.tmp"), (temporary, "sandbox-*")):
        with suppress(FileNotFoundError):  # removed while we look
            found += sum(1 for _ in folder.glob(pattern))
    return found
