"""By which address a client's share of the server is counted."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection

from setting_values import Network

_IPV6_CUSTOMER = 64  # bits; one customer has that many addresses


def share_key(address: str, proxies: Collection[Network] = ()) -> str | None:
    """Whose share a request from this address uses up; None for this machine's own and for proxies, without a limit.

    Behind a proxy everybody has the proxy's address, and one slow client must not lock out the others.
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None  # a Unix socket
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    if parsed.is_loopback or any(parsed in network for network in proxies):
        return None
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((parsed, _IPV6_CUSTOMER), strict=False))
    return str(parsed)
