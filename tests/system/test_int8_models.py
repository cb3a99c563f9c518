"""Int8 models through a whole system: on CPUs only, from the same file, and only with the engine that can pack them."""

from __future__ import annotations

import pytest

from errors import IdempotencyMismatchError, InvalidOptionError
from optimizer.devices.discovery import DeviceSpec
from optimizer.devices.status import DeviceState
from optimizer.tasks.task import TaskFilter, TaskStatus
from tests.paths import MINUTE, SHORT
from tests.system.conftest import ROOMY, Open, Submit, Watcher, device_at, statuses_of

CARD = DeviceSpec("cuda:0", "cuda", "a card", 100 * 10**9)


def test_a_task_of_an_int8_model_is_one_for_the_cpu(open_parallel: Open, submit: Submit) -> None:
    with open_parallel(devices=[ROOMY, CARD]) as system:
        watcher = Watcher(system)
        tasks = [watcher.wait_for(submit(system, SHORT, model="base-int8"), TaskStatus.COMPLETED) for _ in range(3)]
        assert {(task.options.model, task.requested_device, task.device) for task in tasks} == {
            ("base-int8", "cpu", "cpu")
        }


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_where_there_are_only_cards_the_cpu_is_started_for_an_int8_model(
    open_parallel: Open, submit: Submit, device: str
) -> None:
    with open_parallel(devices=[CARD]) as system:
        watcher = Watcher(system)
        packed = submit(system, SHORT, model="tiny.en-int8", device=device)
        assert watcher.wait_for(packed, TaskStatus.COMPLETED).device == "cpu"
        assert system.device_names() == ["cuda:0", "cpu"]
        published = submit(system, SHORT, model="tiny.en")
        assert watcher.wait_for(published, TaskStatus.COMPLETED).device == "cuda:0"


def test_a_card_is_refused_for_an_int8_model_and_nothing_is_kept(open_parallel: Open, submit: Submit) -> None:
    with open_parallel(devices=[CARD]) as system:
        with pytest.raises(
            InvalidOptionError, match=r"base-int8 runs on CPUs only.*Choose the model base for a GPU"
        ) as e:
            submit(system, SHORT, model="base-int8", device="cuda:0", key="k")
        assert e.value.field == "device"
        assert system.tasks(TaskFilter())[0] == []
        assert [path for path in system.settings.data_dir.glob("*/*") if path.suffix in ("", ".part")] == []


def test_both_models_of_a_file_run_side_by_side(open_parallel: Open, submit: Submit) -> None:
    with open_parallel() as system:
        watcher = Watcher(system)
        ids = [submit(system, SHORT, model=model, device="cpu") for model in ("base", "base-int8")]
        for task_id in ids:
            watcher.wait_for(task_id, TaskStatus.COMPLETED)
        assert sorted(statuses_of(system)[0].resident_models) == ["base", "base-int8"]


def test_the_same_key_gives_the_same_task_also_when_the_model_is_refused_by_now(
    open_parallel: Open, submit: Submit
) -> None:
    with open_parallel(devices=[CARD]) as system:
        watcher = Watcher(system)
        first = submit(system, SHORT, model="base-int8", key="k")
        watcher.wait_for(first, TaskStatus.COMPLETED)
        assert submit(system, SHORT, model="base-int8", key="k") == first

        device_at(system, 1).supervisor.state = DeviceState.UNAVAILABLE
        with pytest.raises(InvalidOptionError, match="cannot use its CPU as a device") as e:
            submit(system, SHORT, model="base-int8")
        assert e.value.field == "device"
        assert submit(system, SHORT, model="base-int8", key="k") == first
        with pytest.raises(IdempotencyMismatchError):
            submit(system, SHORT, model="tiny.en-int8", key="k")
        assert [view.task.id for view in system.tasks(TaskFilter())[0]] == [first]

    with open_parallel(engine="reference") as system:
        assert submit(system, SHORT, model="base-int8", key="k") == first


def test_a_task_of_an_int8_model_can_be_tried_again(open_parallel: Open, submit: Submit) -> None:
    with open_parallel(devices=[CARD]) as system:
        watcher = Watcher(system)
        task_id = submit(system, SHORT, model="base-int8", knobs="endless window_s=0.02")
        watcher.wait_for_a_window(task_id)
        system.cancel(task_id)
        watcher.wait_until(lambda: device_at(system, 1).status().audio_left == (), "the CPU to be free")
        system.retry(task_id)
        watcher.wait_for_a_window(task_id)
        assert system.task(task_id).task.device == "cpu"
        system.cancel(task_id)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [({"engine": "reference"}, "ENGINE is reference"),
     ({"enable_optimization_system": False}, "ENABLE_OPTIMIZATION_SYSTEM is False")],
)  # fmt: skip
def test_openai_whispers_functions_have_no_int8_models(
    open_system: Open, submit: Submit, settings: dict[str, object], reason: str
) -> None:
    with open_system(**settings) as system:
        offered = [model["name"] for model in system.models()["models"]]
        assert "base" in offered
        assert [name for name in offered if "int8" in name] == []
        with pytest.raises(InvalidOptionError, match=f"no int8 models, because {reason}. Choose the model base") as e:
            submit(system, SHORT, model="base-int8")
        assert e.value.field == "model"


def test_a_task_of_an_int8_model_runs_all_the_same_after_a_restart_with_another_engine(
    open_system: Open, submit: Submit
) -> None:
    with open_system() as system:
        task_id = submit(system, SHORT, model="base-int8", knobs="endless window_s=0.02")
        Watcher(system).wait_for_a_window(task_id)
    with open_system(engine="reference") as system:
        assert Watcher(system).wait_for(task_id, TaskStatus.PROCESSING).attempt == 2
        system.cancel(task_id)


def test_the_models_say_where_they_run_how_fast_they_are_and_how_exact(open_parallel: Open, submit: Submit) -> None:
    with open_parallel(devices=[CARD]) as system:
        Watcher(system).wait_for(submit(system, MINUTE, model="base", knobs="window_s=0.2"), TaskStatus.COMPLETED)
        models = {model["name"]: model for model in system.models()["models"]}
    base, packed, small = models["base"], models["base-int8"], models["small"]
    assert list(models)[:4] == ["tiny.en", "tiny.en-int8", "tiny", "tiny-int8"]
    assert [(each["precision"], each["weights"], each["device_kinds"]) for each in (base, packed)] == [
        ("default", "base", ["cpu", "cuda"]),
        ("int8", "base", ["cpu"]),
    ]
    assert base["speed"] > 0
    assert (packed["speed"], small["speed"]) == (None, None)
    assert (base["word_error_rate"], models["tiny.en"]["word_error_rate"], small["word_error_rate"]) == (
        0.0406, 0.1227, None,
    )  # fmt: skip
    assert packed["size_bytes"] == base["size_bytes"]
    assert packed["is_available"]
    assert packed["memory_bytes"] != base["memory_bytes"]  # on the CPU, not on the first device


def test_the_default_may_be_an_int8_model(open_parallel: Open) -> None:
    with open_parallel(default_model="base-int8") as system:
        assert system.models()["default"] == "base-int8"
