"""A network of two machines, each a network namespace with an address of its own and nothing else to reach."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

NAMESPACES = Path("/run/netns")  # where `ip` keeps them
COMMAND_LIMIT_S = 60


@dataclass(frozen=True)
class Place:
    """One of the two. name: of the namespace."""

    name: str
    address: str

    @property
    def path(self) -> Path:
        return NAMESPACES / self.name

    @property
    def enter(self) -> list[str]:
        """Before a command that is to run there."""
        return ["nsenter", f"--net={self.path}"]


@contextmanager
def network_of_two(first: str, second: str) -> Iterator[tuple[Place, Place]]:
    """Addresses for documentation (RFC 5737). Needs a mount namespace of the proof's own, see prepare_mounts."""
    places = Place(first, "192.0.2.10"), Place(second, "192.0.2.11")
    for place in places:
        _ip("netns", "add", place.name)
    try:
        _ip("link", "add", "wire", "netns", first, "type", "veth", "peer", "name", "wire", "netns", second)
        for here, there in (places, places[::-1]):
            _ip("-n", here.name, "address", "add", f"{here.address}/24", "dev", "wire")
            for link in ("lo", "wire"):
                _ip("-n", here.name, "link", "set", link, "up")
            # Whoever asks for the machine's own address asks for the way to the internet.
            _ip("-n", here.name, "route", "add", "default", "via", there.address)
        yield places
    finally:
        for place in places:
            _ip("netns", "delete", place.name)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, timeout=COMMAND_LIMIT_S)
