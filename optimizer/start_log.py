"""What the log says of a start."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from optimizer.devices.discovery import DeviceSpec
from optimizer.queue.recovery import RecoveryReport
from optimizer.scheduling.model_library import ModelLibrary
from optimizer.scheduling.path import SchedulingPath
from optimizer.storage.task_files import SweepReport

log = logging.getLogger(__name__)


def log_start(specs: Sequence[DeviceSpec], models: ModelLibrary, path: SchedulingPath, default_model: str) -> None:
    for spec in specs:
        log.info("device=%s title=%r memory_gb=%.1f", spec.name, spec.title, spec.total_bytes / 1e9)
    names = (info.name for info in models.registry.models() if info.name == info.weights_name)
    here = [name for name in names if models.is_available(name)]
    log.info("models_here=%s default_model=%s", ",".join(here) or "none", default_model)
    if path.is_optimized():
        log.info("path=optimized: tasks are planned by model, priority and memory")
    else:
        log.warning("path=plain: one task at a time in order of arrival, because %s", path.plain_reason)


def log_recovery(report: RecoveryReport) -> None:
    log.info(
        "event=recovered interrupted=%d suspects=%d poisoned=%d bad_records=%d waiting=%d",
        len(report.interrupted), len(report.suspects), len(report.poisoned), len(report.bad_records), report.waiting,
    )  # fmt: skip


def log_sweep(sweep: SweepReport, *, resumable: int) -> None:
    """A warning where something is only reported."""
    only_found = (sweep.media_without_row, sweep.rows_without_media, sweep.transcripts_without_row)
    tell = log.warning if any(only_found) else log.info
    tell(
        "event=swept files_removed=%d resumable=%d uploads_without_task=%d tasks_without_upload=%d"
        " transcripts_without_task=%d", len(sweep.removed), resumable, *map(len, only_found),
    )  # fmt: skip
