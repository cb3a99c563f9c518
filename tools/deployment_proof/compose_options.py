"""compose.yaml's words for how a container runs, as Podman's options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

# What another part of the proof does, or what needs the engine that the file is written for.
NOT_APPLIED = {
    "profiles", "image", "build", "env_file", "ports", "restart", "logging", "healthcheck", "network_mode", "entrypoint"
}  # fmt: skip
DOCKERS_TMPFS = "rw,noexec,nosuid,nodev"  # Podman's own would allow programs on it


def service(compose_file: Path, name: str) -> dict[str, Any]:
    settings: dict[str, Any] = yaml.safe_load(compose_file.read_text())["services"][name]
    return settings


def run_options(settings: dict[str, Any]) -> list[str]:
    """Raises KeyError for a key that nobody here knows, so that none is passed over."""
    options: list[str] = []
    for key, value in settings.items():
        if key in NOT_APPLIED:
            continue
        options += {
            "environment": lambda names: [f"--env={name}={value}" for name, value in names.items()],
            "volumes": lambda volumes: [f"--volume={volume}" for volume in volumes],
            "read_only": lambda is_set: ["--read-only", "--read-only-tmpfs=false"] if is_set else [],
            "tmpfs": lambda paths: [f"--tmpfs={path}:{DOCKERS_TMPFS}" for path in paths],
            "cap_drop": lambda names: [f"--cap-drop={name}" for name in names],
            "security_opt": lambda names: [f"--security-opt={name.removesuffix(':true')}" for name in names],
            "shm_size": lambda size: [f"--shm-size={size.removesuffix('b')}"],
            "stop_grace_period": lambda period: [f"--stop-timeout={period.removesuffix('s')}"],
        }[key](value)
    return options


def entrypoint(settings: dict[str, Any]) -> list[str]:
    """The words of its command. Compose takes two dollars for one."""
    return [word.replace("$$", "$") for word in settings["entrypoint"]]
