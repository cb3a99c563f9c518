"""What the API answers about the system, as pydantic models: its state now, its history, its events and its log."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from optimizer.monitoring.event_log import EventKind


class DeviceModelBody(BaseModel):
    name: str
    reserved_bytes: int
    state: Literal["loading", "loaded", "evicting"]
    is_used: bool


class DeviceTaskBody(BaseModel):
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


class DeviceBody(BaseModel):
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


class ThroughputBody(BaseModel):
    audio_seconds_per_second: float


class LimitsBody(BaseModel):
    max_concurrent_tasks: int
    max_batch_size: int


class FetchBody(BaseModel):
    model: str
    done_bytes: int
    total_bytes: int


class AdviceBody(BaseModel):
    code: str
    text: str
    data: dict[str, Any]


class LastChangeBody(BaseModel):
    at: str
    text: str


class AdaptiveBody(BaseModel):
    enabled: bool
    max_concurrent_tasks: int
    max_batch_size: int
    last_change: LastChangeBody | None


class MemoryForecastBody(BaseModel):
    """Bytes."""

    predicted: int
    reserved: int
    measured: int


class MemoryEstimateBody(BaseModel):
    device: str
    model: str
    count: int
    median_error: float | None
    is_calibrated: bool
    margin: float
    last: MemoryForecastBody | None


class ForecastsBody(BaseModel):
    count: int
    median_error_seconds: float | None
    median_error: float | None
    within_interval: float | None


class WaitBoundBody(BaseModel):
    patience_seconds: float
    text: str


# GET /api/system, and the live feed's `system` event.
class SystemAnswer(BaseModel):
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
    occupancy: float
    adaptive: AdaptiveBody
    memory_estimates: list[MemoryEstimateBody]
    forecasts: ForecastsBody
    wait_bound: WaitBoundBody


class DeviceMemorySample(BaseModel):
    """Bytes."""

    total: int
    headroom: int
    reserved: int
    used: int
    others: int
    models: dict[str, int]


class SampleBody(BaseModel):
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


class TuningChange(BaseModel):
    at: float
    text: str
    data: dict[str, Any]


class HistoryAnswer(BaseModel):
    samples: list[SampleBody]
    changes: list[TuningChange]


class SystemEventBody(BaseModel):
    id: int
    at: float
    kind: EventKind
    text: str
    data: dict[str, Any]


class SystemEventsAnswer(BaseModel):
    events: list[SystemEventBody]


class LogLineBody(BaseModel):
    at: float
    level: str
    logger: str
    message: str


class LogAnswer(BaseModel):
    lines: list[LogLineBody]
