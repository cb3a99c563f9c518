"""Speakers on a real server: from the upload to the subtitles, through a power cut in between, and once more."""

from __future__ import annotations

from pathlib import Path

import pytest
import requests

from tests.paths import MINUTE
from tests.server.client import REQUEST_LIMIT_S, Client
from tests.server.conftest import StartServer
from tests.server.test_kills import kill_all

pytestmark = pytest.mark.server


def test_after_a_power_cut_the_text_is_still_there_and_its_speakers_are_looked_for_again(
    start_server: StartServer, tmp_path: Path
) -> None:
    released = tmp_path / "released"
    with start_server() as server:
        client = Client(server)
        prompt = f"speakers_hold_until={released}"
        task_id = client.upload(MINUTE, initial_prompt=prompt, speakers="true", num_speakers="2")["id"]
        client.wait_until(lambda: client.task(task_id)["speakers_progress"] is not None, "looking for speakers")
        windows = client.task(task_id)["windows_done"]
        kill_all(server)
    released.touch()
    with start_server() as server:
        client = Client(server)
        task = client.wait_for(task_id, "completed")
        assert (task["windows_done"], task["warnings"]) == (windows, [])
        transcript = client.get(f"/api/tasks/{task_id}/transcript").json()
        assert transcript["speakers"] == {"S1": None, "S2": None}
        assert [segment["speaker"] for segment in transcript["segments"][:2]] == ["S1", "S2"]
        subtitles = client.get(f"/api/tasks/{task_id}/transcript", format="vtt").text
        assert "<v Speaker 1>" in subtitles

        address = f"{client.address}/api/tasks/{task_id}/speakers"
        again = requests.post(address, json={"num_speakers": 1}, timeout=REQUEST_LIMIT_S).json()["task"]["id"]
        client.wait_until(lambda: client.get(f"/api/tasks/{again}").status_code == 404, "the speakers once more")
        assert client.transcript(task_id)["speakers"] == {"S1": None}
        assert [step["number"] for step in client.get(f"/api/tasks/{task_id}/edits").json()["edits"]] == [2, 1]
