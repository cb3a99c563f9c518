"""Webhooks of the real server."""

from __future__ import annotations

from functools import partial

import pytest

from tests.optimizer.automation.receivers import Receiver, receiving
from tests.paths import SHORT
from tests.server.client import Client
from tests.server.conftest import StartServer

ON = {"ENABLE_WEBHOOKS": "True", "WEBHOOK_ALLOW_PRIVATE": "True"}


@pytest.mark.proves("F49")
def test_a_webhook_is_sent_after_a_kill_between_the_task_s_end_and_its_sending(
    start_server: StartServer,
) -> None:
    with receiving(Receiver()) as receiver:
        for step, before in (("webhook.before_send", 0), ("webhook.sent", 1)):
            receiver.got.clear()
            with start_server(FAULTS=f"{step}@1=kill", **ON) as server:
                task_id = Client(server).upload(SHORT, callback_url=receiver.url + "?token=s3cret")["id"]
                assert server.wait() == -9
                assert "s3cret" not in "".join(server.lines)
            assert len(receiver.got) == before
            with start_server(**ON) as server:
                client = Client(server)
                receiver.wait_for(before + 1)
                client.wait_until(partial(is_delivered, client, task_id), "the delivery")
                (delivery,) = deliveries(client, task_id)
                assert {headers["webhook-id"] for headers, _ in receiver.got} == {delivery["id"]}
                client.delete(task_id)
                assert deliveries(client, task_id) == []


def deliveries(client: Client, task_id: str) -> list[dict[str, object]]:
    found = client.get("/api/webhooks/callbacks/deliveries").json()["deliveries"]
    return [delivery for delivery in found if delivery["task_id"] == task_id]


def is_delivered(client: Client, task_id: str) -> bool:
    return [delivery["status"] for delivery in deliveries(client, task_id)] == ["delivered"]
