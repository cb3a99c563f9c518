"""Whether the client of a request that takes long is still there."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

# The WSGI environment's key of a function without arguments, to be called while the request is served. Our server sets
# it; without it nobody can be seen to go.
CLIENT_IS_GONE = "transcription.client_is_gone"


def presence_of(environ: WSGIEnvironment) -> Callable[[], bool]:
    """Whether the client has hung up by now. It takes no byte from the connection and never waits."""
    check: Callable[[], bool] = environ.get(CLIENT_IS_GONE, _nobody_goes)
    return check


def _nobody_goes() -> bool:
    return False
