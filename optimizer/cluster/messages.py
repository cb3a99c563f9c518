"""What the server and its bridge to the cluster, a process of its own, tell each other over their pipe.

A message is one JSON object in a line, and whatever its `body` holds behind that: bytes that pass through unread, those
of whisper_core.worker.messages. `run` numbers the starts of a device's worker, so that what is said of an earlier one
is recognised.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Union, get_args

from optimizer.common.kinds import DeviceKind
from optimizer.devices.discovery import DeviceSpec

# --- from the server -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class StartWorker:
    device: str
    run: int
    engine_factory: str
    cpu_threads: int  # 0: as the node's own settings say
    log_level: str


@dataclass(frozen=True)
class SendCommand:
    device: str
    run: int
    body: bytes  # a command


@dataclass(frozen=True)
class KillWorker:
    device: str
    run: int


# --- from the bridge -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Connected:
    """The first message."""

    nodes: int  # besides this machine


@dataclass(frozen=True)
class BridgeAlive:
    """Once connected, sent every few seconds whatever the cluster does."""


@dataclass(frozen=True)
class HeadAnswered:
    """Sent every few seconds, as long as the cluster's head answers."""


@dataclass(frozen=True)
class DeviceFound:
    name: str
    kind: DeviceKind
    title: str
    total_bytes: int
    headroom_bytes: int
    follows_free: bool
    gpu_uuid: str | None
    node: str

    def spec(self) -> DeviceSpec:
        return DeviceSpec(
            self.name, self.kind, self.title, self.total_bytes, self.gpu_uuid, self.headroom_bytes, self.follows_free
        )


@dataclass(frozen=True)
class NodeRefused:
    """It is there, and not used."""

    node: str
    reason: str  # a sentence


@dataclass(frozen=True)
class NodeLost:
    node: str


@dataclass(frozen=True)
class Reports:
    device: str
    run: int
    body: bytes  # reports, one in a line


@dataclass(frozen=True)
class MemoryRead:
    """See optimizer.memory.probes.MemoryReading."""

    device: str
    total: int
    free: int
    ours: int | None


@dataclass(frozen=True)
class Preparing:
    """A recording or weights are on their way to the node, or have arrived."""

    device: str
    run: int
    is_preparing: bool


@dataclass(frozen=True)
class Reachable:
    """Its actor does not answer, or answers again."""

    device: str
    run: int
    is_reachable: bool


@dataclass(frozen=True)
class WorkerExited:
    device: str
    run: int
    exit_code: int | None  # see optimizer.devices.worker_process.Worker
    is_lost: bool


@dataclass(frozen=True)
class BridgeFailed:
    """The last message."""

    reason: str  # a sentence


ToBridge = Union[StartWorker, SendCommand, KillWorker]
FromBridge = Union[
    Connected,
    BridgeAlive,
    HeadAnswered,
    DeviceFound,
    NodeRefused,
    NodeLost,
    Reports,
    MemoryRead,
    Preparing,
    Reachable,
    WorkerExited,
    BridgeFailed,
]
_MESSAGES: dict[str, type] = {cls.__name__: cls for cls in get_args(ToBridge) + get_args(FromBridge)}


def encode(message: ToBridge | FromBridge) -> bytes:
    fields: dict[str, Any] = dict(vars(message))
    body = fields.pop("body", None)
    line = json.dumps({"type": type(message).__name__, **fields}).encode()
    return line if body is None else line + b"\n" + body


def decode(data: bytes) -> ToBridge | FromBridge:
    """The message that `encode` wrote. Raises KeyError, TypeError or ValueError for anything else."""
    line, newline, body = data.partition(b"\n")
    fields = json.loads(line)
    cls = _MESSAGES[fields.pop("type")]
    return cls(**fields, body=body) if newline else cls(**fields)  # type: ignore[no-any-return]
