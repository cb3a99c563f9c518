"""Builds the scheduler: gives each of its parts what that part uses, and nothing more."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from optimizer.common.clock import Clock
from optimizer.devices.fleet import DeviceFleet
from optimizer.memory.estimator import MemoryEstimationPool
from optimizer.monitoring.performance_monitor import PerformanceMonitor
from optimizer.planning.plan import PlanLimits
from optimizer.planning.policies import FAIR
from optimizer.planning.policy import SchedulingPolicy
from optimizer.queue.ordering import DueTimes
from optimizer.queue.queue_manager import IntelligentQueueManager
from optimizer.scheduling.attempts import RunningAttempts
from optimizer.scheduling.cluster_members import ClusterMembers
from optimizer.scheduling.crash_attribution import CrashAttribution
from optimizer.scheduling.decision import DecisionMaker
from optimizer.scheduling.device_updater import DeviceUpdater
from optimizer.scheduling.device_views import DeviceViews
from optimizer.scheduling.dispatcher import Dispatcher
from optimizer.scheduling.event_messages import EventMessages
from optimizer.scheduling.execution import PlanExecutor
from optimizer.scheduling.inbox import Inbox
from optimizer.scheduling.learner import MeasurementLearner
from optimizer.scheduling.loop import BatchTaskScheduler
from optimizer.scheduling.model_library import ModelLibrary
from optimizer.scheduling.path import SchedulingPath
from optimizer.scheduling.policy_guard import PolicyGuard
from optimizer.scheduling.replaced_models import ReplacedModels
from optimizer.scheduling.report_handler import ReportHandler
from optimizer.scheduling.result_recorder import ResultRecorder
from optimizer.scheduling.running_progress import RunningProgress
from optimizer.scheduling.storage_retry import StorageRetry
from optimizer.storage.task_files import TaskFiles
from optimizer.tasks.events import EventBus
from optimizer.timing.forecast_accuracy import ForecastTracker
from optimizer.timing.runtime_estimates import RuntimeEstimates
from optimizer.timing.speeds import SpeedTable


@dataclass(frozen=True)
class SchedulerParts:
    """What the scheduler works with: one of each for a server."""

    clock: Clock
    path: SchedulingPath
    events: EventBus
    messages: EventMessages
    inbox: Inbox
    storage_retry: StorageRetry
    queue: IntelligentQueueManager
    files: TaskFiles
    make_samples_again: Callable[[str], None]  # has those of a waiting task made in the background
    devices: DeviceFleet
    models: ModelLibrary
    estimates: MemoryEstimationPool
    monitor: PerformanceMonitor
    speeds: SpeedTable
    times: RuntimeEstimates
    due_times: DueTimes
    forecasts: ForecastTracker
    may_move_to_cpu: Callable[[], bool]  # whether a task that a GPU has no memory for may go to the CPU now
    policy: SchedulingPolicy = FAIR
    model_idle_s: float = math.inf  # a model that no task has used for so long leaves its device


@dataclass(frozen=True)
class Scheduling:
    scheduler: BatchTaskScheduler  # the loop
    decisions: DecisionMaker
    reports: ReportHandler  # hears the devices' workers
    progress: RunningProgress
    attribution: CrashAttribution
    members: ClusterMembers


def build_scheduler(parts: SchedulerParts, limits: PlanLimits, interval_s: float) -> Scheduling:
    """interval_s: the longest time between two decisions."""
    attribution = CrashAttribution(parts.clock)
    attempts = RunningAttempts(parts.clock)
    dispatcher = Dispatcher(
        queue=parts.queue,
        files=parts.files,
        attempts=attempts,
        inbox=parts.inbox,
        path=parts.path,
        monitor=parts.monitor,
        make_samples_again=parts.make_samples_again,
    )
    decisions = _build_decisions(parts, attribution, attempts, dispatcher, limits)
    scheduler = BatchTaskScheduler(
        decisions,
        dispatcher,
        queue=parts.queue,
        devices=parts.devices,
        inbox=parts.inbox,
        events=parts.events,
        clock=parts.clock,
        interval_s=interval_s,
    )
    progress = RunningProgress(attempts, parts.speeds)
    reports = _build_reports(parts, attribution, attempts, dispatcher, progress)
    members = ClusterMembers(parts.devices, dispatcher, parts.inbox, parts.messages, parts.events)
    return Scheduling(scheduler, decisions, reports, progress, attribution, members)


def _build_decisions(
    parts: SchedulerParts,
    attribution: CrashAttribution,
    attempts: RunningAttempts,
    dispatcher: Dispatcher,
    limits: PlanLimits,
) -> DecisionMaker:
    executor = PlanExecutor(
        dispatcher,
        attempts,
        attribution,
        devices=parts.devices,
        messages=parts.messages,
        forecasts=parts.forecasts,
        times=parts.times,
        model_idle_s=parts.model_idle_s,
    )
    return DecisionMaker(
        executor,
        DeviceViews(attribution, parts.due_times),
        PolicyGuard(parts.policy, parts.messages, parts.clock),
        attribution,
        ReplacedModels(parts.devices, parts.messages),
        limits,
        queue=parts.queue,
        devices=parts.devices,
        models=parts.models,
        estimates=parts.estimates,
        times=parts.times,
        path=parts.path,
        events=parts.events,
        clock=parts.clock,
    )


def _build_reports(
    parts: SchedulerParts,
    attribution: CrashAttribution,
    attempts: RunningAttempts,
    dispatcher: Dispatcher,
    progress: RunningProgress,
) -> ReportHandler:
    recorder = ResultRecorder(
        queue=parts.queue,
        files=parts.files,
        storage_retry=parts.storage_retry,
        clock=parts.clock,
        estimates=parts.estimates,
        may_move_to_cpu=parts.may_move_to_cpu,
    )
    updater = DeviceUpdater(
        dispatcher,
        attribution,
        queue=parts.queue,
        devices=parts.devices,
        estimates=parts.estimates,
        forecasts=parts.forecasts,
        inbox=parts.inbox,
        events=parts.events,
        messages=parts.messages,
        clock=parts.clock,
    )
    return ReportHandler(
        messages=parts.messages,
        attempts=attempts,
        recorder=recorder,
        learner=_build_learner(parts, attempts),
        updater=updater,
        progress=progress,
        events=parts.events,
        announce=parts.queue.announce,
        inbox=parts.inbox,
    )


def _build_learner(parts: SchedulerParts, attempts: RunningAttempts) -> MeasurementLearner:
    return MeasurementLearner(
        attempts=attempts,
        monitor=parts.monitor,
        speeds=parts.speeds,
        times=parts.times,
        estimates=parts.estimates,
        clock=parts.clock,
    )
