"""What Ray carries to the nodes: a few lines, which hand everything to the node's own checkout.

Ray sends this module itself and not its name, so it imports nothing of ours until it is on the node. There it runs in
the folder in which `ray start` was run, which must be a checkout of the same version.
"""

from __future__ import annotations

import os
import sys
from typing import Any


def use_own_checkout() -> None:
    """Programs that Ray starts on the server's machine have the server's folder first."""
    folder = os.getcwd()
    if sys.path[:1] != [folder]:
        sys.path.insert(0, folder)


def describe(wanted: dict[str, str], cpus_only: bool) -> dict[str, Any]:
    """What the node is: {"asks_for_token": …}, and {"devices": …} or {"problem": a sentence}.

    wanted: the server's "version", and the "digest" of its code.
    """
    found: dict[str, Any] = {"asks_for_token": os.environ.get("RAY_AUTH_MODE", "").lower() == "token"}
    use_own_checkout()
    try:
        import version
    except ImportError:
        version = None  # type: ignore[assignment]
    if version is None or os.path.dirname(str(version.__file__)) != os.getcwd():
        return {**found, "problem": "Ray was not started there in the folder of the transcription server."}
    if version.__version__ != wanted["version"]:
        here, there = wanted["version"], version.__version__
        return {**found, "problem": f"It has version {there} of the transcription server, and this one is {here}."}
    from optimizer.cluster import worker_host

    return {**found, **worker_host.describe(wanted["digest"], cpus_only=cpus_only)}


class DeviceActor:
    """One for each device of a node. Its methods are those of optimizer.cluster.worker_host.WorkerHost."""

    def __init__(self, device: dict[str, Any], worker: dict[str, Any]) -> None:
        use_own_checkout()
        from optimizer.cluster.worker_host import WorkerHost

        self._host = WorkerHost(device, worker)

    def next_reports(self, after: int, wait_s: float) -> tuple[int, list[bytes], dict[str, Any] | None]:
        return self._host.next_reports(after, wait_s)

    def send(self, number: int, command: bytes) -> None:
        self._host.send(number, command)

    def prepare_model(self, model: str) -> tuple[str, str] | None:
        return self._host.prepare_model(model)

    def has_shared(self, path: str, size: int, digest: str) -> bool:
        return self._host.has_shared(path, size, digest)

    def take_sound(self, attempt_id: str, offset: int, data: Any) -> None:
        self._host.take_sound(attempt_id, offset, data)

    def drop_sound(self, attempt_id: str) -> None:
        self._host.drop_sound(attempt_id)

    def memory(self) -> tuple[int, int, int | None] | None:
        return self._host.memory()

    def end(self) -> None:
        self._host.end()
