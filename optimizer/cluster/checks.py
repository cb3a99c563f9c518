"""Whether Ray can be used, before anything of it is imported."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from config import Settings
from errors import InvalidSettingsError

# The first with token authentication, and without CVE-2025-62593: a web page could run programs through the dashboard.
LEAST_RAY = (2, 52)
INSTALL = "pip install -r requirements-cluster.txt"


def check_ray(settings: Settings) -> None:
    """Raises InvalidSettingsError when the settings ask for Ray, and it is not there or too old to be safe."""
    if settings.executor != "ray":
        return
    try:
        found = version("ray")
    except PackageNotFoundError:
        raise InvalidSettingsError(
            f"EXECUTOR=ray needs the package ray, which is not installed (run {INSTALL})."
        ) from None
    if tuple(int(part) for part in found.split(".")[:2]) < LEAST_RAY:
        least = ".".join(map(str, LEAST_RAY))
        raise InvalidSettingsError(
            f"EXECUTOR=ray needs ray {least} or newer, and {found} is installed: older ones let others run programs"
            f" here (run {INSTALL})."
        )
