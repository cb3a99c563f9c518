"""DEVICES=none: a server that leaves all work to the nodes of a cluster uses nothing of its own machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from config import Settings
from optimizer.devices.engines import BATCH, engine_named
from optimizer.devices.factory import DeviceFactory
from optimizer.devices.fleet import DeviceFleet
from optimizer.memory.estimator import MemoryEstimationPool
from tests.optimizer.fakes import FakeClock
from whisper_core.worker.engine_spec import EngineSpec


@pytest.mark.parametrize("engine", [BATCH, engine_named("ctranslate2")])
def test_no_device_is_made_not_even_as_a_stand_in(make_settings: Callable[..., Settings], engine: EngineSpec) -> None:
    settings = make_settings(devices="none", executor="ray", ray_address="127.0.0.1:6379")
    fleet = DeviceFleet(DeviceFactory(settings, FakeClock(), MemoryEstimationPool(1.2), engine))
    specs, problem = fleet.discover()
    assert (list(specs), problem) == ([], None)
    fleet.open(specs, cast(Any, None), is_optimized=True)
    fleet.fall_back_to_cpu()
    assert (list(fleet), fleet.may_use_cpu()) == ([], False)
