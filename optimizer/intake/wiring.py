"""Builds what takes uploads in. Nothing is started, opened or read here."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial

from config import Settings
from optimizer.common.clock import Clock
from optimizer.intake.admission import Admission
from optimizer.intake.decode_pool import DecodePool
from optimizer.intake.idempotency import IdempotencyKeys
from optimizer.intake.preparer import Preparer
from optimizer.intake.sample_budget import SampleBudget
from optimizer.intake.task_intake import TaskIntake
from optimizer.intake.waveforms import Waveforms
from optimizer.queue.ownership import Ownership
from optimizer.queue.queue_manager import IntelligentQueueManager
from optimizer.storage.part_store import PartStore
from optimizer.storage.store import TaskStore
from optimizer.storage.task_files import TaskFiles
from optimizer.tasks.task import Task
from whisper_core.audio.decode import AudioDecoder, DecodeLimits, find_ffmpeg
from whisper_core.models.registry import ModelRegistry

MIN_DECODE_TIMEOUT_S = 60.0
DECODE_SPEED = 20.0  # seconds of sound that the slowest machine we serve decodes in a second


@dataclass(frozen=True)
class Intake:
    decode_pool: DecodePool
    preparer: Preparer
    tasks: TaskIntake
    admission: Admission
    keys: IdempotencyKeys
    parts: PartStore
    waveforms: Waveforms


@dataclass(frozen=True)
class DevicesForIntake:
    """What an upload's options are checked against; see `model_placement.refusal_of`."""

    names: Callable[[], Collection[str]]
    may_use_cpu: Callable[[], bool]
    no_int8_reason: Callable[[], str | None]


def build_intake(
    settings: Settings,
    clock: Clock,
    files: TaskFiles,
    store: TaskStore,
    queue: IntelligentQueueManager,
    ownership: Ownership,
    devices: DevicesForIntake,
    models: ModelRegistry,
) -> Intake:
    decode_pool = DecodePool(partial(_make_decoder, settings), files, clock)
    budget = SampleBudget(files, queue.samples.kept_bytes, settings.decode_ahead_bytes)
    preparer = Preparer(queue, files, decode_pool, budget, clock)
    return Intake(
        decode_pool,
        preparer,
        TaskIntake(queue, files, preparer, max_attempts=1 + settings.max_task_retries),
        Admission(
            settings,
            files,
            queue.counts,
            ownership.check_quota,
            devices.names,
            devices.may_use_cpu,
            devices.no_int8_reason,
            models,
        ),
        IdempotencyKeys(partial(_find_by_key, store)),
        PartStore(files, clock),
        Waveforms(queue, files, preparer),
    )


def _find_by_key(store: TaskStore, owner: str, key: str) -> Task | None:
    with store.reading() as rows:
        return rows.find_by_key(owner, key)


def _make_decoder(settings: Settings) -> AudioDecoder:
    limit_s = settings.max_audio_seconds
    limits = DecodeLimits(max_seconds=limit_s, timeout_s=max(MIN_DECODE_TIMEOUT_S, limit_s / DECODE_SPEED))
    return AudioDecoder(find_ffmpeg(settings.ffmpeg_binary), limits)
