"""The examples of docs/extending.md, installed and at work; and what becomes of extensions that cannot be used."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from math import ceil
from pathlib import Path

import pytest

from config import Settings, load_settings
from errors import InvalidOptionError, InvalidSettingsError, StartError
from optimizer.common.clock import SystemClock
from optimizer.devices.factory import DeviceFactory
from optimizer.memory.estimator import MemoryEstimationPool
from optimizer.monitoring.figures import ExtraFigure
from optimizer.system import OptimizedWhisperSystem
from optimizer.tasks.task import TaskStatus
from tests.examples import EXTENSIONS, install, install_extensions
from tests.paths import MINUTE, ROOT, SHORT
from tests.system.conftest import (
    HOLD,
    PARALLEL_FAKE_ENGINE,
    ROOMY,
    Open,
    Submit,
    Watcher,
    pretend_weights,
    wait_running,
)
from tests.system.test_scheduling import order_of_starts
from whisper_core.common.extensions import Seam
from whisper_core.worker.engine_spec import EngineSpec

DOCUMENT = ROOT / "docs" / "extending.md"


@pytest.fixture
def examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_extensions(tmp_path / "examples", monkeypatch)


def in_order_of(open_system: Open, submit: Submit, policy: str) -> list[str]:
    """Which starts first, of a long recording and a short one that came after it."""
    one_place = partial(open_system, fake_engine=PARALLEL_FAKE_ENGINE, devices=[ROOMY], max_concurrent_tasks_limit=1)
    with one_place(scheduling_policy=policy) as system:
        watcher = Watcher(system)
        holder = submit(system, SHORT, knobs=HOLD)
        wait_running(watcher, 1)
        names = {submit(system, MINUTE): "long", submit(system, SHORT): "short"}
        system.cancel(holder)
        for each in names:
            watcher.wait_for(each, TaskStatus.COMPLETED)
        return [names[each] for each in order_of_starts(system) if each in names]


def test_first_come_first_served_can_be_chosen(open_system: Open, submit: Submit) -> None:
    assert in_order_of(open_system, submit, "fcfs") == ["long", "short"]


@pytest.mark.usefixtures("examples")
def test_the_example_of_a_policy_decides(open_system: Open, submit: Submit) -> None:
    assert in_order_of(open_system, submit, "shortest-first") == ["short", "long"]


def test_a_policy_that_always_fails_takes_no_task_down(open_system: Open, submit: Submit) -> None:
    assert in_order_of(open_system, submit, "tests.system.test_extensions:failing_policy") == ["short", "long"]


@pytest.mark.usefixtures("examples")
def test_the_example_of_a_metric_is_a_line_and_a_plot(open_system: Open, submit: Submit) -> None:
    names = "failed-share, tests.system.test_extensions:failing_policy"
    with open_system(extra_metrics=names) as system:
        watcher = Watcher(system)
        watcher.wait_for(submit(system, SHORT), TaskStatus.COMPLETED)
        watcher.wait_for(submit(system, SHORT, knobs="fail=bad_record"), TaskStatus.FAILED)
        system._monitoring.extra.read_all(system.figures())
        system._tick()
        figures, history = system.figures().extra, system.history(1)
    assert figures == [ExtraFigure("failed_share", "Failed tasks", 50.0)]
    assert history["samples"][-1]["extra"] == {"failed_share": 50.0}
    assert history["extra_metrics"][0] == {"name": "failed_share", "title": "Failed tasks", "unit": "%"}


def failing_policy(_: object) -> None:
    raise RuntimeError("never works")


@pytest.mark.usefixtures("examples")
def test_the_example_of_an_engine_transcribes_and_has_its_memory_promised(
    make_settings: Callable[..., Settings], submit: Submit
) -> None:
    settings = make_settings(engine="loudness", default_model="tiny.en")
    pretend_weights(settings.models_dir)
    with running(OptimizedWhisperSystem(settings, devices=[ROOMY])) as system:
        watcher = Watcher(system)
        task_id = submit(system, MINUTE)
        task = watcher.wait_for(task_id, TaskStatus.COMPLETED)
        transcript, _ = system.transcript(task_id)
        (model,) = [each for each in system.models()["models"] if each["name"] == "tiny.en"]
        with pytest.raises(InvalidOptionError, match="no int8 models, because ENGINE is loudness"):
            submit(system, SHORT, model="tiny.en-int8")
    assert task.estimated_bytes == ceil(1.2 * (5_000_000 + (task.audio_seconds or 0) * 32_000))
    assert [(each.id, each.start) for each in transcript.segments] == [(0, 0.0), (1, 30.0), (2, 60.0)]
    assert all(re.fullmatch(r" At most [1-9]\d? %\.", each.text) for each in transcript.segments)
    assert model["memory_bytes"] < 3_000_000


@pytest.mark.slow
def test_an_engine_that_cannot_be_made_leaves_the_tasks_waiting_and_is_named(
    make_settings: Callable[..., Settings], submit: Submit
) -> None:
    settings = make_settings(engine="tests.system.test_extensions:BROKEN", default_model="tiny.en")
    pretend_weights(settings.models_dir)
    with running(OptimizedWhisperSystem(settings, devices=[ROOMY])) as system:
        watcher = Watcher(system)
        task_id = submit(system, SHORT)
        watcher.wait_until(lambda: any(each.data["state"] == "exited" for each in system.events("device")), "its end")
        assert "no device is ready" in system.readiness()
        assert system.task(task_id).task.status is TaskStatus.PENDING


BROKEN = EngineSpec("math:sqrt")  # which raises when it is called as a factory is


@contextmanager
def running(system: OptimizedWhisperSystem) -> Iterator[OptimizedWhisperSystem]:
    system.start()
    try:
        yield system
    finally:
        system.stop()


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (7, "it is no EngineSpec"),
        (EngineSpec("no_colon"), "is not written as module:callable"),
        (EngineSpec("there_is.none:Engine"), "the package there_is is not installed"),
        (replace(BROKEN, requires=("there_is.none",)), "the package there_is is not installed"),
    ],
)
def test_an_engine_that_cannot_be_used_stops_the_start_and_is_named(
    spec: object, reason: str, monkeypatch: pytest.MonkeyPatch, make_settings: Callable[..., Settings]
) -> None:
    monkeypatch.setitem(globals(), "SOME_ENGINE", spec)
    settings = make_settings(engine=f"{__name__}:SOME_ENGINE")
    with pytest.raises(InvalidSettingsError, match=f"ENGINE = .* cannot be used: .*{reason}"):
        OptimizedWhisperSystem(settings)


def test_an_engine_for_cpus_refuses_cards(make_settings: Callable[..., Settings]) -> None:
    for_cpus = replace(BROKEN, is_for_cpus_only=True)
    estimates, clock = MemoryEstimationPool(1.2), SystemClock()
    (device,), _ = DeviceFactory(make_settings(devices="auto"), clock, estimates, for_cpus).discover()
    assert device.kind == "cpu"
    with pytest.raises(StartError, match="ENGINE=batch computes on the CPU only"):
        DeviceFactory(make_settings(devices="cuda:0"), clock, estimates, for_cpus).discover()


# --- what the settings name ------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("examples")
def test_a_setting_that_names_nothing_lists_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCHEDULING_POLICY", "nothing")
    monkeypatch.setenv("EXTRA_METRICS", "failed-share,missing")
    with pytest.raises(InvalidSettingsError) as raised:
        load_settings(None)
    message = str(raised.value)
    assert "SCHEDULING_POLICY = 'nothing': must be fair, fcfs, shortest-first, which is installed" in message
    assert "names missing, which is not installed (installed: failed-share)" in message


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import there_is_no_such_module", "ModuleNotFoundError: No module named 'there_is_no_such_module'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("", "AttributeError: "),
        ("thing = 7", "it is neither a SchedulingPolicy nor"),
        ("class thing: pass", "it is neither a SchedulingPolicy nor"),
    ],
)
def test_an_extension_that_cannot_be_loaded_stops_the_start_and_is_named(
    code: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_settings: Callable[..., Settings]
) -> None:
    module = f"bad_extension_{abs(hash((code, reason)))}"
    (tmp_path / f"{module}.py").write_text(code)
    install(tmp_path, monkeypatch, "bad", {Seam.POLICY.value: {"bad": f"{module}:thing"}})
    with pytest.raises(InvalidSettingsError, match=f"SCHEDULING_POLICY = 'bad' cannot be used.*{re.escape(reason)}"):
        OptimizedWhisperSystem(make_settings(scheduling_policy="bad"))


@pytest.mark.slow
def test_pip_installs_the_examples(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    shutil.copytree(EXTENSIONS, source)  # the build writes beside it
    pip = [sys.executable, "-m", "pip", "install", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(target), str(source)], check=True, capture_output=True, timeout=120)
    code = (
        "from optimizer.planning.policies import policy_named\n"
        "print(policy_named('shortest-first').decide.__code__.co_filename)"
    )
    environment = {**os.environ, "PYTHONPATH": str(target)}
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, check=True, capture_output=True, text=True, timeout=60
    )
    assert Path(found.stdout.strip()) == target / "example_policy.py"


# --- the document ----------------------------------------------------------------------------------------------------


def test_the_document_shows_the_examples_as_they_are() -> None:
    blocks = set(re.findall(r"^```(?:python|toml)\n(.*?)^```$", DOCUMENT.read_text(), re.M | re.S))
    files = {path.name for path in EXTENSIONS.iterdir() if path.suffix in {".py", ".toml"}}
    assert {name for name in files if (EXTENSIONS / name).read_text() not in blocks} == set()
