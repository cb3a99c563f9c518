"""DATABASE_URL of PostgreSQL: what may stand in it, and how a person is told which server it names.

Nothing of an address that is refused is quoted: a password may be anywhere in it.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from psycopg import pq
from sqlalchemy import URL

from errors import InvalidSettingsError

_PLAIN_HOST = re.compile(r"[\w.:/,%-]*")  # it is shown in errors
_REPEATABLE = {"host"}


def checked_address(url: URL) -> URL:
    """The same, as SQLAlchemy and libpq take it. Raises InvalidSettingsError."""
    known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
    if not set(url.query) <= known or any(
        not isinstance(value, str) and name not in _REPEATABLE for name, value in url.query.items()
    ):
        raise InvalidSettingsError("DATABASE_URL has an option that PostgreSQL's client does not know, or one twice.")
    if (url.host or "").upper().startswith("%2F"):  # a folder with a socket, as libpq writes it
        in_query = {"host": unquote(url.host or ""), **({} if url.port is None else {"port": str(url.port)})}
        url = url.set(host=None, port=None).update_query_dict(in_query)
    hosts, ports = hosts_of(url)
    if not all(_PLAIN_HOST.fullmatch(host) for host in hosts):
        raise InvalidSettingsError(
            "DATABASE_URL names no host that could be one. In the user and the password, characters other than "
            "letters and digits must be written as %XX, such as %40 for @."
        )
    if len(ports) not in (1, len(hosts)) or not all(port.isdecimal() for port in ports if port):
        raise InvalidSettingsError(
            "DATABASE_URL: several hosts are written as ?host=A:5432&host=B:5432 or as ?host=A,B&port=5432,5432."
        )
    return url


def hosts_of(url: URL) -> tuple[list[str], list[str]]:
    """Their names and ports; an empty name: this machine. There are as many ports as names, or one for all."""
    given, ports = url.query.get("host", url.host or ""), str(url.query.get("port", url.port or ""))
    if isinstance(given, str) and not (re.fullmatch(r"[\w.-]*:\d*", given) and not ports):
        return given.split(","), ports.split(",")
    if ports and not isinstance(given, str):
        return list(given), ["wrong"]  # SQLAlchemy takes ports from the hosts then
    named = [given] if isinstance(given, str) else given
    split = [host.rpartition(":") if re.search(r":\d*$", host) else (host, "", "") for host in named]
    return [host for host, _, _ in split], [port for _, _, port in split]


def place_of(url: URL) -> str:
    """Of a checked address, for a sentence: `at db.example:5432`."""
    hosts, ports = hosts_of(url)
    if all(not host or host.startswith("/") for host in hosts):
        return "of this machine"
    several = ports * len(hosts) if len(ports) == 1 else ports
    return "at " + ", ".join(f"{host}:{port or 5432}" for host, port in zip(hosts, several, strict=True))
