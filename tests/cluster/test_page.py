"""The page in a real Chromium against a server that has no device of its own: the nodes of a cluster do its work.

The journeys are those of tests/browser, as they stand there; only the server is another one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Page, expect

from tests.browser.conftest import browser, page
from tests.browser.test_page import (
    test_a_click_and_enter_on_a_segment_s_button_move_the_player,
    test_a_task_can_be_cancelled_begun_anew_and_deleted,
    test_three_recordings_show_their_text_while_it_comes_and_end_completed,
)
from tests.browser.uploading import task, upload_and_wait
from tests.cluster.rig import TOKEN, ray_cluster
from tests.leaks import children, outliving_tests
from tests.server.client import REQUEST_LIMIT_S
from tests.server.conftest import server_in

pytestmark = [pytest.mark.browser, pytest.mark.models]

__all__ = [
    "browser",
    "page",
    "test_a_click_and_enter_on_a_segment_s_button_move_the_player",
    "test_a_task_can_be_cancelled_begun_anew_and_deleted",
    "test_three_recordings_show_their_text_while_it_comes_and_end_completed",
]


@pytest.fixture(scope="module")
def live_server(tmp_path_factory: pytest.TempPathFactory, models_dir: Path) -> Iterator[str]:
    """The address of the real program with tiny.en on two nodes."""
    before = children()
    with ray_cluster(tmp_path_factory.mktemp("nodes"), "one", "two", MODELS_DIR=str(models_dir)) as cluster:
        settings = {
            "EXECUTOR": "ray",
            "RAY_ADDRESS": cluster.address,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": TOKEN,
            "DEVICES": "none",
            "MODELS_DIR": str(models_dir),
            "PERFORMANCE_MONITOR_INTERVAL": "2",
        }
        with (
            outliving_tests(*(children() - before)),
            server_in(tmp_path_factory.mktemp("live"), "main", **settings) as server,
            server.outliving_tests(),
        ):
            yield server.address


def test_what_the_page_shows_was_computed_on_the_nodes(page: Page, live_server: str) -> None:
    upload_and_wait(page, "where.flac")
    expect(task(page, "where.flac")).to_be_visible()
    system, tasks = (
        requests.get(f"{live_server}/api/{what}", timeout=REQUEST_LIMIT_S).json() for what in ("system", "tasks")
    )
    assert {device["name"] for device in system["devices"]} == {"one-cpu", "two-cpu"}
    completed = [each for each in tasks["tasks"] if each["status"] == "completed"]
    assert completed
    assert {each["device"] for each in completed} <= {"one-cpu", "two-cpu"}
