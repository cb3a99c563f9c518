"""The arithmetic of the load table, and that its clients speak to the real server. No figure is tested."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import struct
import wave
from io import BytesIO
from pathlib import Path

import pytest

from benchmarks.load import traffic
from benchmarks.load.__main__ import ROWS, report
from benchmarks.load.figures import HEADS, Row, Spread, Target, Usage, Verdict, percentile
from benchmarks.load.http_client import Address, Connection, get, read_answer, upload
from benchmarks.load.live_client import LiveClient, Outcome, frame, read_frames
from benchmarks.load.sockets import count_gaps
from benchmarks.load.sounds import cut, large_wav, marked_flac, marked_wav, wav
from tests.paths import SHORT
from tests.web.running_server import RunningServer

TARGET = Target("50/s", "150/s", 50, 150, is_rate=True)


def test_a_percentile_is_the_smallest_figure_that_so_many_do_not_exceed() -> None:
    figures = [float(number) for number in range(1, 101)]
    assert [percentile(figures, share) for share in (0.5, 0.95, 0.99, 1.0)] == [50, 95, 99, 100]
    assert percentile([7.0], 0.99) == 7.0


def test_a_spread_needs_times() -> None:
    assert Spread.of([]) is None
    assert Spread.of([3.0, 1.0, 2.0]) == Spread(2.0, 3.0, 3.0, 3.0)


@pytest.mark.parametrize(
    ("figure", "verdict"),
    [(49, Verdict.SHORT), (50, Verdict.MUST), (150, Verdict.IMPRESSIVE), (math.nan, Verdict.NOT_MEASURED)],
)
def test_a_rate_is_enough_from_the_limit_upwards(figure: float, verdict: Verdict) -> None:
    assert TARGET.verdict(figure) is verdict


@pytest.mark.parametrize(("figure", "verdict"), [(51, Verdict.SHORT), (50, Verdict.MUST), (20, Verdict.IMPRESSIVE)])
def test_a_time_is_enough_up_to_the_limit(figure: float, verdict: Verdict) -> None:
    assert Target("50 ms", "20 ms", 50, 20).verdict(figure) is verdict


def test_a_row_has_a_cell_for_every_head() -> None:
    full = Row("uploads", TARGET, 60.0, "60/s", [1.0, 2.0], 3, Usage(0.5, 100 << 20, 1 << 20, 9))
    assert len(full.cells()) == len(Row("uploads", TARGET, 60.0, "60/s").cells()) == len(HEADS)
    assert "must" in report([full], 61.0)


def test_an_answer_is_taken_off_the_front_once_it_is_complete() -> None:
    whole = b"HTTP/1.1 202 Accepted\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"
    received = bytearray(whole[:-1])
    assert read_answer(received) is None
    received += whole[-1:] + b"HTTP/1.1 200 OK\r\n"
    answer = read_answer(received)
    assert answer is not None
    assert (answer.status, answer.body, answer.is_last) == (202, b"hello", True)
    assert received == b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 70_000])
def test_frames_are_read_whole_and_in_order(size: int) -> None:
    payload = bytes(size)
    length = (
        bytes([size]) if size < 126 else b"\x7e" + struct.pack(">H", size) if size < 1 << 16
        else b"\x7f" + struct.pack(">Q", size)
    )  # fmt: skip
    whole = b"\x81" + length + payload
    received = bytearray(whole + whole[:1])
    assert read_frames(received) == [(1, payload)]
    assert received == whole[:1]


def test_a_client_s_frame_is_masked_and_says_its_length() -> None:
    assert frame(b"40") == b"\x81\x82\0\0\0\x0040"
    assert frame(bytes(200))[:4] == b"\x81\xfe\0\xc8"
    with pytest.raises(ValueError, match="no client"):
        frame(bytes(1 << 16))


def test_gaps_are_the_numbers_that_are_missing_in_between() -> None:
    assert count_gaps([4, 5, 6]) == 0
    assert count_gaps([4, 7, 8, 10]) == 3
    assert count_gaps([]) == 0


def test_files_made_of_the_same_sound_differ_and_can_be_read() -> None:
    samples = bytes(range(256)) * 40
    one, two = marked_wav(samples, 1), marked_wav(samples, 2)
    assert one != two
    with wave.open(BytesIO(one)) as file:
        assert (file.getframerate(), file.getnframes()) == (16_000, len(samples) // 2)
    assert marked_flac(SHORT.read_bytes(), 1) != marked_flac(SHORT.read_bytes(), 2)
    with pytest.raises(ValueError, match="FLAC"):
        marked_flac(wav(samples), 1)


def test_pieces_are_of_one_size() -> None:
    assert [len(piece) for piece in cut(bytes(100), 31)] == [30, 30, 30]
    with pytest.raises(ValueError, match="shorter"):
        cut(bytes(10), 30)


def test_a_large_file_has_the_size_that_was_asked_for() -> None:
    assert sum(map(len, large_wav(3_000_001))) == 3_000_001


@pytest.mark.server
def test_the_clients_speak_to_the_server(tmp_path: Path) -> None:
    events: list[bytes] = []

    async def talk(address: Address) -> tuple[int, int, float]:
        client, outcome = await LiveClient.connect(address, lambda _, event, __: events.append(event))
        assert outcome is Outcome.CONNECTED
        connection = Connection(address)
        accepted = await connection.ask(upload("short.flac", SHORT.read_bytes()))
        task_id = json.loads(accepted.body)["task"]["id"]
        read = await traffic.closed_loop(
            address, itertools.repeat(get(f"/api/tasks/{task_id}"), 20), connections=2, seconds=30
        )
        held = await traffic.at_rate(
            address, itertools.repeat(get("/healthz")), per_second=50, connections=2, seconds=0.2
        )
        for _ in range(300):
            if events:
                break
            await asyncio.sleep(0.1)
        client.close()
        connection.close()
        assert read.errors == held.errors == 0
        return accepted.status, len(read.times_ms), len(held.times_ms)

    with RunningServer(tmp_path) as server:
        assert asyncio.run(talk(Address.of(server.address))) == (202, 20, 10)
    assert events


def test_every_row_has_a_function_of_its_own() -> None:
    assert len(set(ROWS.values())) == len(ROWS)
