"""Which addresses a webhook or a link may have, and to which machines a connection may be made.

What an address looks like is checked when somebody names it. Where its name leads is checked on the very address that
is connected to, each time (`guarded_http`): a name may lead elsewhere a moment later.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

from errors import InvalidOptionError

MAX_URL_CHARACTERS = 2000
SCHEMES = ("http", "https")
IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_UNPRINTABLE = re.compile(r"[\x00-\x20\x7f-\xa0\\]")
_GLOBAL_V6 = ipaddress.ip_network("2000::/3")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # the last 32 bits are an IPv4 address, to which the network translates
_NOT_FOR_HOSTS = tuple(map(ipaddress.ip_network, ("192.0.0.0/24", "192.88.99.0/24")))


def is_public(address: IPAddress) -> bool:
    """Whether it is a machine's in the internet: not private, not this machine, not link-local, not a group's.

    An IPv6 address that stands for one of IPv4 is as public as that one.
    """
    if isinstance(address, ipaddress.IPv4Address):
        is_special = address.is_multicast or address.is_reserved or any(address in net for net in _NOT_FOR_HOSTS)
        return address.is_global and not is_special
    inner = _inner_address(address)
    if inner is not None:
        return is_public(inner)
    return address in _GLOBAL_V6 and address.is_global and address.scope_id is None


def checked_url(text: str, *, allow_private: bool, field: str) -> str:
    """The address without blanks around it. Raises InvalidOptionError, which names the field and never quotes it."""
    url = text.strip()
    if len(url) > MAX_URL_CHARACTERS:
        raise InvalidOptionError(f"An address has at most {MAX_URL_CHARACTERS} characters.", field=field)
    parts = _split(url)
    if parts is None:
        raise InvalidOptionError("Must be an address such as https://example.org/hook.", field=field)
    if parts.username is not None or parts.password is not None:
        raise InvalidOptionError("An address with a user name or a password is not accepted.", field=field)
    literal = _literal(parts.hostname or "")
    if literal is not None and not allow_private and not is_public(literal):
        raise InvalidOptionError("This address is not in the internet, and others are not allowed here.", field=field)
    return url


def _split(url: str) -> SplitResult | None:
    """None for what is no address."""
    if _UNPRINTABLE.search(url):
        return None
    try:
        parts = urlsplit(url)
        port = parts.port
        parts.netloc.encode("idna" if not parts.netloc.isascii() else "ascii")
    except ValueError:
        return None
    is_whole = parts.scheme.lower() in SCHEMES and parts.hostname and not parts.fragment
    return parts if is_whole and port != 0 else None


def _literal(host: str) -> IPAddress | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _inner_address(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that is written inside this one, if it is of a kind that has one."""
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour
