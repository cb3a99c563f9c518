"""Builds what answers questions about tasks, devices and models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from config import Settings
from optimizer.editing.transcript_editor import TranscriptEditor
from optimizer.intake.wiring import Intake
from optimizer.monitoring.monitoring import Monitoring
from optimizer.scheduling.wiring import SchedulerParts, Scheduling
from optimizer.storage.store import TaskStore
from optimizer.tasks.retention import RetentionRules
from optimizer.views.batches import BatchViews
from optimizer.views.models import ModelViews
from optimizer.views.status import StatusViews
from optimizer.views.storage import StorageViews
from optimizer.views.task_view_builder import TaskViewBuilder
from optimizer.views.transcripts import TranscriptViews


@dataclass(frozen=True)
class Views:
    tasks: TaskViewBuilder
    batches: BatchViews
    storage: StorageViews
    transcripts: TranscriptViews
    status: StatusViews
    models: ModelViews


def build_views(
    settings: Settings,
    store: TaskStore,
    parts: SchedulerParts,
    scheduling: Scheduling,
    monitoring: Monitoring,
    intake: Intake,
    editor: TranscriptEditor,
    rules: Callable[[], RetentionRules],
) -> Views:
    tasks = TaskViewBuilder(
        queue=parts.queue,
        preparer=intake.preparer,
        devices=parts.devices,
        decisions=scheduling.decisions,
        progress=scheduling.progress,
        speeds=parts.speeds,
        times=parts.times,
        forecasts=parts.forecasts,
        rules=rules,
        clock=parts.clock,
    )
    status = StatusViews(
        settings,
        path=parts.path,
        decisions=scheduling.decisions,
        queue=parts.queue,
        due_times=parts.due_times,
        files=parts.files,
        devices=parts.devices,
        models=parts.models,
        estimates=parts.estimates,
        forecasts=parts.forecasts,
        progress=scheduling.progress,
        monitor=parts.monitor,
        monitoring=monitoring,
        decoder_measures=intake.decode_pool.measures,
        rules=rules,
    )
    return Views(
        tasks=tasks,
        batches=BatchViews(store, parts.queue, tasks),
        storage=StorageViews(store, parts.files, parts.clock),
        transcripts=TranscriptViews(parts.queue, parts.files, scheduling.progress, editor),
        status=status,
        models=ModelViews(
            settings,
            path=parts.path,
            devices=parts.devices,
            models=parts.models,
            estimates=parts.estimates,
            speeds=parts.speeds,
        ),
    )
