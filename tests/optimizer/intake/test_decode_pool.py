"""Decoding in the pool: clips do not wait for long recordings, and all of it ends when the server stops."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import Queue

import pytest

from errors import ShuttingDownError, SourceMissingError
from optimizer.common.clock import SystemClock
from optimizer.intake.decode_line import DecodeRequest
from optimizer.intake.decode_pool import DecodePool
from optimizer.storage.task_files import TaskFiles
from whisper_core.audio.decode import DecodedAudio, SlowDecodeError

WAIT_S = 10.0


class HeldDecoder:
    """Puts itself into `begun` when it begins a decode, which lasts until the decoder is stopped."""

    def __init__(self, begun: Queue[HeldDecoder]) -> None:
        self._begun = begun
        self._is_stopped = threading.Event()

    def decode(self, source: Path, destination: Path, **_: object) -> None:
        self._begun.put(self)
        self._is_stopped.wait(WAIT_S)
        raise ShuttingDownError()

    def measures(self) -> dict[str, str]:
        return {}

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

    decode_pool = DecodePool(make_decoder, files, SystemClock())  # type: ignore[arg-type]
    for name in ("a", "b"):
        files.media_path(name).write_bytes(b"sound")
    futures = [decode_pool.start_decode(DecodeRequest(name)) for name in ("a", "b")]
    try:
        one, other = (begun.get(timeout=WAIT_S) for _ in futures)
        assert one is other  # the only one that a stop reaches
        decode_pool.stop()
    finally:
        for decoder in made:
            decoder.stop()
    assert [type(future.exception()) for future in futures] == [ShuttingDownError, ShuttingDownError]


class TimedDecoder:
    """Decodes `quick` files at once; long ones are given up if they may be, else held until `release`."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self.holds = threading.Event()
        self.began_long: Queue[str] = Queue()

    def decode(self, source: Path, destination: Path, *, give_up_after_s: float, **_: object) -> DecodedAudio:
        name = source.name
        self.order.append(f"{name} {'tried' if give_up_after_s < math.inf else 'held'}")
        if name.startswith("long"):
            if give_up_after_s < math.inf:
                raise SlowDecodeError()
            self.began_long.put(name)
            assert self.holds.wait(WAIT_S)
        return DecodedAudio(1.0, 16_000, is_truncated=False)

    def measures(self) -> dict[str, str]:
        return {}

    def stop(self) -> None:
        self.holds.set()


@pytest.fixture
def decoder() -> TimedDecoder:
    return TimedDecoder()


@pytest.fixture
def pool(tmp_path: Path, decoder: TimedDecoder, monkeypatch: pytest.MonkeyPatch) -> Iterator[DecodePool]:
    monkeypatch.setattr("optimizer.intake.decode_pool.LONG_THREADS", 1)
    files = TaskFiles(tmp_path)
    files.make_folders()
    for name in ("long1", "long2", "long3", "quick"):
        files.media_path(name).write_bytes(b"sound")
    pool = DecodePool(lambda: decoder, files, SystemClock())  # type: ignore[arg-type, return-value]
    yield pool
    pool.stop()


def test_a_clip_is_decoded_while_long_recordings_keep_the_others_waiting(
    pool: DecodePool, decoder: TimedDecoder
) -> None:
    """Their size said that they might be quick, so each was tried, given up, and waits for the long ones' thread."""
    long_ones = [pool.start_decode(DecodeRequest(name)) for name in ("long1", "long2", "long3")]
    decoder.began_long.get(timeout=WAIT_S)

    assert pool.start_decode(DecodeRequest("quick")).result(WAIT_S).seconds == 1.0
    assert [future.done() for future in long_ones] == [False, False, False]

    decoder.holds.set()
    assert [future.result(WAIT_S).seconds for future in long_ones] == [1.0, 1.0, 1.0]
    ways = [f"{name} {way}" for name in ("long1", "long2", "long3") for way in ("tried", "tried", "held")]
    assert sorted(decoder.order) == sorted([*ways, "quick tried"])


def test_a_file_that_is_gone_says_so(pool: DecodePool) -> None:
    assert isinstance(pool.start_decode(DecodeRequest("none")).exception(WAIT_S), SourceMissingError)


def test_what_waits_when_the_pool_stops_is_told_and_nothing_begins_afterwards(
    pool: DecodePool, decoder: TimedDecoder
) -> None:
    futures = [pool.start_decode(DecodeRequest(name)) for name in ("long1", "long2")]
    decoder.began_long.get(timeout=WAIT_S)
    pool.stop()
    assert {type(future.exception(WAIT_S)) for future in futures} <= {ShuttingDownError, type(None)}
    with pytest.raises(ShuttingDownError):
        pool.start_decode(DecodeRequest("quick"))
