"""GET /metrics: the system's figures and those of HTTP, in the text format that Prometheus reads.

Everything but HTTP is asked of the system when somebody reads it. None is about one task, owner or address.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

from flask import Blueprint, Flask, Response, current_app, g, request

from optimizer.monitoring.figures import Figures
from optimizer.monitoring.totals import WAIT_BOUNDS_S, Distribution
from optimizer.tasks.task import TaskStatus
from version import __version__
from web.http.context import current_system

if TYPE_CHECKING:
    from prometheus_client.core import Metric

HTTP_BOUNDS_S = (0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0)
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
_OTHER = "other"  # in place of what a client invented
_COUNTS = "transcription_request_counts"  # its key in the application's `extensions`

metrics = Blueprint("metrics", __name__)


@metrics.get("/metrics")
def get_metrics() -> Response:
    # Imported with the first question: a start should not wait for it.
    from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry, generate_latest

    registry = CollectorRegistry()
    registry.register(_Collector(current_system().figures(), cast(RequestCounts, current_app.extensions[_COUNTS])))
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_PLAIN_0_0_4)


def add_metrics(app: Flask, monotonic: Callable[[], float]) -> None:
    """Counts the application's requests from now on, and answers at /metrics."""
    counts = app.extensions[_COUNTS] = RequestCounts()

    def begin() -> None:
        g.request_began_at = monotonic()

    def end(response: Response) -> Response:
        route = _OTHER if request.url_rule is None else request.url_rule.rule
        method = request.method if request.method in _METHODS else _OTHER
        counts.add(route, method, response.status_code, monotonic() - g.get("request_began_at", monotonic()))
        return response

    app.before_request_funcs.setdefault(None, []).insert(0, begin)  # before what refuses a request
    app.after_request(end)
    app.register_blueprint(metrics)


class RequestCounts:
    """Any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._statuses: dict[tuple[str, ...], int] = {}
        self._seconds: dict[tuple[str, ...], Distribution] = {}

    def add(self, route: str, method: str, status: int, seconds: float) -> None:
        """seconds: until the answer began."""
        with self._lock:
            key = route, method, str(status)
            self._statuses[key] = self._statuses.get(key, 0) + 1
            self._seconds.setdefault((route, method), Distribution(HTTP_BOUNDS_S)).add(seconds)

    def statuses(self) -> dict[tuple[str, ...], int]:
        """Requests by route, method and status."""
        with self._lock:
            return dict(self._statuses)

    def seconds(self) -> dict[tuple[str, ...], tuple[list[int], float]]:
        """By route and method: see Distribution.up_to, and the sum."""
        with self._lock:
            return {key: (each.up_to(), each.total) for key, each in self._seconds.items()}


class _Collector:
    def __init__(self, figures: Figures, requests: RequestCounts) -> None:
        self._figures = figures
        self._requests = requests

    def collect(self) -> Iterable[Metric]:
        yield from self._tasks()
        yield from self._work()
        yield from self._devices()
        yield from self._http()
        yield from self._extra()

    def _tasks(self) -> Iterable[Metric]:
        figures, totals = self._figures, self._figures.totals
        yield _gauge("whisper_info", "The version that runs.", ["version"], {(__version__,): 1})
        states = {(status.value,): float(figures.counts.get(status, 0)) for status in TaskStatus}
        yield _gauge("whisper_tasks", "Tasks in each state.", ["state"], states)
        entered = {(status.value,): float(figures.entered.get(status, 0)) for status in TaskStatus}
        yield _counter("whisper_tasks_entered", "Tasks that came into each state.", ["state"], entered)
        failures = {(code,): float(count) for code, count in figures.failures.items()}
        yield _counter("whisper_task_failures", "Tasks that failed for good, by the error's code.", ["code"], failures)
        waits = {(): (totals.waits, totals.wait_seconds)}
        yield _histogram("whisper_task_wait_seconds", "From the upload to the first attempt.", [], WAIT_BOUNDS_S, waits)

    def _work(self) -> Iterable[Metric]:
        figures, totals = self._figures, self._figures.totals
        audio = dict(totals.audio_seconds)
        yield _counter("whisper_audio_seconds", "Seconds of sound transcribed.", ["device", "model"], audio)
        text = "Seconds of sound transcribed per second, over the last minute."
        yield _gauge("whisper_throughput", text, [], {(): figures.throughput})
        text = "1 while tasks are planned, 0 while they run one at a time in order of arrival."
        yield _gauge("whisper_is_optimized", text, [], {(): float(figures.is_optimized)})
        moved = {(): float(totals.moved_to_cpu)}
        yield _counter("whisper_tasks_moved_to_cpu", "Tasks that a GPU's memory did not hold.", [], moved)

    def _devices(self) -> Iterable[Metric]:
        devices, names = self._figures.devices, ["device"]

        def of_each(read: Callable[[Any], float]) -> dict[tuple[str, ...], float]:
            return {(each.spec.name,): float(read(each)) for each in devices}

        yield _gauge("whisper_device_ready", "1 while it takes tasks.", names, of_each(lambda each: each.is_ready))
        yield _gauge("whisper_device_running_tasks", "Tasks that run on it.", names, of_each(lambda d: len(d.tasks)))
        yield _gauge("whisper_device_slots", "Tasks that it can run at once.", names, of_each(lambda d: d.slots))
        starts = of_each(lambda each: each.restarts)
        yield _counter("whisper_worker_restarts", "Times that its worker had to be started again.", names, starts)
        for kind, text in (
            ("total", "Memory that tasks and models may use."),
            ("reserved", "Memory that is promised to tasks and models."),
            ("used", "Memory that the worker has."),
        ):
            values = of_each(lambda each, kind=kind: getattr(each.memory, kind))  # type: ignore[misc]
            yield _gauge(f"whisper_device_memory_{kind}_bytes", text, names, values)

    def _extra(self) -> Iterable[Metric]:
        for each in self._figures.extra:
            yield _gauge(f"whisper_extra_{each.name}", each.title, [], {(): each.value})

    def _http(self) -> Iterable[Metric]:
        names = ["route", "method"]
        statuses = {key: float(count) for key, count in self._requests.statuses().items()}
        yield _counter("whisper_http_requests", "Requests that were answered.", [*names, "status"], statuses)
        text = "From the request's head to its answer's."
        yield _histogram("whisper_http_request_seconds", text, names, HTTP_BOUNDS_S, self._requests.seconds())


def _gauge(name: str, text: str, labels: list[str], values: Mapping[Any, float]) -> Metric:
    from prometheus_client.core import GaugeMetricFamily

    return _filled(GaugeMetricFamily(name, text, labels=labels), values)


def _counter(name: str, text: str, labels: list[str], values: Mapping[Any, float]) -> Metric:
    """Its samples are called `name` and `_total`."""
    from prometheus_client.core import CounterMetricFamily

    return _filled(CounterMetricFamily(name, text, labels=labels), values)


def _filled(family: Any, values: Mapping[Any, float]) -> Metric:
    for key, value in values.items():
        family.add_metric(list(key), value)
    return cast("Metric", family)


def _histogram(
    name: str, text: str, labels: list[str], bounds: Iterable[float], values: Mapping[Any, tuple[Any, float]]
) -> Metric:
    from prometheus_client.core import HistogramMetricFamily

    family = HistogramMetricFamily(name, text, labels=labels)
    ends = [*map(str, bounds), "+Inf"]
    for key, (counts, total) in values.items():
        family.add_metric(list(key), list(zip(ends, counts, strict=True)), total)
    return cast("Metric", family)
