"""Answers to what never becomes a request of the application: in the API's shape and with its headers, all the same."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from http import HTTPStatus

from gunicorn.http import errors

from web.http.error_shapes import Fault, shaped
from web.http.security import headers_of_every_answer

RETRY_AFTER_S = 5


@dataclass(frozen=True)
class Refusal:
    status: HTTPStatus
    code: str
    message: str

    def encode(self, path: str = "") -> bytes:
        """The whole answer, as that address answers. The connection has to be closed after it."""
        request_id = secrets.token_hex(8)
        body = json.dumps(shaped(path, Fault(self.status, self.code, self.message, request_id))[1]).encode()
        headers = {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "Connection": "close",
            "Cache-Control": "no-store",
            **headers_of_every_answer(request_id),
            **({"Retry-After": str(RETRY_AFTER_S)} if self.status is HTTPStatus.SERVICE_UNAVAILABLE else {}),
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"HTTP/1.1 {self.status.value} {self.status.phrase}\r\n{lines}\r\n".encode() + body


BAD_REQUEST = Refusal(HTTPStatus.BAD_REQUEST, "bad_request", "The request cannot be understood.")
TOO_SLOW = Refusal(HTTPStatus.REQUEST_TIMEOUT, "timeout", "The request took too long to arrive.")
LINE_TOO_LONG = Refusal(
    HTTPStatus.REQUEST_URI_TOO_LONG,
    "address_too_long",
    "The address is longer than this server accepts. Long lists of ids fit into the body of a POST.",
)
HEAD_TOO_LONG = Refusal(
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    "headers_too_large",
    "The request's headers are larger than this server accepts.",
)
UNKNOWN_EXPECTATION = Refusal(
    HTTPStatus.EXPECTATION_FAILED, "unknown_expectation", "The server cannot do what the header Expect asks for."
)
UNKNOWN_CODING = Refusal(
    HTTPStatus.NOT_IMPLEMENTED, "unknown_transfer_coding", "The request's transfer coding is not known here."
)
BUSY = Refusal(
    HTTPStatus.SERVICE_UNAVAILABLE,
    "busy",
    "The server has as many requests of this kind as it takes at a time. Try again shortly.",
)
STOPPING = Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "shutting_down", "The server is stopping. Try again in a minute.")
FAILED = Refusal(
    HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "Something went wrong inside the server. Its log has the details."
)

ALL = (
    BAD_REQUEST, TOO_SLOW, LINE_TOO_LONG, HEAD_TOO_LONG, UNKNOWN_EXPECTATION, UNKNOWN_CODING, BUSY, STOPPING, FAILED,
)  # fmt: skip


def refusal_of(error: errors.ParseException) -> Refusal:
    """What to answer when gunicorn's parser refuses a request."""
    match error:
        case errors.LimitRequestLine():
            return LINE_TOO_LONG
        case errors.LimitRequestHeaders():
            return HEAD_TOO_LONG
        case errors.ExpectationFailed():
            return UNKNOWN_EXPECTATION
        case errors.UnsupportedTransferCoding():
            return UNKNOWN_CODING
    return BAD_REQUEST
