"""Why a started server cannot do its work at the moment."""

from __future__ import annotations

from optimizer.intake.preparer import DISK_PROBLEM
from optimizer.wiring import SystemParts


def reasons_not_ready(parts: SystemParts) -> list[str]:
    """As sentences; empty when it can."""
    reasons = []
    statuses = parts.scheduling.devices.statuses()
    if not any(status.is_ready for status in statuses):
        reasons.append("no device is ready")
    reasons += [f"{status.spec.name} keeps failing" for status in statuses if status.is_unstable]
    is_disk_full = parts.storage.files.room_bytes() < 0
    if disk_problem := DISK_PROBLEM if is_disk_full else parts.intake.preparer.problem():
        reasons.append(disk_problem)
    problems = (
        parts.storage.store.problem(),
        parts.scheduling.storage_retry.problem(),
        parts.intake.decode_pool.problem(),
    )
    return reasons + [problem for problem in problems if problem]
