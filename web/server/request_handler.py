"""Answers one request on a server thread, with gunicorn's parser and its WSGI.

Before an answer says `keep-alive`, what the application left of the request's body is read, within bounds. Where that
is not possible the answer says `close`: an unread rest would be taken for the next request.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable
from typing import Any

from gunicorn.http import wsgi
from gunicorn.http.body import LengthReader
from gunicorn.http.errors import NoMoreData, ParseException

from web.http.client_presence import CLIENT_IS_GONE
from web.http.socket_handover import TAKE_SOCKET
from web.server.client_socket import READER_PATIENCE_S, ClientSocket
from web.server.connection import Connection, Outcome
from web.server.pace import Pace
from web.server.refusals import FAILED, Refusal, refusal_of
from web.server.request_head import Lane

log = logging.getLogger(__name__)

MAX_DRAINED_BYTES = 256 * 1024
DRAIN_S = 1.0
_PIECE_BYTES = 64 * 1024
_LOST_CLIENT = frozenset({errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN, errno.EBADF})


class RequestHandler:
    """application: WSGI. is_stopping: whether connections are to be closed after their answer. Any thread."""

    def __init__(self, cfg: Any, application: Any, is_stopping: Callable[[], bool]) -> None:
        self._cfg = cfg
        self._application = application
        self._is_stopping = is_stopping

    def handle(self, connection: Connection, lane: Lane) -> Outcome:
        """Never raises."""
        _set_patience(connection.sock, lane)
        connection.outcome = Outcome.CLOSE
        try:
            request = next(connection.parser)
            return Outcome.KEEP if self._answer(request, connection) else Outcome.CLOSE
        except (StopIteration, NoMoreData):
            return connection.outcome  # CLOSE, unless the application has taken the socket
        except ParseException as error:
            log.info("event=request_refused reason=%r", type(error).__name__)
            _refuse(connection.sock, refusal_of(error))
        except TimeoutError:
            log.info("event=slow_client_dropped lane=%s", lane.value)
            return Outcome.DROP
        except OSError as error:
            if error.errno not in _LOST_CLIENT:
                log.error("event=answer_broken_off", exc_info=error)
        except Exception:
            log.exception("event=request_failed")
        return Outcome.CLOSE

    def _answer(self, request: Any, connection: Connection) -> bool:
        """Whether the connection can be used for another request."""
        response, environ = wsgi.create(
            request, connection.sock, connection.peer, connection.server, self._cfg, response_class=_Response
        )
        environ["wsgi.multithread"] = True
        environ[TAKE_SOCKET] = connection.take
        environ[CLIENT_IS_GONE] = connection.sock.is_abandoned
        if self._is_stopping():
            response.force_close()
        try:
            self._send(self._application(environ, response.start_response), environ, response)
        except (OSError, StopIteration):
            raise
        except Exception:
            if not response.headers_sent:
                _refuse(connection.sock, FAILED)
            raise
        return not response.should_close()

    def _send(self, answer: Any, environ: dict[str, Any], response: Any) -> None:
        try:
            if isinstance(answer, environ["wsgi.file_wrapper"]):
                response.write_file(answer)
            else:
                for piece in answer:
                    response.write(piece)
            response.close()
        finally:
            if hasattr(answer, "close"):
                answer.close()


class _Response(wsgi.Response):  # type: ignore[misc]
    def default_headers(self) -> list[str]:
        """Called once, when the head of the answer is sent."""
        if not self.should_close() and not _is_drained(self.req.body, self.sock):
            self.force_close()
        headers: list[str] = super().default_headers()
        return headers


def _is_drained(body: Any, client: ClientSocket) -> bool:
    """Reads what is left of the body. False when that is too much, takes too long, or is malformed."""
    if body.failed or (isinstance(body.reader, LengthReader) and body.reader.length > MAX_DRAINED_BYTES):
        return False
    patience, client.incoming = client.incoming, Pace(DRAIN_S, float("inf"))
    left = MAX_DRAINED_BYTES
    try:
        while left > 0:
            piece = body.read(_PIECE_BYTES)
            if not piece:
                return True
            left -= len(piece)
    except (OSError, ParseException):
        return False
    finally:
        client.incoming = patience
    return False


def _set_patience(client: ClientSocket, lane: Lane) -> None:
    client.incoming = Pace()
    client.is_deferring = lane not in (Lane.UPLOAD, Lane.DOWNLOAD, Lane.WAIT)
    client.outgoing = Pace(READER_PATIENCE_S) if client.is_deferring else Pace()


def _refuse(client: ClientSocket, refusal: Refusal) -> None:
    try:
        client.sendall(refusal.encode())
    except OSError:
        return  # it has gone
