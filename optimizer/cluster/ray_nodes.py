"""A node as Ray describes it, and the name that its devices get."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MAX_NAME = 23  # a device's name has 32 characters at most
_HEAD = "node:__internal_head__"  # a resource that Ray gives its head


@dataclass(frozen=True)
class Node:
    id: str
    name: str
    address: str
    is_head: bool


def node_of(found: Mapping[str, Any]) -> Node:
    """found: an entry of ray.nodes()."""
    address = str(found["NodeManagerAddress"])
    given = str(found.get("NodeName") or "")
    name = given if given and given != address else str(found["NodeManagerHostname"])
    readable = re.sub(r"[^a-z0-9.-]+", "-", name.lower()).strip("-.")[:MAX_NAME]
    return Node(str(found["NodeID"]), readable or "node", address, _HEAD in found.get("Resources", {}))
