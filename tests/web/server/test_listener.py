from __future__ import annotations

from collections.abc import Callable

import pytest

from config import Settings
from errors import StartError
from web.server.listener import address_of, listen


def test_a_port_in_use_gives_one_clear_message(make_settings: Callable[..., Settings]) -> None:
    with listen(make_settings(port=0)) as first:
        port = first.getsockname()[1]
        with pytest.raises(StartError, match=f"port {port}.*in use.*choose another PORT"):
            listen(make_settings(port=port))


def test_a_host_of_another_machine_is_refused(make_settings: Callable[..., Settings]) -> None:
    with pytest.raises(StartError, match=r"HOST|Cannot listen"):
        listen(make_settings(host="192.0.2.1", port=0))


@pytest.mark.parametrize(
    ("host", "shown"),
    [("127.0.0.1", "http://127.0.0.1:{}"), ("0.0.0.0", "http://localhost:{} and on every address of this machine")],
)
def test_the_address_can_be_opened_in_a_browser(make_settings: Callable[..., Settings], host: str, shown: str) -> None:
    with listen(make_settings(host=host, port=0)) as listener:
        assert address_of(listener) == shown.format(listener.getsockname()[1])
