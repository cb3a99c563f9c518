"""Uploads that a killed server, a cut connection or a full disk interrupts: they go on, and become one task."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import psutil
import pytest
import requests

from tests.paths import MINUTE, SHORT
from tests.server.client import REQUEST_LIMIT_S, Client
from tests.server.conftest import StartServer
from tests.server.cutting_proxy import CuttingProxy
from tests.server.test_kills import kill_all
from tests.server.tus import TusUpload, try_create
from tests.web.running_server import RunningServer

pytestmark = pytest.mark.server

FORM_HEAD = b'--b\r\nContent-Disposition: form-data; name="file"; filename="recording.flac"\r\n\r\n'
FORM_TAIL = b"\r\n--b--\r\n"


def form_head(length: int, key: str) -> bytes:
    """Of a request that brings a form of so many bytes."""
    return (
        "POST /api/tasks HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        f"Idempotency-Key: {key}\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


@contextmanager
def sending(server: RunningServer, data: bytes) -> Iterator[socket.socket]:
    """A connection on which so much of a request is sent."""
    with closing(socket.create_connection(("127.0.0.1", server.port), timeout=REQUEST_LIMIT_S)) as connection:
        connection.sendall(data)
        yield connection


def was_cut_off(connection: socket.socket) -> bool:
    """Whether the connection ends without an answer."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def parts(server: RunningServer) -> list[Path]:
    return sorted((server.data_dir / "incoming").glob("*.part"))


def media_of(server: RunningServer, task_id: str) -> bytes:
    return (server.data_dir / "media" / task_id).read_bytes()


@pytest.mark.proves("F02")
@pytest.mark.parametrize("share", [0.1, 0.5, 0.999])
def test_a_killed_server_keeps_what_had_arrived_and_the_upload_goes_on(start_server: StartServer, share: float) -> None:
    sound = MINUTE.read_bytes()
    sent = round(share * len(sound))
    form = FORM_HEAD + sound + FORM_TAIL
    with start_server() as server:
        client = Client(server)
        upload = TusUpload(server.address, len(sound))
        with (
            sending(server, upload.begin_patch(0, len(sound)) + sound[:sent]) as resumable,
            sending(server, form_head(len(form), "k") + form[: len(FORM_HEAD) + sent]) as plain,
        ):
            client.wait_until(lambda: upload.offset(server.address) > 0.5 * sent, "most of the bytes sent")
            client.wait_until(lambda: len(parts(server)) == 2, "the form's file")
            promised = upload.offset(server.address)
            kill_all(server)
            assert was_cut_off(resumable)
            assert was_cut_off(plain)
    with start_server() as server:
        client = Client(server)
        assert client.get("/api/tasks").json()["tasks"] == []
        assert promised <= upload.offset(server.address) <= sent
        task_id = upload.finish(server.address, sound)
        assert media_of(server, task_id) == sound
        first, again = client.try_upload(MINUTE, key="k"), client.try_upload(MINUTE, key="k")
        assert (first.status_code, again.status_code) == (202, 200)
        assert first.json()["task"]["id"] == again.json()["task"]["id"] != task_id
        assert len(client.get("/api/tasks").json()["tasks"]) == 2
        assert client.wait_for(task_id, "completed")["error"] is None


@pytest.mark.proves("F03")
def test_a_task_whose_answer_was_lost_with_the_server_is_answered_for_by_its_key(start_server: StartServer) -> None:
    with start_server(KILL_AFTER_INSERT="1") as server, pytest.raises(requests.ConnectionError):
        Client(server).try_upload(SHORT, key="k")
    with start_server() as server:
        client = Client(server)
        (task,) = client.get("/api/tasks").json()["tasks"]
        again = client.try_upload(SHORT, key="k")
        assert (again.status_code, again.headers["Idempotent-Replayed"]) == (200, "true")
        assert again.json()["task"]["id"] == task["id"]
        assert len(client.get("/api/tasks").json()["tasks"]) == 1
        assert [path.name for path in (server.data_dir / "media").iterdir()] == [task["id"]]


def test_a_resumable_upload_whose_answer_was_lost_with_the_server_tells_its_task(start_server: StartServer) -> None:
    sound = SHORT.read_bytes()
    with start_server(KILL_AFTER_INSERT="1") as server:
        upload = TusUpload(server.address, len(sound))
        with pytest.raises(requests.ConnectionError):
            upload.patch(server.address, 0, sound)
    with start_server() as server:
        (task,) = Client(server).get("/api/tasks").json()["tasks"]
        assert upload.head(server.address).headers["Task-Id"] == task["id"]
        assert upload.finish(server.address, sound) == task["id"]


def test_a_cut_connection_goes_on_where_it_stopped(start_server: StartServer, five_minutes: Path) -> None:
    sound = five_minutes.read_bytes()
    with start_server() as server, CuttingProxy(server.port) as proxy:
        client, upload = Client(server), TusUpload(server.address, len(sound))

        def is_free() -> bool:
            """The server has noticed that the last connection is gone."""
            return upload.patch(server.address, upload.offset(server.address), b"").status_code == 204

        offsets = [0]
        for cut_at in (1000, 4_000_000, 4_000_000):
            proxy.cut_after(cut_at)
            with pytest.raises(requests.ConnectionError):
                upload.patch(proxy.address, offsets[-1], sound[offsets[-1] :])
            client.wait_until(is_free, "the cut connection to be given up")
            offsets.append(upload.offset(server.address))
        assert offsets == sorted(offsets)
        assert offsets[-1] > 4_000_000  # a reset takes along what the server has not read yet, and no more
        task_id = upload.finish(proxy.address, sound)
        assert media_of(server, task_id) == sound


def test_a_connection_that_nobody_has_any_more_gives_way(start_server: StartServer) -> None:
    """A lid is closed within a request: the server hears nothing of it, and the client comes back on another way."""
    sound = MINUTE.read_bytes()
    with start_server() as server, CuttingProxy(server.port) as proxy:
        client = Client(server)
        upload = TusUpload(server.address, len(sound))
        proxy.hang_after(400_000)
        head = upload.begin_patch(0, len(sound))
        with closing(socket.create_connection(("127.0.0.1", proxy.port), timeout=REQUEST_LIMIT_S)) as lost:
            lost.sendall(head + sound[:500_000])
            client.wait_until(lambda: upload.offset(server.address) > 100_000, "many of the bytes sent")
            answers: list[requests.Response] = []

            def is_accepted() -> bool:
                offset = upload.offset(server.address)
                answers.append(upload.patch(server.address, offset, sound[offset:]))
                return answers[-1].status_code == 204

            client.wait_until(is_accepted, "the old connection to give way", limit_s=30)
        assert {answer.status_code for answer in answers[:-1]} <= {423}
        assert media_of(server, answers[-1].headers["Task-Id"]) == sound


@pytest.mark.proves("F07")
def test_a_disk_that_fills_up_during_an_upload_refuses_it_and_keeps_what_can_go_on(
    start_server: StartServer, tmp_path: Path
) -> None:
    """The process's limit on a file's size stands for the disk: the system refuses one byte too many all the same."""
    limit, sound = 2_000_000, os.urandom(2_200_000)
    large = tmp_path / "large.wav"
    large.write_bytes(sound)
    with start_server() as server:
        client = Client(server)
        upload = TusUpload(server.address, len(sound))
        assert upload.patch(server.address, 0, sound[:1_900_000]).status_code == 204
        server.worker.rlimit(psutil.RLIMIT_FSIZE, (limit, psutil.RLIM_INFINITY))

        for refused in (upload.patch(server.address, 1_900_000, sound[1_900_000:]), client.try_upload(large)):
            assert (refused.status_code, refused.json()["error"]["code"]) == (507, "disk_full")
            assert int(refused.headers["Retry-After"]) > 0
        assert [path.name for path in parts(server)] == [f"{upload.path.rpartition('/')[2]}.part"]
        assert list((server.data_dir / "media").iterdir()) == []
        assert client.get("/api/tasks").json()["tasks"] == []
        assert 1_900_000 <= upload.offset(server.address) <= limit
        assert client.wait_for(client.upload(SHORT)["id"], "completed")["error"] is None

        server.worker.rlimit(psutil.RLIMIT_FSIZE, (psutil.RLIM_INFINITY, psutil.RLIM_INFINITY))
        offset = upload.offset(server.address)
        answer = upload.patch(server.address, offset, sound[offset:])
        assert (answer.status_code, answer.json()["error"]["code"]) == (415, "unsupported_media")  # they are no sound
    with start_server(MIN_FREE_DISK_MB="1000000") as server:
        assert try_create(server.address, len(sound)).status_code == 507
        with closing(HTTPConnection("127.0.0.1", server.port, timeout=REQUEST_LIMIT_S)) as connection:
            connection.putrequest("POST", "/api/tasks")
            connection.putheader("Content-Type", "multipart/form-data; boundary=b")
            connection.putheader("Content-Length", str(len(sound)))
            connection.endheaders()  # and not one byte of the form
            assert connection.getresponse().status == 507
        assert parts(server) == []


@pytest.mark.proves("F41")
def test_a_key_makes_one_task_however_often_and_however_soon_it_comes_again(start_server: StartServer) -> None:
    threads = 50
    with start_server() as server, ThreadPoolExecutor(threads) as pool:
        client, barrier = Client(server), threading.Barrier(threads)

        def send(_: int) -> requests.Response:
            barrier.wait(REQUEST_LIMIT_S)
            return client.try_upload(SHORT, key="k")

        answers = list(pool.map(send, range(threads)))
        statuses = [answer.status_code for answer in answers]
        assert statuses.count(202) == 1
        assert set(statuses) <= {202, 200, 409}
        codes = {answer.json()["error"]["code"] for answer in answers if answer.status_code == 409}
        assert codes <= {"idempotency_in_flight"}
        (task,) = client.get("/api/tasks").json()["tasks"]
        assert {answer.json()["task"]["id"] for answer in answers if answer.ok} == {task["id"]}

        again = client.try_upload(SHORT, key="k")
        assert (again.status_code, again.headers["Idempotent-Replayed"]) == (200, "true")
        for wrong in (client.try_upload(MINUTE, key="k"), client.try_upload(SHORT, key="k", task="translate")):
            assert wrong.status_code == 422
        assert client.try_upload(MINUTE, key="k").json()["error"]["code"] == "idempotency_mismatch"
        without_key = client.try_upload(SHORT)
        assert (without_key.status_code, without_key.json()["duplicate_of"]) == (202, task["id"])
        assert len(client.get("/api/tasks").json()["tasks"]) == 2
        assert parts(server) == []


def test_a_key_in_flight_is_refused_before_the_body_is_sent(start_server: StartServer) -> None:
    form = FORM_HEAD + MINUTE.read_bytes() + FORM_TAIL
    with start_server() as server:
        client = Client(server)
        with sending(server, form_head(len(form), "k") + form[:200_000]) as first:
            client.wait_until(lambda: parts(server) != [], "the first request's file")
            with sending(server, form_head(len(form), "k")) as second, HTTPResponse(second) as refused:
                refused.begin()
                assert refused.status == 409
                assert json.loads(refused.read())["error"]["code"] == "idempotency_in_flight"
            first.sendall(form[200_000:])
            assert first.recv(65_536).startswith(b"HTTP/1.1 202")


def test_a_full_queue_still_answers_for_a_finished_key(start_server: StartServer, five_minutes: Path) -> None:
    with start_server(MAX_QUEUED_TASKS="1", MAX_CONCURRENT_TASKS_LIMIT="1") as server:
        client = Client(server)
        running = client.upload(five_minutes, key="k", initial_prompt="window_s=1")["id"]
        client.wait_for(running, "processing")
        client.upload(SHORT, initial_prompt="window_s=1")
        assert client.try_upload(MINUTE).status_code == 429
        assert try_create(server.address, 1000).status_code == 429
        again = client.try_upload(five_minutes, key="k", initial_prompt="window_s=1")
        assert (again.status_code, again.json()["task"]["id"]) == (200, running)


def test_memory_stays_flat_while_a_large_upload_is_hashed_again_after_a_restart(
    start_server: StartServer, five_minutes: Path
) -> None:
    sound = five_minutes.read_bytes()
    with start_server() as server:
        upload = TusUpload(server.address, len(sound))
        upload.patch(server.address, 0, sound[:-1])
        kill_all(server)
    with start_server() as server:
        before = server.worker.memory_info().rss
        task_id = upload.finish(server.address, sound)
        assert server.worker.memory_info().rss - before < 50_000_000
        assert hashlib.sha256(media_of(server, task_id)).digest() == hashlib.sha256(sound).digest()
