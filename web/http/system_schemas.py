"""What the API answers about the system, as pydantic models: its state now, its history, its events and its log."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from optimizer.monitoring.event_log import EventKind
from web.http.answer_schemas import Answer, Body


class DeviceModelBody(Body):
    name: str
    reserved_bytes: int
    state: Literal["loading", "loaded", "evicting"]
    is_used: bool
    slots: int


class DeviceTaskBody(Body):
    id: str
    filename: str
    model: str
    priority: Literal["low", "normal", "high"]
    progress: float
    audio_seconds: float
    work_left_seconds: float
    reserved_bytes: int
    peak_bytes: int | None
    eta_seconds: float | None


class DeviceBody(Body):
    """Memory in bytes."""

    name: str
    kind: Literal["cpu", "cuda"]
    title: str
    state: Literal["starting", "ready", "restarting", "unavailable", "stopped"]
    total: int
    reserved: int
    used: int
    free: int
    headroom: int
    others: int
    resident_models: list[str]
    running: list[str]
    slots: int
    models: list[DeviceModelBody]
    tasks: list[DeviceTaskBody]


class ThroughputBody(Body):
    audio_seconds_per_second: float


class LimitsBody(Body):
    max_concurrent_tasks: int
    max_batch_size: int


class FetchBody(Body):
    model: str
    done_bytes: int
    total_bytes: int


class AdviceBody(Body):
    code: str
    text: str
    data: dict[str, Any]


class LastChangeBody(Body):
    at: str
    text: str


class AdaptiveBody(Body):
    enabled: bool
    max_concurrent_tasks: int
    max_batch_size: int
    last_change: LastChangeBody | None


class MemoryForecastBody(Body):
    """Bytes."""

    predicted: int
    reserved: int
    measured: int


class MemoryEstimateBody(Body):
    device: str
    model: str
    count: int
    median_error: float | None
    is_calibrated: bool
    margin: float
    last: MemoryForecastBody | None


class ForecastsBody(Body):
    count: int
    median_error_seconds: float | None
    median_error: float | None
    within_interval: float | None


class WaitBoundBody(Body):
    patience_seconds: float
    text: str


# GET /api/system, and the live feed's `system` event.
class RetentionBody(Body):
    """How long finished tasks are kept."""

    media_days: int | None = Field(description="after so many days recordings are removed; null: never")
    media_from: str | None = Field(description="no recording is removed before that")
    text_days: int | None = Field(description="after so many days tasks are deleted; null: never")
    text_from: str | None = Field(description="no task is deleted before that")


class OwnerUseBody(Body):
    owner: str
    tasks: int
    media_bytes: int
    texts_bytes: int
    samples_bytes: int


class StorageAnswer(Answer):
    media_bytes: int
    texts_bytes: int
    samples_bytes: int = Field(description="what can be made again from recordings")
    incoming_bytes: int | None = Field(description="uploads on their way; only of the whole server")
    database_bytes: int | None = Field(description="only of the whole server, and where it is SQLite's")
    free_bytes: int
    owners: list[OwnerUseBody] = Field(description="those with the most first; only there for an admin")


class FetchAnswer(Answer):
    model: str


class SystemAnswer(Answer):
    version: str
    path: Literal["optimized", "plain"]
    path_reason: str | None
    devices: list[DeviceBody]
    counts: dict[str, int]
    throughput: ThroughputBody
    limits: LimitsBody
    settings: dict[str, Any]
    fetches: list[FetchBody]
    advice: list[str]
    advice_items: list[AdviceBody]
    is_public: bool
    decoder: dict[str, str]
    occupancy: float
    adaptive: AdaptiveBody
    memory_estimates: list[MemoryEstimateBody]
    forecasts: ForecastsBody
    wait_bound: WaitBoundBody
    retention: RetentionBody


class DeviceMemorySample(Body):
    """Bytes."""

    total: int
    headroom: int
    reserved: int
    used: int
    others: int
    models: dict[str, int]


class SampleBody(Body):
    at: float = Field(description="seconds since 1970, at the end of the span")
    span_seconds: float
    throughput: float = Field(description="seconds of sound per second")
    running: float
    waiting: float
    retrying: float
    started: int
    completed: int
    failed: int
    mean_wait_seconds: float | None
    p95_wait_seconds: float | None
    occupancy: float
    devices: dict[str, DeviceMemorySample]
    speeds: dict[str, dict[str, float]] = Field(description="times real time of one task, by device and model")
    extra: dict[str, float] = Field(description="of metrics that other packages brought, by name")


class TuningChange(Body):
    at: float
    text: str
    data: dict[str, Any]


class ExtraMetricBody(Body):
    name: str
    title: str
    unit: str


class HistoryAnswer(Answer):
    samples: list[SampleBody]
    changes: list[TuningChange]
    extra_metrics: list[ExtraMetricBody]


class SystemEventBody(Body):
    id: int
    at: float
    kind: EventKind
    text: str
    data: dict[str, Any]


class SystemEventsAnswer(Answer):
    events: list[SystemEventBody]


class LogLineBody(Body):
    at: float
    level: str
    logger: str
    message: str


class LogAnswer(Answer):
    lines: list[LogLineBody]
