"""A script that sends a file by tus 1.0, one request at a time."""

from __future__ import annotations

import base64

import requests

from tests.server.client import REQUEST_LIMIT_S

VERSION = {"Tus-Resumable": "1.0.0"}
CONTENT_TYPE = {"Content-Type": "application/offset+octet-stream"}


class TusUpload:
    """One upload at a server, which may be another process or behind another address later."""

    def __init__(self, address: str, length: int, *, key: str | None = None, **options: str) -> None:
        """Creates it. options: besides `filename`, those of the form."""
        self.creation = try_create(address, length, key=key, **options)
        assert self.creation.status_code in (200, 201), self.creation.text
        self.path = "/api/" + self.creation.headers["Location"]

    def offset(self, address: str) -> int:
        return int(self.head(address).headers["Upload-Offset"])

    def head(self, address: str) -> requests.Response:
        return requests.head(address + self.path, headers=VERSION, timeout=REQUEST_LIMIT_S)

    def patch(self, address: str, offset: int, data: bytes) -> requests.Response:
        headers = VERSION | CONTENT_TYPE | {"Upload-Offset": str(offset)}
        return requests.patch(address + self.path, headers=headers, data=data, timeout=REQUEST_LIMIT_S)

    def finish(self, address: str, data: bytes) -> str:
        """Sends what is missing of `data`; returns the task's id."""
        offset = self.offset(address)
        response = self.patch(address, offset, data[offset:])
        assert response.status_code == 204, response.text
        return response.headers["Task-Id"]

    def begin_patch(self, offset: int, length: int) -> bytes:
        """The head of a request that brings so many bytes, to be sent over a socket."""
        lines = {"Host": "127.0.0.1", **VERSION, **CONTENT_TYPE, "Upload-Offset": offset, "Content-Length": length}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return f"PATCH {self.path} HTTP/1.1\r\n{head}\r\n".encode()


def try_create(address: str, length: int, *, key: str | None = None, **options: str) -> requests.Response:
    pairs = {"filename": "recording.wav", **options}
    metadata = ",".join(f"{name} {base64.b64encode(text.encode()).decode()}" for name, text in pairs.items())
    headers = VERSION | {"Upload-Length": str(length), "Upload-Metadata": metadata}
    if key is not None:
        headers["Idempotency-Key"] = key
    return requests.post(f"{address}/api/uploads", headers=headers, timeout=REQUEST_LIMIT_S)
