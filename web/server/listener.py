"""The listening socket. We open it ourselves: a port in use gives one clear message, and PORT=0 is resolved early."""

from __future__ import annotations

import socket

from config import Settings
from errors import StartError

BACKLOG = 512


def listen(settings: Settings) -> socket.socket:
    """Raises StartError, which says what to do, when it cannot listen there."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise StartError(f"HOST={settings.host} is no address of this machine: {error.strerror}.") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise StartError(
            f"Cannot listen on {settings.host} port {settings.port}: {error.strerror}. "
            "Stop what uses it, or choose another PORT (0 takes a free one)."
        ) from error
    return listener


def address_of(listener: socket.socket) -> str:
    """The address as a browser on this machine would write it."""
    host, port = listener.getsockname()[:2]
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound # nosec B104
        return f"http://localhost:{port} and on every address of this machine"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
