"""Builds the parts of an OptimizedWhisperSystem and connects them. Nothing is started, opened or read here."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from config import Settings
from optimizer.accounts.accounts import Accounts
from optimizer.automation.wiring import Automation, build_automation
from optimizer.cluster.bridge import BridgeConfig
from optimizer.cluster.checks import check_ray
from optimizer.cluster.cluster_client import ClusterClient
from optimizer.common.boot import new_boot_id
from optimizer.common.clock import Clock
from optimizer.devices.discovery import DeviceSpec
from optimizer.devices.engines import REFERENCE, engine_named
from optimizer.devices.factory import DeviceFactory
from optimizer.devices.fleet import DeviceFleet
from optimizer.devices.memory_poll import MemoryPoll
from optimizer.devices.worker_process import WorkerConfig
from optimizer.editing.found_speakers import FoundSpeakers
from optimizer.editing.retranscriptions import Retranscriptions
from optimizer.editing.transcript_editor import TranscriptEditor
from optimizer.editing.wiring import build_editor
from optimizer.intake.wiring import DevicesForIntake, Intake, build_intake
from optimizer.memory.engine_formula import BatchFormula, EngineFormula, Formula
from optimizer.memory.estimator import MemoryEstimationPool
from optimizer.memory.probes import MemoryProbe
from optimizer.monitoring.event_log import EventLog
from optimizer.monitoring.extra_metrics import ExtraMetrics
from optimizer.monitoring.limit_tuning import LimitsInForce, LimitTuning
from optimizer.monitoring.metric import metrics_named
from optimizer.monitoring.monitoring import MonitorHooks, Monitoring
from optimizer.monitoring.performance_monitor import PerformanceMonitor
from optimizer.monitoring.sample_store import SampleStore
from optimizer.planning.plan import PlanLimits
from optimizer.planning.policies import policy_named
from optimizer.planning.policy import QueueOrder
from optimizer.queue.ordering import FIRST_COME, DueTimes
from optimizer.queue.ownership import Ownership
from optimizer.queue.queue_manager import IntelligentQueueManager
from optimizer.queue.quotas import OwnerQuotas
from optimizer.retention import Retention
from optimizer.scheduling.crash_attribution import CrashAttribution
from optimizer.scheduling.event_messages import EventMessages
from optimizer.scheduling.inbox import Inbox
from optimizer.scheduling.loop import BatchTaskScheduler
from optimizer.scheduling.model_library import ModelLibrary
from optimizer.scheduling.path import SchedulingPath
from optimizer.scheduling.report_handler import ReportHandler
from optimizer.scheduling.storage_retry import StorageRetry
from optimizer.scheduling.wiring import SchedulerParts, Scheduling, build_scheduler
from optimizer.sharing.shares import Shares
from optimizer.storage.documents import DocumentStore, Persistence
from optimizer.storage.search_filler import SearchFiller
from optimizer.storage.store import TaskStore
from optimizer.storage.task_files import TaskFiles
from optimizer.storage.webhook_outbox import WebhookOutbox
from optimizer.task_endings import TaskEndings
from optimizer.tasks.events import Event, EventBus, SystemChanged, TaskChanged
from optimizer.tasks.task import Task
from optimizer.timing.forecast_accuracy import ForecastTracker
from optimizer.timing.runtime_estimates import RuntimeEstimates
from optimizer.timing.speeds import SpeedTable
from optimizer.views.wiring import Views, build_views
from optimizer.watching import deliveries, taker
from whisper_core.models.registry import ModelRegistry
from whisper_core.worker.engine_spec import EngineSpec


@dataclass(frozen=True)
class Storage:
    files: TaskFiles
    store: TaskStore
    documents: DocumentStore
    event_log: EventLog
    search_filler: SearchFiller


@dataclass(frozen=True)
class Monitors:
    monitoring: Monitoring
    memory_probe: MemoryProbe
    memory_poll: MemoryPoll


@dataclass(frozen=True)
class SystemParts:
    """What the facade starts, stops and asks."""

    storage: Storage
    intake: Intake
    scheduling: SchedulerParts  # with the queue, the devices and the models
    reports: ReportHandler  # the devices must be opened with it before the scheduler is started
    scheduler: BatchTaskScheduler
    attribution: CrashAttribution  # must know the suspects of an earlier death before the scheduler is started
    endings: TaskEndings
    monitors: Monitors
    views: Views
    retention: Retention
    accounts: Accounts
    ownership: Ownership
    editor: TranscriptEditor
    retranscriptions: Retranscriptions
    found_speakers: FoundSpeakers
    automation: Automation
    shares: Shares
    cluster: ClusterClient | None  # None with EXECUTOR=local


def build_parts(
    settings: Settings,
    clock: Clock,
    *,
    on_tick: Callable[[], None],
    worker: WorkerConfig | None = None,
    devices: Sequence[DeviceSpec] | None = None,
) -> SystemParts:
    """on_tick: called every PERFORMANCE_MONITOR_INTERVAL. worker, devices: see `DeviceFactory`.

    Raises InvalidSettingsError for an extension that cannot be used, and without Ray where it is asked for.
    """
    check_ray(settings)
    storage = _build_storage(settings, clock)
    ownership = Ownership(storage.store, OwnerQuotas.of(settings))
    models = ModelRegistry(settings.models_dir)
    speeds = SpeedTable(lambda model: models.known(model).identity)
    monitor = PerformanceMonitor(clock, speeds, interval_s=settings.performance_monitor_interval, on_sample=on_tick)
    engine = _engine_of(settings)
    estimates = MemoryEstimationPool(settings.memory_calibration_factor, models, _formula_of(engine))
    factory = DeviceFactory(settings, clock, estimates, engine, worker=worker, devices=devices)
    fleet = DeviceFleet(factory)
    scheduling, intake = _build_scheduling(
        settings, clock, storage, ownership, monitor, speeds, estimates, fleet, models
    )
    built = build_scheduler(scheduling, PlanLimits.of(settings), settings.batch_schedule_interval)
    models.add_listener(built.decisions.note_replaced)
    monitors = _build_monitors(settings, scheduling, built, storage)
    editor = build_editor(storage.store, storage.files, clock, scheduling.events)
    endings = _build_endings(scheduling, built)
    found_speakers = FoundSpeakers(storage.store, storage.files, editor, endings.delete)
    retranscriptions = Retranscriptions(storage.store, storage.files, editor, endings.delete)
    built.reports.on_completed = partial(_tell_each, (found_speakers.on_completed, retranscriptions.on_completed))
    accounts = Accounts(settings, storage.store.database, clock)
    retention = _build_retention(settings, storage, scheduling, endings, accounts)
    views = build_views(
        settings, storage.store, scheduling, built, monitors.monitoring, intake, editor, retention.rules
    )
    return SystemParts(
        storage=storage,
        intake=intake,
        scheduling=scheduling,
        reports=built.reports,
        scheduler=built.scheduler,
        attribution=built.attribution,
        endings=endings,
        monitors=monitors,
        views=views,
        retention=retention,
        accounts=accounts,
        ownership=ownership,
        editor=editor,
        retranscriptions=retranscriptions,
        found_speakers=found_speakers,
        automation=_build_automation(settings, storage, scheduling, intake, endings, views),
        shares=Shares(storage.store.database, clock),
        cluster=_build_cluster(factory, built) if settings.executor == "ray" else None,
    )


def _formula_of(engine: EngineSpec) -> Formula:
    return BatchFormula(holds_slots=engine.holds_slots) if engine.memory is None else EngineFormula(engine.memory)


def _engine_of(settings: Settings) -> EngineSpec:
    """The plain path has the reference engine."""
    return engine_named(settings.engine) if settings.enable_optimization_system else REFERENCE


def _build_cluster(factory: DeviceFactory, scheduling: Scheduling) -> ClusterClient:
    settings = factory.settings
    config = BridgeConfig(
        address=settings.ray_address,
        token=settings.ray_token if settings.uses_ray_token else "",
        shared_dir=settings.shared_dir,
        cpus_only=factory.engine.is_for_cpus_only,
        memory_interval_s=settings.performance_monitor_interval,
        log_level=settings.log_level,
        log_format=settings.log_format,
    )
    worker = factory.worker_config(is_optimized=True)
    if factory.worker is None:  # each node has its own number of cores
        worker = replace(worker, cpu_threads=0)
    return ClusterClient(config, worker, factory.clock, scheduling.members)


def _build_endings(parts: SchedulerParts, scheduling: Scheduling) -> TaskEndings:
    return TaskEndings(
        queue=parts.queue,
        files=parts.files,
        forecasts=parts.forecasts,
        scheduler=scheduling.scheduler,
        events=parts.events,
    )


def _build_retention(
    settings: Settings, storage: Storage, parts: SchedulerParts, endings: TaskEndings, accounts: Accounts
) -> Retention:
    return Retention(
        settings,
        store=storage.store,
        documents=storage.documents,
        queue=parts.queue,
        files=storage.files,
        endings=endings,
        audit=accounts.audit,
        clock=parts.clock,
    )


def _build_automation(
    settings: Settings, storage: Storage, parts: SchedulerParts, intake: Intake, endings: TaskEndings, views: Views
) -> Automation:
    tasks = deliveries.Tasks(parts.queue, storage.files, endings.cancel, endings.delete)
    taking = taker.Intake(
        intake.admission, storage.files, intake.tasks, parts.devices.names, views.models.default_model
    )
    return build_automation(settings, parts.clock, storage.store.database, parts.events, tasks, taking)


def _build_storage(settings: Settings, clock: Clock) -> Storage:
    outbox = WebhookOutbox(settings.webhook_addresses) if settings.sends_webhooks else None
    store = TaskStore(settings.data_dir, settings.database_url.get_secret_value(), outbox=outbox)
    files = TaskFiles(settings.data_dir, settings.min_free_disk_bytes)
    return Storage(
        files=files,
        store=store,
        documents=DocumentStore(store.database, clock),
        event_log=EventLog(store.database, clock),
        search_filler=SearchFiller(store.database, files),
    )


def _build_scheduling(
    settings: Settings,
    clock: Clock,
    storage: Storage,
    ownership: Ownership,
    monitor: PerformanceMonitor,
    speeds: SpeedTable,
    estimates: MemoryEstimationPool,
    fleet: DeviceFleet,
    models: ModelRegistry,
) -> tuple[SchedulerParts, Intake]:
    plain_reason = None if settings.enable_optimization_system else "ENABLE_OPTIMIZATION_SYSTEM is False"
    no_int8_reason = None if _engine_of(settings).has_int8_models else f"ENGINE is {settings.engine}"
    path = SchedulingPath(plain_reason, no_int8_reason)
    events, inbox = EventBus(), Inbox()
    events.add_listener(partial(_wake_when_a_task_changed, inbox))
    times = RuntimeEstimates(speeds, models)
    for forget in (estimates.forget, speeds.forget, times.forget):
        models.add_listener(forget)
    policy = policy_named(settings.scheduling_policy)
    has_due_times = path.is_optimized() and policy.order is QueueOrder.SHORT_FIRST
    due_times = DueTimes(times.work_seconds) if has_due_times else FIRST_COME
    queue = _build_queue(settings, clock, storage.store, events, due_times)
    devices = DevicesForIntake(fleet.names, fleet.may_use_cpu, path.no_int8_reason)
    intake = build_intake(settings, clock, storage.files, storage.store, queue, ownership, devices, models)
    events.add_listener(intake.preparer.on_event)
    parts = SchedulerParts(
        clock=clock,
        path=path,
        events=events,
        messages=EventMessages(storage.event_log),
        inbox=inbox,
        storage_retry=StorageRetry(),
        queue=queue,
        files=storage.files,
        make_samples_again=intake.preparer.make_again,
        devices=fleet,
        models=_build_models(settings, clock, events, inbox, models),
        estimates=estimates,
        monitor=monitor,
        speeds=speeds,
        times=times,
        due_times=due_times,
        forecasts=ForecastTracker(),
        may_move_to_cpu=fleet.may_use_cpu if settings.out_of_memory_on_cpu else _never,
        policy=policy,
        model_idle_s=settings.model_idle_timeout or math.inf,
    )
    return parts, intake


def _build_queue(
    settings: Settings, clock: Clock, store: TaskStore, events: EventBus, due_times: DueTimes
) -> IntelligentQueueManager:
    return IntelligentQueueManager(
        store,
        clock,
        boot_id=new_boot_id(),
        max_queued=settings.max_queued_tasks,
        on_change=events.publish_task_changed,
        due_times=due_times,
        quotas=OwnerQuotas.of(settings),
    )


def _build_models(
    settings: Settings, clock: Clock, events: EventBus, inbox: Inbox, registry: ModelRegistry
) -> ModelLibrary:
    def on_change() -> None:
        events.publish(SystemChanged())
        inbox.wake()

    return ModelLibrary(settings.models_dir, settings.model_sources, clock, on_change, registry)


def _build_monitors(settings: Settings, parts: SchedulerParts, scheduling: Scheduling, storage: Storage) -> Monitors:
    def slots() -> list[int]:
        return [status.slots for status in parts.devices.statuses()]

    in_force = LimitsInForce(scheduling.decisions.limits, scheduling.scheduler.set_limits, slots)
    monitoring = Monitoring(
        monitor=parts.monitor,
        tuning=LimitTuning(
            settings, storage.event_log, parts.clock, in_force, parts.path.is_optimized, parts.models.registry
        ),
        samples=SampleStore(storage.store.database, parts.clock),
        event_log=storage.event_log,
        persistence=Persistence(storage.documents, {"speeds": parts.speeds, "forecasts": parts.forecasts}),
        clock=parts.clock,
        hooks=MonitorHooks(parts.devices.statuses, parts.queue.counts, parts.queue.entered),
        extra=ExtraMetrics(
            metrics_named(settings.extra_metric_names), parts.clock, settings.performance_monitor_interval
        ),
    )
    probe = MemoryProbe()
    poll = MemoryPoll(
        probe,
        parts.estimates,
        devices=parts.devices,
        post=parts.inbox.post,
        tell=parts.messages.tell_device_changed,
        tell_shortfall=parts.messages.tell_shortfall,
    )
    return Monitors(monitoring, probe, poll)


def _wake_when_a_task_changed(inbox: Inbox, event: Event) -> None:
    if isinstance(event, TaskChanged):
        inbox.wake()  # whatever changed may let something run


def _tell_each(listeners: Sequence[Callable[[Task], None]], task: Task) -> None:
    for listener in listeners:
        listener(task)


def _never() -> bool:
    return False
