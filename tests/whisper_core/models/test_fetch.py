"""Fetching weights from the official address in spite of all kinds of faults."""

from __future__ import annotations

import errno
import http.client
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from errors import DiskFullError, ModelUnavailableError, ShuttingDownError, WeightsDamagedError
from tests.whisper_core.models.weights_server import (
    CONTENT,
    QUICK,
    REAL_PART,
    Answer,
    WeightsServer,
    cut,
    fetch_tiny,
    ignore_range,
    stall,
    status,
    wrong_bytes,
)
from whisper_core.models.catalogue import MODELS
from whisper_core.models.download import FetchProgress
from whisper_core.models.fetch import fetch
from whisper_core.models.weight_files import locate

pytestmark = pytest.mark.usefixtures("toy_tiny")


def test_a_file_that_is_there_and_right_is_not_fetched_again(server: WeightsServer, folder: Path) -> None:
    folder.mkdir()
    (folder / "tiny.pt").write_bytes(CONTENT)
    assert fetch_tiny(server, folder, sources="all") == CONTENT
    assert server.ranges == []


def test_a_plain_download_reports_its_progress(server: WeightsServer, folder: Path) -> None:
    seen: list[FetchProgress] = []
    assert fetch_tiny(server, folder, on_progress=seen.append) == CONTENT
    assert seen[-1] == FetchProgress("official", len(CONTENT), len(CONTENT))
    assert [progress.done_bytes for progress in seen] == sorted(progress.done_bytes for progress in seen)
    assert locate("tiny", folder) is not None


@pytest.mark.parametrize(
    ("script", "ranges"),
    [
        pytest.param([cut], [None, "bytes=1000000-"], id="cut in the middle"),
        pytest.param([cut, cut], [None, "bytes=1000000-", "bytes=2000000-"], id="cut twice"),
        pytest.param([cut, ignore_range], [None, "bytes=1000000-"], id="resuming is not understood"),
        pytest.param([status(500), status(503)], [None, None, None], id="the server fails twice"),
        pytest.param([stall], [None, "bytes=500000-"], id="silence"),
        pytest.param([wrong_bytes], [None, None], id="wrong bytes are fetched once more"),
    ],
)
def test_faults_of_the_network_and_the_server_are_overcome(
    server: WeightsServer, folder: Path, script: list[Answer], ranges: list[str | None]
) -> None:
    server.script = list(script)
    assert fetch_tiny(server, folder) == CONTENT
    assert server.ranges == ranges


def test_a_part_of_an_earlier_run_is_continued(server: WeightsServer, folder: Path) -> None:
    folder.mkdir()
    (folder / "tiny.pt.part").write_bytes(CONTENT[:REAL_PART])
    assert fetch_tiny(server, folder) == CONTENT
    assert server.ranges == [f"bytes={REAL_PART}-"]


def test_a_part_that_is_complete_already_is_used(server: WeightsServer, folder: Path) -> None:
    folder.mkdir()
    (folder / "tiny.pt.part").write_bytes(CONTENT)
    assert fetch_tiny(server, folder) == CONTENT
    assert server.ranges == [f"bytes={len(CONTENT)}-"]


def test_a_part_of_another_file_is_fetched_again(server: WeightsServer, folder: Path) -> None:
    folder.mkdir()
    (folder / "tiny.pt.part").write_bytes(bytes(REAL_PART))
    assert fetch_tiny(server, folder) == CONTENT
    assert server.ranges == [f"bytes={REAL_PART}-", None]

    (folder / "tiny.pt").unlink()
    (folder / "tiny.pt.part").write_bytes(bytes(len(CONTENT) + 1))
    assert fetch_tiny(server, folder) == CONTENT


def test_wrong_bytes_twice_are_damaged_weights(server: WeightsServer, folder: Path) -> None:
    server.script = [wrong_bytes, wrong_bytes]
    with pytest.raises(WeightsDamagedError, match="wrong checksum"):
        fetch_tiny(server, folder)
    assert len(server.ranges) == 2
    assert locate("tiny", folder) is None
    assert not (folder / "tiny.pt").exists()


def test_a_damaged_file_is_said_to_be_damaged_and_fetched_again_where_that_is_allowed(
    server: WeightsServer, folder: Path
) -> None:
    folder.mkdir()
    (folder / "tiny.pt").write_bytes(b"half of a file")
    with pytest.raises(WeightsDamagedError, match=r"tiny are damaged \(wrong checksum\) and were not fetched\. Put"):
        fetch("tiny", folder, sources="local")
    assert locate("tiny", folder) is None
    assert fetch_tiny(server, folder) == CONTENT
    assert len(server.ranges) == 1


@pytest.mark.parametrize("answer", [status(500), stall], ids=["500", "stall"])
def test_tries_are_bounded(server: WeightsServer, folder: Path, answer: Answer) -> None:
    server.script = [answer, *[status(503)] * 20]
    with pytest.raises(ModelUnavailableError, match=r"Put tiny\.pt from https://"):
        fetch_tiny(server, folder)
    assert len(server.ranges) <= 1 + QUICK.tries


def test_a_server_that_refuses_is_not_asked_again(server: WeightsServer, folder: Path) -> None:
    server.script = [status(404), status(404)]
    with pytest.raises(ModelUnavailableError, match="official: the server answered 404"):
        fetch_tiny(server, folder)
    assert len(server.ranges) == 1


def test_what_arrived_before_a_failure_is_kept_for_the_next_try(server: WeightsServer, folder: Path) -> None:
    server.script = [cut, *[status(500)] * QUICK.tries]
    with pytest.raises(ModelUnavailableError):
        fetch_tiny(server, folder)
    assert (folder / "tiny.pt.part").read_bytes() == CONTENT[:1_000_000]


def test_a_name_that_does_not_resolve_in_time_is_given_up(
    server: WeightsServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system's resolver may wait half a minute; the fetch does not wait for it."""
    asked = threading.Event()

    def resolve(*arguments: object, **options: object) -> list[object]:
        asked.set()
        server.gate.wait(30)
        return []

    monkeypatch.setattr("whisper_core.models.http_opener.socket.getaddrinfo", resolve)
    retry_policy = replace(QUICK, connect_s=0.1)
    with pytest.raises(ModelUnavailableError, match="official: it cannot be reached"):
        fetch("tiny", folder, sources="official", official_address="http://weights.invalid", retry_policy=retry_policy)
    assert asked.is_set()


def test_the_message_says_which_file_to_put_where_and_no_path(server: WeightsServer, folder: Path) -> None:
    with pytest.raises(ModelUnavailableError) as caught:
        fetch("large", folder, sources="local")
    assert f"Put large-v3.pt from {MODELS['large-v3'].url} into MODELS_DIR." in caught.value.message
    assert str(folder) not in caught.value.message


def test_a_lost_route_is_a_fault_of_the_network_and_not_of_the_folder(
    server: WeightsServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_route(*_: object) -> bytes:
        raise OSError(errno.EHOSTUNREACH, "No route to host")

    monkeypatch.setattr(http.client.HTTPResponse, "read1", no_route)
    with pytest.raises(ModelUnavailableError, match="official: the connection was cut"):
        fetch_tiny(server, folder)


def test_stopping_keeps_the_part(server: WeightsServer, folder: Path) -> None:
    arrived = threading.Event()
    with pytest.raises(ShuttingDownError):
        fetch_tiny(server, folder, on_progress=lambda progress: arrived.set(), should_stop=arrived.is_set)
    assert 0 < (folder / "tiny.pt.part").stat().st_size < len(CONTENT)


def test_a_full_disk_is_reported_before_anything_is_written(
    server: WeightsServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("whisper_core.models.download.shutil.disk_usage", lambda folder: used)
    with pytest.raises(DiskFullError):
        fetch_tiny(server, folder)
    assert not (folder / "tiny.pt.part").exists()


def test_a_disk_that_fills_up_gets_its_space_back(server: WeightsServer, folder: Path) -> None:
    folder.mkdir()
    (folder / "tiny.pt.part").symlink_to("/dev/full")
    with pytest.raises(DiskFullError):
        fetch_tiny(server, folder)
    assert not (folder / "tiny.pt.part").is_symlink()


@pytest.mark.parametrize("names", [("tiny", "tiny", "tiny"), ("tiny-int8", "tiny", "tiny-int8")])
def test_fetches_of_one_file_take_turns(server: WeightsServer, folder: Path, names: tuple[str, ...]) -> None:
    barrier = threading.Barrier(len(names))
    contents: list[bytes] = []

    def run(name: str) -> None:
        barrier.wait(10)
        contents.append(fetch_tiny(server, folder, name=name))

    threads = [threading.Thread(target=run, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert contents == [CONTENT] * 3
    assert len(server.ranges) == 1
    assert {path.name for path in folder.iterdir()} == {"tiny.pt", "tiny.lock"}


def test_the_message_about_an_int8_model_names_the_file_that_it_needs(server: WeightsServer, folder: Path) -> None:
    with pytest.raises(ModelUnavailableError, match=r"Put large-v3-turbo\.pt from https://"):
        fetch("turbo-int8", folder, sources="local")


def test_a_folder_that_cannot_be_created_is_reported(server: WeightsServer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelUnavailableError, match="MODELS_DIR cannot be read or written"):
        fetch_tiny(server, tmp_path / "file" / "models")
