"""What happens to a worker's reports on the thread `device-<name>`, which read them from the pipe.

Each is recorded before anybody relies on it, so whatever is killed afterwards, it counts; only the event log may have a
line of it before. The scheduler's thread then brings its picture of the device up to date (see `device_updater`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby

from errors import DeviceLostError
from optimizer.devices.device import Device
from optimizer.scheduling.attempts import AttemptReport, RunningAttempt, RunningAttempts
from optimizer.scheduling.device_updater import DeviceUpdater
from optimizer.scheduling.event_messages import EventMessages
from optimizer.scheduling.inbox import Inbox
from optimizer.scheduling.learner import MeasurementLearner
from optimizer.scheduling.result_recorder import ResultRecorder
from optimizer.scheduling.running_progress import RunningProgress
from optimizer.tasks.events import EventBus
from optimizer.tasks.task import Task
from whisper_core.worker import messages as protocol


class ReportHandler:
    """The devices' `WorkerListener`."""

    def __init__(
        self,
        *,
        messages: EventMessages,
        attempts: RunningAttempts,
        recorder: ResultRecorder,
        learner: MeasurementLearner,
        updater: DeviceUpdater,
        progress: RunningProgress,
        events: EventBus,
        announce: Callable[[Task], None],
        inbox: Inbox,
    ) -> None:
        """announce: tells that a task's state has changed."""
        self._messages = messages
        self._attempts = attempts
        self._recorder = recorder
        self._learner = learner
        self._updater = updater
        self._progress = progress
        self._events = events
        self._announce = announce
        self._inbox = inbox
        self.on_completed: Callable[[Task], None] = lambda task: None  # once everybody was told; set by the wiring

    def on_reports(self, device: Device, reports: Sequence[protocol.Report]) -> None:
        """In the order in which they came. Those of tasks that follow each other are recorded together; what is said of
        models and the device itself may be the cause of what comes after it."""
        for _, alike in groupby(reports, key=_is_of_task):
            self._handle(device, list(alike))

    def _handle(self, device: Device, reports: Sequence[protocol.Report]) -> None:
        for report in reports:
            self._messages.tell_report(device.spec.name, report)
        concurrency = self._attempts.concurrency(device.spec.name)
        reported = [_with_late_sound(report, self._attempt_of(report)) for report in reports]
        for each, task in self._recorder.record_reports(device.spec, reported):
            self._learner.learn_from(device.spec, each.report, task, each.attempt, concurrency)
            if task is not None:
                self._tell(each, task)
            self._follow_speakers(each)
        self._inbox.post(partial(self._updater.apply_reports, device, reports))

    def on_exit(self, device: Device) -> None:
        self._messages.tell_worker_exited(device)
        self._inbox.post(partial(self._updater.apply_exit, device))

    def _attempt_of(self, report: protocol.Report) -> RunningAttempt | None:
        """The attempt that the report is about, which is over when the report says so."""
        match report:
            case protocol.WindowDone() | protocol.TaskNote() | protocol.SpeakersProgress():
                return self._attempts.find_attempt(report.attempt_id)
            case protocol.TaskFailed() if report.code == DeviceLostError.code:
                return self._attempts.find_attempt(report.attempt_id)  # it ends with its worker
            case protocol.TaskDone() | protocol.TaskFailed() | protocol.TaskStopped():
                return self._attempts.untrack(report.attempt_id)
        return None

    def _follow_speakers(self, reported: AttemptReport) -> None:
        """Only in memory: after a restart they are looked for again."""
        if isinstance(reported.report, protocol.SpeakersProgress) and reported.attempt is not None:
            self._attempts.follow_speakers(reported.attempt, reported.report.progress)
            self._events.publish_task_changed(reported.report.task_id)

    def _tell(self, reported: AttemptReport, task: Task) -> None:
        """In the order of the reports, so that whoever follows a task has its last text before he hears of its end."""
        match reported.report:
            case protocol.WindowDone() as report if reported.attempt is not None:
                self._publish_window(report, task, reported.attempt)
            case protocol.TaskDone():
                self._announce(task)
                self.on_completed(task)
            case protocol.TaskFailed() | protocol.TaskStopped():
                self._announce(task)

    def _publish_window(self, report: protocol.WindowDone, task: Task, attempt: RunningAttempt) -> None:
        segments = report.window.segments
        self._events.publish(self._progress.window_finished(task, attempt.segment_count, segments))
        attempt.segment_count += len(segments)


def _with_late_sound(report: protocol.Report, attempt: RunningAttempt | None) -> AttemptReport:
    """The report without text in the silence that was put before sound that starts late: Whisper has its first segment
    begin with the recording."""
    late_s = attempt.task.late_seconds if attempt is not None else None
    match report:
        case protocol.WindowDone() if late_s:
            segments = tuple(segment.from_(late_s) for segment in report.window.segments)
            report = replace(report, window=replace(report.window, segments=segments))
        case protocol.TaskDone() if late_s:
            segments = tuple(segment.from_(late_s) for segment in report.transcript.segments)
            report = replace(report, transcript=replace(report.transcript, segments=segments))
    return AttemptReport(report, attempt)


def _is_of_task(report: protocol.Report) -> bool:
    return hasattr(report, "attempt_id")
