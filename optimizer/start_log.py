"""What the log says of a start."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from optimizer.devices.discovery import DeviceSpec
from optimizer.scheduling.model_library import ModelLibrary
from optimizer.scheduling.path import SchedulingPath

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
