"""Alice, Mallory and the admin, on every route and at every event of the live feed: each sees their own, the admin all.

A route or an event that is in neither table makes these tests fail.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import websocket
from flask.testing import FlaskClient

from optimizer.accounts.live_keys import CACHE_LASTS_S
from optimizer.monitoring.event_log import SystemEvent
from optimizer.tasks.task import Task, TaskStatus
from tests.web.access.conftest import Site, key_of
from tests.web.conftest import served
from tests.web.live_client import LiveClient, text_from
from tests.web.requests import RECORDING, error_of, send
from tests.web.tasks.tus_client import TusClient
from web.application import live_feed_of
from web.live.broadcaster import IDLE_ROUND_S
from web.live.members import CHECK_EVERY_S, room_of_owner
from whisper_core.editing.edits import SetText

SECRET_NAME = "alices-salary-talk.flac"

# What belongs to a task: a stranger gets 404, the owner and the admin do not.
OF_A_TASK = {
    "GET /api/tasks/<id>",
    "GET /api/tasks/<id>/timeline",
    "GET /api/tasks/<id>/transcript",
    "GET /api/tasks/<id>/media",
    "GET /api/tasks/<id>/waveform",
    "PATCH /api/tasks/<id>",
    "POST /api/tasks/<id>/cancel",
    "POST /api/tasks/<id>/retry",
    "POST /api/tasks/<id>/track",
    "POST /api/tasks/<id>/again",
    "POST /api/tasks/<id>/speakers",
    "DELETE /api/tasks/<id>",
    "GET /api/tasks/<id>/shares",
    "POST /api/tasks/<id>/shares",
    "POST /api/transcripts.zip",
    "GET /api/tasks/<id>/edits",
    "POST /api/tasks/<id>/edits",
    "POST /api/tasks/<id>/edits/undo",
    "POST /api/tasks/<id>/edits/redo",
    "POST /api/tasks/<id>/edits/retranscribe",
}
# What tells of many tasks: of one's own only.
OF_MANY = {
    "GET /api/tasks",
    "GET /api/batches",
    "GET /api/transcripts.zip",
    "GET /api/system",
    "GET /api/system/storage",
    "GET /api/system/events",
}
OF_BATCHES = {"DELETE /api/batches/<id>", "POST /api/tasks/cancel"}
# What belongs to an unfinished upload: a stranger gets 404, as after its end.
OF_AN_UPLOAD = {
    "HEAD /api/uploads/<upload_id>",
    "PATCH /api/uploads/<upload_id>",
    "DELETE /api/uploads/<upload_id>",
    "POST /api/uploads/<upload_id>",
}
# What belongs to a link; see test_shared.py. Whoever has its token gets to what it shows.
OF_A_SHARE = {
    "DELETE /api/tasks/<id>/shares/<share_id>",
    "GET /s/<token>",
    "GET /s/<token>/transcript",
    "GET /s/<token>/media",
}
# What belongs to a webhook: a stranger gets 404, the owner and the admin do not.
OF_A_WEBHOOK = {
    "GET /api/webhooks/<id>/deliveries",
    "POST /api/webhooks/<id>/test",
    "DELETE /api/webhooks/<id>",
}
OF_WEBHOOKS = {"GET /api/webhooks", "POST /api/webhooks", "GET /api/webhooks/callbacks/secret"}
FOR_ADMINS = {"PATCH /api/system", "POST /api/models/<name>/fetch", "GET /api/system/log", "GET /metrics"}
OF_NOBODY = {
    "GET /",
    "GET /login",
    "POST /login",
    "POST /logout",
    "GET /healthz",
    "GET /readyz",
    "POST /api/tasks",
    "POST /api/uploads",
    "GET /api/models",
    "GET /api/system/history",
    "GET /static/<path:filename>",
    "POST /v1/audio/transcriptions",
    "POST /v1/audio/translations",
    "GET /v1/models",
    "GET /v1/models/<path:model>",
    "POST /asr",
    "POST /detect-language",
    "POST /inference",
}
DESCRIPTION = "/openapi"  # of the API, the same for all
COMMANDS = {"watch", "unwatch"}
BODIES: dict[str, Callable[[str], dict[str, Any]]] = {
    "POST /api/tasks/<id>/shares": lambda _: {"days": 7},
    "PATCH /api/tasks/<id>": lambda _: {"priority": "high"},
    "POST /api/tasks/<id>/track": lambda _: {"track": 2},
    "POST /api/tasks/<id>/again": lambda _: {"options": {"task": "translate"}},
    "POST /api/tasks/<id>/speakers": lambda _: {"num_speakers": 2},
    "PATCH /api/system": lambda _: {"max_batch_size": 2},
    "POST /api/transcripts.zip": lambda task_id: {"ids": [task_id]},
    "POST /api/tasks/<id>/edits": lambda _: {"base": 0, "edits": [{"kind": "set_text", "segment": 0, "text": "Hi."}]},
    "POST /api/tasks/<id>/edits/undo": lambda _: {"base": 1},
    "POST /api/tasks/<id>/edits/redo": lambda _: {"base": 2},
    "POST /api/tasks/<id>/edits/retranscribe": lambda _: {"base": 0, "segments": [0], "model": "base"},
}


def operations(site: Site) -> set[str]:
    return {
        f"{method} {rule.rule}"
        for rule in site.app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"OPTIONS", "HEAD" if "GET" in (rule.methods or set()) else ""}
        if not rule.rule.startswith(DESCRIPTION)
    }


def call(client: FlaskClient, operation: str, task_id: str = "x") -> Any:
    method, _, rule = operation.partition(" ")
    address = rule.replace("<id>", task_id).replace("<name>", "base")
    body = BODIES.get(operation)
    return client.open(address, method=method, json=body and body(task_id))


def a_task_of_alice(site: Site, operation: str) -> Task:
    """In a state in which the call can be made."""
    if operation.endswith("/batches"):
        made = send(
            site.by_key("alice"), b"fLaC salaries", SECRET_NAME, batch=f"of-{SECRET_NAME}", batch_name="Salaries"
        )
        return site.system.task(made.get_json()["task"]["id"]).task
    task = site.system.add(SECRET_NAME, owner="alice")
    if operation.endswith(("/transcript", "/media", "/shares", "/transcripts.zip", "/speakers")):
        site.system.complete(task.id, " Our salaries.")
    elif operation.endswith("/retry"):
        site.system.fail(task.id, "poison", "Not tried again.")
    elif "/edits" in operation:
        site.system.complete(task.id, " Our salaries.")
        if operation.endswith(("/undo", "/redo")):
            site.system.editor.edit(task.id, 0, [SetText(0, "Our wages.")], "alice")
        if operation.endswith("/redo"):
            site.system.editor.undo(task.id, 1, "alice")
    return task


@dataclass
class Ear:
    """Hears everything that the live feed says to somebody."""

    client: LiveClient
    heard: list[str] = field(default_factory=list)

    def until(self, event: str, containing: str) -> str:
        """The first such event; whatever came before is in `heard` as well."""
        while True:
            packet = text_from(self.client._socket)
            assert packet, "the server closed the connection"
            if packet == "2":
                self.client.send("3")
            self.heard.append(packet)
            if packet.startswith(f'42["{event}"') and containing in packet:
                return packet


@pytest.fixture
def port(site: Site) -> Iterator[int]:
    with served(site.app) as port:
        yield port


def listening(port: int, name: str) -> LiveClient:
    return LiveClient(port, Authorization=f"Bearer {key_of(name)}")


@pytest.mark.proves("S04")
def test_everybody_sees_their_own_and_the_admin_sees_all(site: Site, port: int) -> None:
    known = OF_A_SHARE | OF_A_TASK | OF_MANY | OF_AN_UPLOAD | OF_A_WEBHOOK | OF_WEBHOOKS | OF_BATCHES
    known |= FOR_ADMINS | OF_NOBODY
    assert operations(site) == known
    for operation in sorted(OF_A_TASK):
        check_task_route(site, operation)
    for operation in sorted(OF_MANY):
        check_list_route(site, operation)
    for operation in sorted(FOR_ADMINS):
        assert error_of(call(site.by_key("alice"), operation)) == (403, "forbidden", None), operation
        assert call(site.by_key("admin"), operation).status_code in (200, 202), operation
    check_upload_routes(site)
    check_webhook_routes(site)
    check_batch_routes(site)
    check_moves(site)
    check_live_feed(site, port)


def check_moves(site: Site) -> None:
    hers, own = (site.system.add(owner=name).id for name in ("alice", "mallory"))
    mallory = site.by_key("mallory")
    for task_id, other_id in ((own, hers), (hers, own)):
        for where in ("before", "after"):
            refused = mallory.patch(f"/api/tasks/{task_id}", json={where: other_id})
            assert error_of(refused) == (404, "task_not_found", None)


def check_task_route(site: Site, operation: str) -> None:
    task = a_task_of_alice(site, operation)
    for stranger in (site.by_key("mallory"), site.by_session("mallory")):
        assert error_of(call(stranger, operation, task.id)) == (404, "task_not_found", None), operation
        site.app.extensions["transcription_limits"].logins._buckets.clear()
    assert site.system.task(task.id).task.status is not None
    with call(site.by_key("admin"), operation, task.id) as answer:
        assert answer.status_code < 300, operation
    task = a_task_of_alice(site, operation)
    with call(site.by_key("alice"), operation, task.id) as answer:
        assert answer.status_code < 300, operation
        assert b'"owner"' not in answer.data


def check_webhook_routes(site: Site) -> None:
    alice, mallory, admin = (site.by_key(name) for name in ("alice", "mallory", "admin"))
    made = alice.post("/api/webhooks", json={"url": "https://alice.example/secret"}).get_json()
    webhook_id = made["webhook"]["id"]
    for operation in sorted(OF_A_WEBHOOK):
        assert error_of(call(mallory, operation, webhook_id)) == (404, "webhook_not_found", None), operation
    assert "alice.example" not in mallory.get("/api/webhooks").text
    assert [each["owner"] for each in admin.get("/api/webhooks").get_json()["webhooks"]] == ["alice"]
    assert made["secret"] not in alice.get("/api/webhooks").text
    secrets = {client.get("/api/webhooks/callbacks/secret").get_json()["secret"] for client in (alice, mallory, admin)}
    assert len(secrets) == 3
    assert error_of(mallory.get("/api/webhooks/settings/deliveries"))[0] == 404
    for one in (admin, alice):
        for operation in sorted(OF_A_WEBHOOK - {"DELETE /api/webhooks/<id>"}):
            assert call(one, operation, webhook_id).status_code in (200, 202, 409), operation
    assert call(alice, "DELETE /api/webhooks/<id>", webhook_id).status_code == 204
    kept = admin.get("/api/system/events?kind=audit").text
    assert "webhook_added" in kept
    assert "webhook_removed" in kept
    assert "alice.example" not in kept


def check_batch_routes(site: Site) -> None:
    alice, mallory, admin = (site.by_key(name) for name in ("alice", "mallory", "admin"))
    for operation in sorted(OF_BATCHES):
        for one in (alice, admin):
            hers = send(alice, b"fLaC hers", SECRET_NAME, batch="b1").get_json()["task"]["id"]
            other = send(mallory, b"fLaC own", "mallorys.flac", batch="b2").get_json()["task"]["id"]
            if operation == "DELETE /api/batches/<id>":
                assert error_of(call(mallory, operation, "b1")) == (404, "batch_not_found", None)
                answer = call(one, operation, "b1")
            else:
                assert mallory.post("/api/tasks/cancel", json={"batch": "b1"}).get_json() == {"cancelled": 0}
                assert error_of(mallory.post("/api/tasks/cancel", json={"owner": "alice"}))[:2] == (403, "forbidden")
                answer = one.post("/api/tasks/cancel", json={"batch": "b1"})
            assert answer.get_json() == {"cancelled": 1}
            assert site.system.task(hers).task.status is TaskStatus.CANCELLED
            assert site.system.task(other).task.status is TaskStatus.PENDING
            assert mallory.post("/api/tasks/cancel", json={"all": True}).get_json() == {"cancelled": 1}


def test_an_admin_can_cancel_one_owners_batch_of_an_id_that_several_use(site: Site) -> None:
    alice, mallory, admin = (site.by_key(name) for name in ("alice", "mallory", "admin"))
    hers = send(alice, b"fLaC hers", "a.flac", batch="interviews").get_json()["task"]["id"]
    other = send(mallory, b"fLaC other", "b.flac", batch="interviews").get_json()["task"]["id"]
    for owner in ("alice", "mallory"):
        refused = mallory.delete(f"/api/batches/interviews?owner={owner}")
        assert error_of(refused)[:2] == (403, "forbidden")
    assert error_of(admin.delete("/api/batches/interviews?owner=nobody"))[:2] == (404, "batch_not_found")
    assert admin.delete("/api/batches/interviews?owner=alice").get_json() == {"cancelled": 1}
    states = [site.system.task(task_id).task.status for task_id in (hers, other)]
    assert states == [TaskStatus.CANCELLED, TaskStatus.PENDING]


def check_upload_routes(site: Site) -> None:
    alice, stranger = TusClient(site.by_key("alice")), TusClient(site.by_key("mallory"))
    upload = alice.created(len(RECORDING), filename=SECRET_NAME)
    assert alice.patch(upload, 0, RECORDING[:5]).status_code == 204
    assert stranger.head(upload).status_code == 404
    for refused in (stranger.patch(upload, 5, RECORDING[5:]), stranger.delete(upload), stranger.override(upload)):
        assert error_of(refused)[:2] == (404, "upload_not_found")
    task_id = alice.patch(upload, 5, RECORDING[5:]).headers["Task-Id"]
    assert stranger.head(upload).status_code == stranger.patch(upload, len(RECORDING), b"").status_code == 404
    assert TusClient(site.by_key("admin")).head(upload).headers["Task-Id"] == task_id
    question = f"/api/tasks?sha256={hashlib.sha256(RECORDING).hexdigest()}"
    assert [task["id"] for task in site.by_key("alice").get(question).get_json()["tasks"]] == [task_id]
    for other in ("mallory", "admin"):  # a hint is about one's own files
        assert site.by_key(other).get(question).get_json()["tasks"] == []


def check_list_route(site: Site, operation: str) -> None:
    task = a_task_of_alice(site, operation)
    site.system.on_device = [task]
    site.system.event_log.append(SystemEvent(7, 1.0, "decision", "Started.", {"task_id": task.id}))
    stranger = call(site.by_key("mallory"), operation)
    assert stranger.status_code == 200, operation
    for secret in (SECRET_NAME, SECRET_NAME.removesuffix(".flac"), task.id):
        assert secret.encode() not in stranger.data, operation
    admin = call(site.by_key("admin"), operation)
    own = call(site.by_key("alice"), operation)
    if operation.endswith("/api/tasks"):
        assert stranger.get_json()["counts"]["completed"] == 0
        assert [each["owner"] for each in admin.get_json()["tasks"] if each["id"] == task.id] == ["alice"]
        assert task.id in own.text
    elif operation.endswith("/batches"):
        assert [each["name"] for each in own.get_json()["batches"]] == ["Salaries"]
        assert [each["owner"] for each in admin.get_json()["batches"]] == ["alice"]
    elif operation.endswith("/storage"):
        assert stranger.get_json() | {"free_bytes": 0} == {
            "media_bytes": 0, "texts_bytes": 0, "samples_bytes": 0, "incoming_bytes": None, "database_bytes": None,
            "free_bytes": 0, "owners": [],
        }  # fmt: skip
        assert own.get_json()["media_bytes"] >= task.size_bytes > 0
        assert own.get_json()["owners"] == []
        assert "alice" in {each["owner"] for each in admin.get_json()["owners"]}
    elif operation.endswith(".zip"):
        assert SECRET_NAME.removesuffix(".flac").encode() in own.data
        assert error_of(site.by_key("mallory").get(f"/api/transcripts.zip?ids={task.id}"))[0] == 404
    elif operation.endswith("/system"):
        assert sum(stranger.get_json()["counts"].values()) == 0 < sum(own.get_json()["counts"].values())
        (device,) = stranger.get_json()["devices"]
        assert device["running"] == [device["tasks"][0]["id"]] == [""]  # that something runs is no secret
        assert own.get_json()["devices"][0]["running"] == [task.id]
    else:
        assert task.id in own.text
        assert task.id in admin.text
    assert SECRET_NAME not in site.by_key("mallory").get("/api/tasks?q=salary").text


def check_live_feed(site: Site, port: int) -> None:
    handlers = live_feed_of(site.app).socketio.server.handlers["/"]
    assert set(handlers) - {"connect", "disconnect"} == COMMANDS
    with listening(port, "alice") as alice, listening(port, "mallory") as mallory, listening(port, "admin") as admin:
        task = site.system.add(SECRET_NAME, owner="alice")
        for command in sorted(COMMANDS - {"unwatch"}):
            answer = mallory.ask(command, {"id": task.id, "from": 0})
            assert answer["error"]["code"] == "task_not_found"
        for one in (alice, admin):
            assert one.ask("watch", {"id": task.id}) == {"ok": True}
            assert one.next("segments")["id"] == task.id
        mallory.ask("unwatch", {"id": task.id})
        site.system.finish_window(task.id, " Our salaries.")
        for one in (alice, admin):
            assert one.next("segments")["segments"][0]["text"] == " Our salaries."
            assert one.next("progress")["id"] == task.id
        assert "owner" not in alice_s_task(alice, site, task)
        assert alice_s_task(admin, site, task)["owner"] == "alice"
        site.system.editor.edit(task.id, 0, [SetText(0, "Our wages.")], "alice")
        for one in (alice, admin):
            assert one.next("transcript_edited") == {"id": task.id, "version": 1, "author": "alice"}
        site.system.delete(task.id)
        own = site.system.add("mallorys.flac", owner="mallory")
        ear = Ear(mallory)
        ear.until("task", own.id)
        heard = "".join([*ear.heard, json.dumps(mallory._unread)])
        assert task.id not in heard
        assert "salar" not in heard
        for one in (alice, admin):
            assert one.next("deleted") == {"id": task.id}


def alice_s_task(listener: LiveClient, site: Site, task: Task) -> Any:
    site.system.complete(task.id, " The end.")
    while (told := listener.next("task"))["status"] != "completed":
        continue
    return told


@pytest.mark.proves("S05")
def test_a_socket_is_let_in_by_a_key_and_closed_when_that_ends(site: Site, port: int) -> None:
    for header in ("Accept: */*", "Authorization: Bearer wrong", "Cookie: session=forged.cookie"):
        assert answer_to_connect(port, header).startswith("44"), header  # not connected
    key, text = site.keys.add("carol")
    site.later(CACHE_LASTS_S)
    browser = site.by_session("alice")
    cookie = browser.get_cookie("session")
    assert cookie is not None
    alice = LiveClient(port, Cookie=f"session={cookie.value}")
    with alice, LiveClient(port, Authorization=f"Bearer {text}") as carol:
        task = site.system.add(owner="alice")
        for room in (room_of_owner("alice"), f"task:{task.id}", "admins"):
            carol.emit("join", {"room": room})
            carol.emit("join_room", room)
        assert alice.next("task")["id"] == task.id
        own = site.system.add(owner="carol")
        assert carol.next("task")["id"] == own.id
        site.keys.revoke(key.id)
        site.later(CACHE_LASTS_S)
        assert carol.ask("watch", {"id": own.id})["error"]["code"] == "not_authenticated"
        assert_closed(carol)
        assert browser.post("/logout").status_code == 303
        assert_closed(alice)
    assert CACHE_LASTS_S + 2 * CHECK_EVERY_S + IDLE_ROUND_S <= 5


def answer_to_connect(port: int, header: str) -> str:
    """What the live feed says to somebody who sends this header."""
    address = f"ws://127.0.0.1:{port}/socket.io/?EIO=4&transport=websocket"
    stranger = websocket.create_connection(address, timeout=15, suppress_origin=True, header=[header])
    try:
        assert text_from(stranger).startswith("0")
        stranger.send("40")
        return text_from(stranger)
    finally:
        stranger.close()
        stranger.shutdown()


def assert_closed(client: LiveClient) -> None:
    """Returns once the server has disconnected the client; fails after the client's own time limit."""
    while not (packet := text_from(client._socket)).startswith("41"):
        assert packet, "the connection ended without a word"
        if packet == "2":
            client.send("3")


def test_commands_of_the_live_feed_are_bounded(make_site: Any) -> None:
    site = make_site(requests_per_minute=10)
    with served(site.app) as port, listening(port, "alice") as alice:
        answers = [alice.ask("unwatch", {"id": "x"}) for _ in range(11)]
    assert answers[9] == {"ok": True}
    assert answers[10]["error"]["code"] == "rate_limited"


def test_a_text_and_a_translation_of_somebody_else_make_no_bilingual_file(site: Site) -> None:
    own, secret = (
        site.system.add("own.flac", owner="mallory"),
        site.system.add(SECRET_NAME, kind="translate", owner="alice"),
    )
    for task in (own, secret):
        site.system.complete(task.id, " Our salaries.")
    stranger, admin = site.by_key("mallory"), site.by_key("admin")
    for first, second in ((own, secret), (secret, own)):
        path = f"/api/tasks/{first.id}/transcript?format=srt&bilingual={second.id}"
        assert error_of(stranger.get(path))[:2] == (404, "task_not_found")
        assert admin.get(path).status_code == 200
    assert error_of(stranger.get(f"/api/tasks?same_recording_as={secret.id}"))[:2] == (404, "task_not_found")
    for client in (stranger, admin):  # the same file, but another owner's
        found = client.get(f"/api/tasks?same_recording_as={own.id}").get_json()["tasks"]
        assert [task["id"] for task in found] == [own.id]


def test_idempotency_keys_are_each_owners_own(site: Site) -> None:
    headers = {"Idempotency-Key": "the-same"}
    alice, mallory = (send(site.by_key(name), headers=headers) for name in ("alice", "mallory"))
    assert (alice.status_code, mallory.status_code) == (202, 202)
    assert alice.get_json()["task"]["id"] != mallory.get_json()["task"]["id"]
    assert send(site.by_key("alice"), headers=headers).headers["Idempotent-Replayed"] == "true"
