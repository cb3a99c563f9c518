"""Stands in for the bridge's process: says what the bridge of a cluster with one node would say, and then nothing."""

from __future__ import annotations

import threading
from multiprocessing.connection import Connection

from optimizer.cluster import messages
from optimizer.cluster.bridge import BridgeConfig

FOUND = messages.DeviceFound("one-cpu", "cpu", "a processor", 10**9, 0, False, None, node="one")


def run_silent_bridge(connection: Connection, config: BridgeConfig) -> None:
    """It hangs: not even the end of its pipe ends it."""
    for message in (messages.Connected(1), FOUND):
        connection.send_bytes(messages.encode(message))
    threading.Event().wait()


def run_bridge_without_head(connection: Connection, config: BridgeConfig) -> None:
    """As silent of the head, but alive: it answers whatever comes in."""
    for message in (messages.Connected(1), FOUND):
        connection.send_bytes(messages.encode(message))
    try:
        while True:
            connection.recv_bytes()
            connection.send_bytes(messages.encode(messages.BridgeAlive()))
    except (EOFError, OSError):
        return
