"""What the log of a server at work tells: every task by its id, and nothing that a person said or keeps secret."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import requests

from tests.paths import SHORT
from tests.server.client import Client
from tests.server.conftest import StartServer

pytestmark = pytest.mark.server

SECRETS = {
    "file name": "salary-4711",
    "prompt": "prompt-0815",
    "text": "spoken-1138",
    "key": "idempotency-2001",
    "cookie": "1984c00c1e1984c00c1e1984c00c1e19",
    "token": "token-0451",
    "search": "search-2049",
    "path": "path-1701",
}
LINE = re.compile(
    r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} \[(DEBUG|INFO|WARNING|ERROR|CRITICAL)\] |  \| )[^\x00-\x1f]*\n"
)


def requests_with_secrets(client: Client) -> Iterator[str]:
    """Every kind of request that carries something private; the ids of the tasks that come of it."""
    headers = {
        "Cookie": f"owner={SECRETS['cookie']}",
        "Authorization": f"Bearer {SECRETS['token']}",
        "Idempotency-Key": SECRETS["key"],
    }
    names = (f"{SECRETS['file name']}.flac", f"{SECRETS['file name']}\n2026-11-24 12:00:00,000 [ERROR] forged.flac")
    prompts = (f"{SECRETS['prompt']} text={quote(SECRETS['text'])}", f"{SECRETS['prompt']} fail=engine_error")
    for name, prompt in zip(names, prompts, strict=True):
        answer = requests.post(
            f"{client.address}/api/tasks",
            files={"file": (name, SHORT.read_bytes())},
            data={"initial_prompt": prompt},
            headers=headers,
            timeout=30,
        )
        assert answer.status_code == 202, answer.text
        headers["Idempotency-Key"] += "-too"
        yield answer.json()["task"]["id"]
    refused = requests.post(
        f"{client.address}/api/tasks", files={"file": (names[0], b"no sound")}, headers=headers, timeout=30
    )
    assert refused.status_code == 415
    assert client.get("/api/tasks", q=SECRETS["search"]).status_code == 200
    assert client.get(f"/api/tasks/{SECRETS['path']}%0a[ERROR] forged").status_code == 404


@pytest.mark.proves("S27")
def test_the_log_names_tasks_by_their_ids_and_repeats_nothing_private(
    start_server: StartServer, tmp_path: Path
) -> None:
    with start_server(MAX_TASK_RETRIES="0", LOG_LEVEL="INFO") as server:
        client = Client(server)
        completed, failed = requests_with_secrets(client)
        client.wait_for(completed, "completed")
        client.wait_for(failed, "failed")
        assert SECRETS["text"] in client.transcript(completed)["text"]
        shown = client.get("/api/system/log", limit="1000").text
    log = "".join(server.lines)
    assert completed in log
    assert failed in log
    for kind, secret in SECRETS.items():
        assert (kind, secret in log, secret in shown) == (kind, False, False)
    assert str(tmp_path) not in shown
    assert [line for line in server.lines if not LINE.fullmatch(line)] == []
    assert [line for line in server.lines if "forged" in line] == []
