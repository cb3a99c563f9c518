"""GET /metrics, and the dashboard that is drawn from it."""

from __future__ import annotations

import json
import re

import pytest
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from optimizer.devices.discovery import DeviceSpec
from optimizer.devices.status import DeviceState, DeviceStatus
from optimizer.memory.ledger import PoolSnapshot
from tests.paths import ROOT
from tests.web.fake_system import FakeSystem

DASHBOARD = ROOT / "deploy" / "grafana-dashboard.json"
Values = dict[str, dict[tuple[str, ...], float]]


def read(client: FlaskClient) -> Values:
    """Samples by name, and then by the values of their labels in the order of the labels' names."""
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.content_type.startswith("text/plain; version=0.0.4")
    found: Values = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            key = tuple(value for _, value in sorted(sample.labels.items()))
            found.setdefault(sample.name, {})[key] = sample.value
    return found


@pytest.fixture
def device(system: FakeSystem) -> DeviceStatus:
    memory = PoolSnapshot("cpu", 1000, 0, 300, 200, 0, 700, (), 0)
    status = DeviceStatus(DeviceSpec("cpu", "cpu", "a processor", 1000), DeviceState.READY, memory, False, restarts=3)
    system.device_statuses.append(status)
    return status


@pytest.mark.usefixtures("device")
def test_the_figures_are_the_systems(client: FlaskClient, system: FakeSystem) -> None:
    system.add()
    system.monitor.add_audio(30.0, "base", "cpu")
    for wait_s in (0.5, 5.0, 20_000.0):
        system.monitor.task_started(wait_s)
    system.monitor.task_moved_to_cpu()
    values = read(client)
    assert values["whisper_tasks"]["pending",] == 1
    assert values["whisper_tasks"]["failed",] == 0
    assert values["whisper_task_failures_total"] == {("no_audio_stream",): 2}
    assert values["whisper_audio_seconds_total"] == {("cpu", "base"): 30}
    waits = values["whisper_task_wait_seconds_bucket"]
    assert (waits["1.0",], waits["5.0",], waits["14400.0",], waits["+Inf",]) == (1, 2, 2, 3)
    assert values["whisper_task_wait_seconds_sum"] == {(): 20_005.5}
    assert values["whisper_throughput"] == {(): 12.5}
    assert values["whisper_tasks_moved_to_cpu_total"] == {(): 1}
    assert values["whisper_worker_restarts_total"] == {("cpu",): 3}
    memory = [values[f"whisper_device_memory_{kind}_bytes"]["cpu",] for kind in ("total", "reserved", "used")]
    assert memory == [1000, 300, 200]
    assert values["whisper_extra_lit_lamps"] == {(): 4}


def test_requests_are_counted_by_route_and_nothing_that_a_client_made_up_is_a_label(
    client: FlaskClient, system: FakeSystem
) -> None:
    task = system.add()
    client.get(f"/api/tasks/{task.id}")
    client.get("/api/tasks/unknown")
    client.get("/invented/address")
    client.open("/api/tasks", method="INVENTED")
    text = client.get("/metrics").text
    assert task.id not in text
    assert "invented" not in text.lower()
    values = read(client)
    requests = values["whisper_http_requests_total"]
    assert requests["GET", "/api/tasks/<id>", "200"] == 1
    assert requests["GET", "/api/tasks/<id>", "404"] == 1
    assert requests["GET", "other", "404"] == 1
    assert requests["GET", "/metrics", "200"] == 1
    assert values["whisper_http_request_seconds_count"]["GET", "/api/tasks/<id>"] == 2


@pytest.mark.usefixtures("device")
def test_the_dashboard_asks_only_for_what_is_told(client: FlaskClient, system: FakeSystem) -> None:
    system.monitor.add_audio(30.0, "base", "cpu")
    client.get("/healthz")
    told = set(read(client))
    text = DASHBOARD.read_text()
    queries = [target["expr"] for panel in json.loads(text)["panels"] for target in panel["targets"]]
    assert all(set(re.findall(r"\bwhisper_\w+", query)) for query in queries)
    assert set(re.findall(r"\bwhisper_\w+", text)) - told == set()
