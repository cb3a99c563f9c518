"""Podman, with all that it keeps in one folder."""

from __future__ import annotations

import json
import resource
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tools.deployment_proof.report import run_logged

BUILD_LIMIT_S = 1500
COMMAND_LIMIT_S = 300
SMALL_LIMIT = 16_384


def own_limits() -> list[str]:
    """Never above this process's, since root without CAP_SYS_RESOURCE can raise none; Podman's own are higher."""
    options = []
    for name, kind in (("nofile", resource.RLIMIT_NOFILE), ("nproc", resource.RLIMIT_NPROC)):
        hard = resource.getrlimit(kind)[1]
        limit = SMALL_LIMIT if hard == resource.RLIM_INFINITY else min(SMALL_LIMIT, hard)
        options.append(f"--ulimit={name}={limit}:{limit}")
    return options


class Podman:
    def __init__(self, folder: Path) -> None:
        self._command = ["podman", f"--root={folder / 'images'}", f"--runroot={folder / 'run'}"]
        self._command += ["--cgroup-manager=cgroupfs"]

    def import_tree(self, tree: Path, name: str) -> None:
        """Make the folder `tree` an image."""
        archive = subprocess.Popen(["tar", "--create", f"--directory={tree}", "."], stdout=subprocess.PIPE)
        with archive:
            subprocess.run(
                [*self._command, "import", "--quiet", "-", name],
                stdin=archive.stdout, stdout=subprocess.DEVNULL, check=True, timeout=COMMAND_LIMIT_S,
            )  # fmt: skip

    def build(self, context: Path, tag: str, options: Sequence[str], log: Path) -> None:
        """Isolation by chroot: no limits are set, which could need a capability."""
        own = ["--isolation=chroot", "--network=host", "--format=docker", "--pull=never", f"--tag={tag}"]
        run_logged([*self._command, "build", *own, *options, str(context)], log, BUILD_LIMIT_S)

    def run(self, options: Sequence[str], image: str, *command: str) -> str:
        own = ["--cgroups=disabled", "--no-healthcheck", *own_limits()]
        return self("run", *own, *options, image, *command)

    def __call__(self, *arguments: str) -> str:
        """Raises CalledProcessError; what was said on stderr is passed on."""
        done = subprocess.run(
            [*self._command, *arguments], stdout=subprocess.PIPE, check=True, text=True, timeout=COMMAND_LIMIT_S
        )
        return done.stdout.strip()

    def succeeds(self, *arguments: str) -> bool:
        done = subprocess.run([*self._command, *arguments], capture_output=True, timeout=COMMAND_LIMIT_S)
        return done.returncode == 0

    def inspect(self, kind: str, name: str) -> dict[str, Any]:
        found: list[dict[str, Any]] = json.loads(self(kind, "inspect", name))
        return found[0]
