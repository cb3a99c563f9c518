"""A bare Debian that stands in for the Dockerfile's base image."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.deployment_proof.report import run_logged

PACKAGES = ("python3", "python3-venv", "ca-certificates")
LIMIT_S = 600


@dataclass(frozen=True)
class BaseImage:
    """The image of a Dockerfile's FROM lines. name: with its registry, as Podman files it. suite: of Debian."""

    name: str
    suite: str

    @classmethod
    def of(cls, dockerfile: Path) -> BaseImage:
        """Raises ValueError when the stages start from several images, or from one that is no Debian with Python."""
        (reference,) = set(re.findall(r"^FROM (\S+)", dockerfile.read_text(), re.MULTILINE))
        found = re.fullmatch(r"python:[\d.]+-slim-([a-z]+)", reference)
        if found is None:
            raise ValueError(f"{reference} is no python:VERSION-slim-SUITE")
        return cls(f"docker.io/library/{reference}", found.group(1))


def make_tree(tree: Path, suite: str, log: Path, packages: Sequence[str] = PACKAGES) -> None:
    """debootstrap's smallest, with Python under the name that the base image gives it."""
    options = ["--variant=minbase", f"--include={','.join(packages)}"]
    run_logged(["debootstrap", *options, suite, str(tree), mirror(suite)], log, LIMIT_S)
    (tree / "usr/bin/python").symlink_to("python3")


def mirror(suite: str) -> str:
    """The first that apt has for `suite`."""
    done = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(CODENAME) $(REPO_URI)", "Created-By: Packages"],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    addresses = [line.split()[1] for line in done.stdout.splitlines() if line.split()[0] == suite]
    if not addresses:
        raise ValueError(f"apt knows no mirror for {suite}: run this on that Debian, after apt-get update")
    return addresses[0]
