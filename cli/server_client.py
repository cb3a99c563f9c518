"""A running server over its HTTP API, as docs/api.md describes it."""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote, urljoin

import urllib3

from cli.transcriber import CannotStartError, Options, RefusedError, TaskProgress, field_text, form_fields
from optimizer.tasks.task import TaskStatus
from whisper_core.text.writer_options import WriterOptions

CONNECT_S, ANSWER_S = 10, 120
TRIES = 6  # of what may be sent again, 1 to 16 s apart: a server that starts anew answers after a few seconds
FIRST_PAUSE_S = 0.25  # before an upload goes on; doubled each time
_MAY_PASS = (423, 429, 502, 503, 504, 507)
KEY_VARIABLE = "WHISPER_API_KEY"
_NEVER = "Is the address right, and does the server run?"


class ServerClient:
    """One thread. Raises CannotStartError when nobody answers or the key opens nothing, RefusedError for an error."""

    def __init__(self, address: str, key: str = "") -> None:
        """address: such as http://127.0.0.1:5552, or where a proxy serves it under a path."""
        self.address = address.rstrip("/") + "/"
        if not self.address.startswith(("http://", "https://")):
            raise CannotStartError(f"{address} is no address: write http:// or https:// in front of it.")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        retry = urllib3.Retry(
            TRIES, backoff_factor=0.5, backoff_max=16, status_forcelist=_MAY_PASS, allowed_methods=None,
            raise_on_status=False, redirect=0, other=0,
        )  # fmt: skip
        timeout = urllib3.Timeout(connect=CONNECT_S, read=ANSWER_S)
        self._pool = urllib3.PoolManager(headers=headers, retries=retry, timeout=timeout)
        self._headers = headers

    def __enter__(self) -> ServerClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.clear()

    def call(self, method: str, path: str, *, query: Mapping[str, str] | None = None) -> Any:
        """The answer's JSON; None for an answer without a body. Only what may be sent again without harm."""
        body = self._send(method, path, query=query).data
        return json.loads(body) if body else None

    def download(self, path: str, query: Mapping[str, str]) -> bytes:
        return self._send("GET", path, query=query).data

    def upload(self, source: Path, name: str, fields: Mapping[str, str]) -> str:
        """Sends a file as a resumable upload, from where it stopped when the connection breaks. Returns the task's
        id."""
        length = source.stat().st_size
        headers = {
            "Upload-Length": str(length),
            "Upload-Metadata": _metadata({"filename": name, **fields}),
            "Idempotency-Key": str(uuid.uuid4()),  # a creation that is sent again makes no second task
        }
        created = self._send("POST", "api/uploads", headers=headers)
        path = urljoin("api/", created.headers["Location"])
        for attempt in range(TRIES):
            state = self._send("HEAD", path)
            if task_id := state.headers.get("Task-Id"):
                return task_id
            try:
                with source.open("rb") as file:
                    return self._patch(path, file, int(state.headers["Upload-Offset"]), length)
            except (urllib3.exceptions.HTTPError, OSError):
                if attempt == TRIES - 1:
                    raise CannotStartError(f"The connection to {self.address} broke again and again.") from None
                time.sleep(FIRST_PAUSE_S * 2**attempt)
        raise AssertionError("the last attempt has raised")

    def _patch(self, path: str, file: BinaryIO, offset: int, length: int) -> str:
        file.seek(offset)
        headers = self._all_headers(
            {
                "Upload-Offset": str(offset),
                "Content-Type": "application/offset+octet-stream",
                "Content-Length": str(length - offset),
            }
        )
        answer = self._pool.request("PATCH", self.address + path, body=file, headers=headers, retries=False)
        if answer.status in (*_MAY_PASS, 409):  # 409: more of the broken request has arrived since HEAD was answered
            raise urllib3.exceptions.HTTPError(f"answered {answer.status}")
        return self._checked(answer).headers["Task-Id"]

    def _send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> urllib3.BaseHTTPResponse:
        try:
            answer = self._pool.request(
                method, self.address + path, fields=query or None, headers=self._all_headers(headers or {})
            )
        except urllib3.exceptions.HTTPError as error:
            raise CannotStartError(f"{self.address} does not answer. {_NEVER}") from error
        return self._checked(answer)

    def _all_headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        return {"Tus-Resumable": "1.0.0", **self._headers, **headers}

    def _checked(self, answer: urllib3.BaseHTTPResponse) -> urllib3.BaseHTTPResponse:
        if answer.status < 300:
            return answer
        if answer.status == 401:
            raise CannotStartError(f"{self.address} wants a key that is valid: set {KEY_VARIABLE}.")
        try:
            error = json.loads(answer.data)["error"]
            raise RefusedError(error["message"], code=error["code"], field=error["field"])
        except (ValueError, KeyError, TypeError):
            raise RefusedError(f"{self.address} answered {answer.status}. {_NEVER}") from None


class ServerTranscriber:
    """Its tasks stand in the server's queue and stay in its list."""

    poll_s = 1.0

    def __init__(self, client: ServerClient) -> None:
        self._client = client

    def submit(self, source: Path, name: str, options: Options) -> str:
        try:
            return self._client.upload(source, name, form_fields(options))
        except OSError as error:
            raise RefusedError(error.strerror or str(error)) from error

    def progress(self, task_id: str) -> TaskProgress:
        task = self._client.call("GET", f"api/tasks/{task_id}")["task"]
        error = task["error"]
        warnings = tuple(warning["message"] for warning in task["warnings"])
        return TaskProgress(TaskStatus(task["status"]), task["progress"], error and error["message"], warnings)

    def transcript(self, task_id: str, format: str, writer: WriterOptions) -> bytes:
        query = {name: field_text(value) for name, value in vars(writer).items() if value}
        return self._client.download(f"api/tasks/{task_id}/transcript", {"format": format, **query})

    def cancel(self, task_id: str) -> None:
        cancel_task(self._client, task_id)


def cancel_task(client: ServerClient, task_id: str) -> None:
    """Harmless for a task that has ended or is gone."""
    try:
        client.call("POST", f"api/tasks/{quote(task_id, safe='')}/cancel")
    except RefusedError as error:
        if error.code not in ("already_finished", "task_not_found"):
            raise


def _metadata(values: Mapping[str, str]) -> str:
    return ",".join(f"{key} {base64.b64encode(value.encode()).decode()}".rstrip() for key, value in values.items())
