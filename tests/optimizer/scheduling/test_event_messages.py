"""What the event log says of a model that takes more memory than was reserved for it."""

from __future__ import annotations

import pytest

from optimizer.devices.residency import ModelShortfall
from optimizer.monitoring.event_log import EventLog
from optimizer.scheduling.event_messages import EventMessages
from tests.optimizer.queue.helpers import Queue
from tests.optimizer.scheduling.rig import Rig
from whisper_core.worker import messages as protocol

GB = 10**9


@pytest.mark.parametrize(
    ("was_raised", "step", "says"),
    [
        (True, "reservation_raised", "Its reservation was raised to 1.5 GB."),
        (False, "reservation_too_small", "There is no room to raise its reservation to 1.5 GB."),
    ],
)
def test_a_shortfall_is_a_memory_event(queue: Queue, was_raised: bool, step: str, says: str) -> None:
    event_log = EventLog(queue.store.database, queue.clock)
    EventMessages(event_log).tell_shortfall(ModelShortfall("cuda:0", "base", GB, 3 * GB // 2, was_raised))
    (event,) = event_log.events()
    assert (event.kind, event.text) == (
        "memory", f"base takes more memory on cuda:0 than was reserved for it. {says}",
    )  # fmt: skip
    assert event.data == {
        "step": step, "model": "base", "device": "cuda:0", "reserved_bytes": GB, "needed_bytes": 3 * GB // 2,
    }  # fmt: skip


def test_a_model_that_turns_out_larger_when_it_is_loaded_is_told_of(rig: Rig) -> None:
    rig.submit("T1")
    load = rig.worker().expect(protocol.LoadModel)
    rig.worker().report(protocol.ModelLoaded(load.model, weights_bytes=10 * GB, seconds=1.0))
    rig.settle()
    (event,) = rig.event_log.events("memory")
    assert (event.data["step"], event.data["needed_bytes"] > 10 * GB) == ("reservation_raised", True)
