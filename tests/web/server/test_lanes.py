"""Requests of one lane wait for each other only, and one address cannot have all of a lane."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import wait

import pytest

from web.server.lanes import Lanes, LaneSize
from web.server.request_head import Lane

LIMIT_S = 60.0


@pytest.fixture
def lanes() -> Iterator[Lanes]:
    made = Lanes({lane: LaneSize(threads=1, max_requests=4) for lane in Lane})
    yield made
    made.shut_down()


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Requests wait for it, and it is opened in the end."""
    event = threading.Event()
    yield event
    event.set()


def test_a_full_lane_refuses_and_the_others_go_on(lanes: Lanes, gate: threading.Event) -> None:
    held = [lanes.try_submit(Lane.UPLOAD, None, gate.wait) for _ in range(4)]
    assert None not in held
    assert lanes.try_submit(Lane.UPLOAD, None, gate.wait) is None
    read = lanes.try_submit(Lane.READ, None, threading.get_ident)
    assert read is not None
    assert read.result(LIMIT_S) != threading.get_ident()
    gate.set()
    wait([future for future in held if future is not None], LIMIT_S)


def test_one_address_gets_half_of_a_lane_that_clients_hold(lanes: Lanes, gate: threading.Event) -> None:
    for _ in range(2):
        assert lanes.try_submit(Lane.DOWNLOAD, "192.0.2.1", gate.wait) is not None
    assert lanes.try_submit(Lane.DOWNLOAD, "192.0.2.1", gate.wait) is None
    assert lanes.try_submit(Lane.DOWNLOAD, "192.0.2.2", gate.wait) is not None
    lanes.forget(Lane.DOWNLOAD, "192.0.2.1")
    assert lanes.try_submit(Lane.DOWNLOAD, "192.0.2.1", gate.wait) is not None


def test_reads_of_one_address_have_no_share(lanes: Lanes, gate: threading.Event) -> None:
    assert all(lanes.try_submit(Lane.READ, "192.0.2.1", gate.wait) is not None for _ in range(4))
