"""Where weights are looked for, and that damaged ones are not found again."""

from __future__ import annotations

from pathlib import Path

import pytest

from errors import ModelUnavailableError
from tests.whisper_core.models.weights_server import CONTENT, WeightsServer, fetch_tiny
from whisper_core.models.weight_files import locate

pytestmark = pytest.mark.usefixtures("toy_tiny")


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


def test_an_int8_model_is_found_wherever_its_models_weights_are(folder: Path, tmp_path: Path) -> None:
    cache, package = tmp_path / "cache" / "whisper", folder / "base.ct2.bin"
    for place, name in ((cache / "large-v3-turbo.pt", "turbo"), (package, "base"), (folder / "base.pt", "base")):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b"weights")
        located = locate(f"{name}-int8", folder)
        assert located is not None
        assert located == locate(name, folder)
        assert located.path == place


def test_a_file_found_damaged_for_an_int8_model_is_damaged_for_its_model(server: WeightsServer, folder: Path) -> None:
    folder.mkdir()
    (folder / "tiny.pt").write_bytes(b"damaged")
    with pytest.raises(ModelUnavailableError):
        fetch_tiny(server, folder, sources="local", name="tiny-int8")
    assert locate("tiny", folder) is None


def test_a_damaged_file_is_not_located_again_and_is_replaced(server: WeightsServer, folder: Path) -> None:
    folder.mkdir()
    (folder / "tiny.pt").write_bytes(b"damaged")
    assert locate("tiny", folder) is not None  # by its name alone

    with pytest.raises(ModelUnavailableError):
        fetch_tiny(server, folder, sources="local")
    assert locate("tiny", folder) is None

    assert fetch_tiny(server, folder) == CONTENT
    assert locate("tiny", folder) is not None


def test_damage_that_is_noted_is_not_noted_again(server: WeightsServer, folder: Path) -> None:
    """Whoever looks while the note is written anew would take the file for intact."""
    folder.mkdir()
    (folder / "tiny.pt").write_bytes(b"damaged")
    with pytest.raises(ModelUnavailableError):
        fetch_tiny(server, folder, sources="local")
    note = folder / "tiny.pt.damaged"
    written_at = note.stat().st_mtime_ns
    with pytest.raises(ModelUnavailableError):
        fetch_tiny(server, folder, sources="local")
    assert (note.stat().st_mtime_ns, locate("tiny", folder)) == (written_at, None)


def test_a_damaged_file_is_located_again_once_it_was_replaced(server: WeightsServer, folder: Path) -> None:
    folder.mkdir()
    (folder / "tiny.pt").write_bytes(b"damaged")
    with pytest.raises(ModelUnavailableError):
        fetch_tiny(server, folder, sources="local")
    (folder / "tiny.pt").write_bytes(CONTENT)
    assert locate("tiny", folder) is not None
