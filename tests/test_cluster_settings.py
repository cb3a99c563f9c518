"""cluster_settings.py: a Ray cluster is used only when nobody else can use it."""

from __future__ import annotations

from pathlib import Path

import pytest

from config import Settings, load_settings
from errors import InvalidSettingsError

TOKEN = "a token that nobody guesses"
PUBLIC, LOOPBACK = "192.0.2.10:6379", "127.0.0.1:6379"


@pytest.fixture(autouse=True)
def empty_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also without the token that somebody may have in his home."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def load(tmp_path: Path, *lines: str) -> Settings:
    path = tmp_path / ".env"
    path.write_text("\n".join(lines))
    return load_settings(path)


def refusal(tmp_path: Path, *lines: str) -> str:
    with pytest.raises(InvalidSettingsError) as raised:
        load(tmp_path, *lines)
    assert raised.value.exit_code == 2
    assert TOKEN not in str(raised.value)
    return str(raised.value)


@pytest.mark.proves("S24")
def test_a_cluster_that_other_machines_reach_is_used_with_a_token_only(tmp_path: Path) -> None:
    cluster, token = ("EXECUTOR=ray", f"RAY_ADDRESS={PUBLIC}"), f"RAY_AUTH_TOKEN={TOKEN}"
    assert "RAY_AUTH_MODE=token" in refusal(tmp_path, *cluster)
    assert "RAY_AUTH_MODE=token" in refusal(tmp_path, *cluster, token)
    assert "RAY_AUTH_MODE=token" in refusal(tmp_path, *cluster, token, "RAY_AUTH_MODE=disabled")
    assert "RAY_AUTH_TOKEN" in refusal(tmp_path, *cluster, "RAY_AUTH_MODE=token")
    assert "RAY_AUTH_TOKEN" in refusal(tmp_path, *cluster, "RAY_AUTH_MODE=token", "RAY_AUTH_TOKEN=short")
    settings = load(tmp_path, *cluster, token, "RAY_AUTH_MODE=token")
    assert (settings.ray_token, settings.uses_ray_token) == (TOKEN, True)
    assert TOKEN not in f"{settings!r} {settings.public_values()}"
    assert "RAY_ADDRESS" not in settings.public_values()
    for address in (LOOPBACK, "localhost:6379", "[::1]:6379"):
        assert load(tmp_path, "EXECUTOR=ray", f"RAY_ADDRESS={address}").ray_token == ""
    assert "RAY_AUTH_MODE=token" in refusal(tmp_path, "EXECUTOR=ray", "RAY_ADDRESS=0.0.0.0:6379")


@pytest.mark.parametrize("name", ["named", ".ray/auth_token"])
def test_the_token_may_be_in_a_file(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"{TOKEN}\n")
    file.chmod(0o600)
    lines = ["EXECUTOR=ray", f"RAY_ADDRESS={PUBLIC}", "RAY_AUTH_MODE=token"]
    assert load(tmp_path, *lines, *([f"RAY_AUTH_TOKEN_PATH={file}"] if name == "named" else [])).ray_token == TOKEN


def test_a_token_that_everybody_on_this_machine_can_read_is_none(tmp_path: Path) -> None:
    file = tmp_path / "named"
    file.write_text(f"{TOKEN}\n")
    file.chmod(0o644)
    lines = ["EXECUTOR=ray", f"RAY_ADDRESS={PUBLIC}", "RAY_AUTH_MODE=token", f"RAY_AUTH_TOKEN_PATH={file}"]
    assert "chmod 600" in refusal(tmp_path, *lines)
    file.chmod(0o640)  # a group may be meant to
    assert load(tmp_path, *lines).ray_token == TOKEN
    file.chmod(0o644)
    assert load(tmp_path, *lines, f"RAY_AUTH_TOKEN={TOKEN}").ray_token == TOKEN  # the file is not used


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        (["EXECUTOR=ray"], "RAY_ADDRESS"),
        (["EXECUTOR=ray", "RAY_ADDRESS=auto"], "RAY_ADDRESS"),
        (["EXECUTOR=ray", "RAY_ADDRESS=ray://127.0.0.1:10001"], "RAY_ADDRESS"),
        (["EXECUTOR=ray", "RAY_ADDRESS=127.0.0.1:0"], "RAY_ADDRESS"),
        (["EXECUTOR=ray", f"RAY_ADDRESS={LOOPBACK}", "ENABLE_OPTIMIZATION_SYSTEM=False"], "ENABLE_OPTIMIZATION_SYSTEM"),
        (["SHARED_DIR=/somewhere/else"], "SHARED_DIR"),
        (["DEVICES=none"], "EXECUTOR=ray"),
    ],
)
def test_what_a_cluster_cannot_be_used_with_is_named(tmp_path: Path, lines: list[str], named: str) -> None:
    assert named in refusal(tmp_path, *lines)


def test_ray_s_own_variables_mean_nothing_to_a_server_without_a_cluster(tmp_path: Path) -> None:
    assert load(tmp_path, f"RAY_ADDRESS={PUBLIC}", "RAY_AUTH_MODE=k8s").executor == "local"
