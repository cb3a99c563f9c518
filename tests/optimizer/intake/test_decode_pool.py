"""Decoding in the pool ends when the server stops."""

from __future__ import annotations

import threading
from pathlib import Path
from queue import Queue

from errors import ShuttingDownError
from optimizer.intake.decode_pool import DecodePool
from optimizer.storage.task_files import TaskFiles

WAIT_S = 10.0


class HeldDecoder:
    """Puts itself into `begun` when it begins a decode, which lasts until the decoder is stopped."""

    def __init__(self, begun: Queue[HeldDecoder]) -> None:
        self._begun = begun
        self._is_stopped = threading.Event()

    def decode(self, source: Path, destination: Path) -> None:
        self._begun.put(self)
        self._is_stopped.wait(WAIT_S)
        raise ShuttingDownError()

    def stop(self) -> None:
        self._is_stopped.set()


def test_a_stop_ends_both_decodes_that_began_at_once(tmp_path: Path) -> None:
    files = TaskFiles(tmp_path)
    files.make_folders()
    both_look = threading.Barrier(2)
    begun: Queue[HeldDecoder] = Queue()
    made: list[HeldDecoder] = []

    def make_decoder() -> HeldDecoder:
        both_look.wait(WAIT_S)
        made.append(HeldDecoder(begun))
        return made[-1]

    decode_pool = DecodePool(make_decoder, files)  # type: ignore[arg-type]
    for name in ("a", "b"):
        files.media_path(name).write_bytes(b"sound")
    futures = [decode_pool.start_decode(name) for name in ("a", "b")]
    try:
        one, other = (begun.get(timeout=WAIT_S) for _ in futures)
        assert one is other  # the only one that a stop reaches
        decode_pool.stop()
    finally:
        for decoder in made:
            decoder.stop()
    assert [type(future.exception()) for future in futures] == [ShuttingDownError, ShuttingDownError]
