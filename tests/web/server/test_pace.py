"""How slow a client may be, without waiting for one."""

from __future__ import annotations

from ipaddress import ip_network
from itertools import count

import pytest

from web.http.client_address import share_key
from web.server.pace import LEAST_BYTES_PER_S, PATIENCE_S, Pace


def seconds_until_cut(bytes_per_s: float) -> int | None:
    pace = Pace()
    for second in count(1):
        pace.record(1.0, int(bytes_per_s))
        if pace.is_used_up:
            return second
        if second == 10_000:
            return None
    raise AssertionError


def test_silence_is_forgiven_for_half_a_minute() -> None:
    assert seconds_until_cut(0) == PATIENCE_S


def test_a_quarter_of_the_least_rate_is_cut_after_forty_seconds() -> None:
    assert seconds_until_cut(LEAST_BYTES_PER_S / 4) == 40


def test_the_least_rate_is_never_cut() -> None:
    assert seconds_until_cut(LEAST_BYTES_PER_S) is None


def test_speed_earns_no_more_than_the_first_patience() -> None:
    pace = Pace()
    pace.record(1.0, 10**9)
    assert pace.seconds_left == PATIENCE_S


def test_our_own_work_costs_a_client_nothing() -> None:
    pace = Pace()
    pace.record(0.0, 0)
    assert pace.seconds_left == PATIENCE_S


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("127.0.0.1", None),
        ("::1", None),
        ("::ffff:127.0.0.1", None),
        ("", None),
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_a_client_is_counted_by_its_address_unless_it_is_this_machines(address: str, key: str | None) -> None:
    assert share_key(address) == key


def test_a_trusted_proxy_is_not_counted() -> None:
    """It sends everybody's requests."""
    proxies = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
    assert [share_key(address, proxies) for address in ("10.1.2.3", "fd00::1", "192.0.2.7")] == [
        None,
        None,
        "192.0.2.7",
    ]
