"""Requests of tus 1.0, as its specification has them."""

from __future__ import annotations

import base64
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

ADDRESS = "/api/uploads"
VERSION = {"Tus-Resumable": "1.0.0"}
CONTENT_TYPE = "application/offset+octet-stream"


def metadata(**values: str) -> str:
    return ",".join(f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in values.items())


class TusClient:
    def __init__(self, client: FlaskClient) -> None:
        self._client = client

    def create(self, length: int | str, *, headers: Any = None, **options: Any) -> TestResponse:
        """options: besides `filename`, those of the form; `data`: first bytes."""
        data = options.pop("data", None)
        own = {"Upload-Length": str(length), "Upload-Metadata": metadata(**{"filename": "a.flac", **options})}
        if data is not None:
            own["Content-Type"] = CONTENT_TYPE
        return self._client.post(ADDRESS, headers=VERSION | own | (headers or {}), data=data)

    def created(self, length: int, **options: Any) -> str:
        """The new upload's address."""
        response = self.create(length, **options)
        assert response.status_code == 201, response.get_data(as_text=True)
        return "/api/" + response.headers["Location"]

    def head(self, address: str) -> TestResponse:
        return self._client.head(address, headers=VERSION)

    def offset(self, address: str) -> int:
        response = self.head(address)
        assert response.status_code == 200
        return int(response.headers["Upload-Offset"])

    def patch(self, address: str, offset: int | str, data: bytes, **headers: str) -> TestResponse:
        own = {"Upload-Offset": str(offset), "Content-Type": CONTENT_TYPE}
        return self._client.patch(address, headers=VERSION | own | headers, data=data)

    def delete(self, address: str) -> TestResponse:
        return self._client.delete(address, headers=VERSION)

    def override(self, address: str) -> TestResponse:
        """DELETE, as clients send it that have only GET and POST."""
        return self._client.post(address, headers=VERSION | {"X-HTTP-Method-Override": "DELETE"})
