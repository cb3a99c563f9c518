"""What is done with an image and its containers, whichever they are."""

from __future__ import annotations

import time
from collections.abc import Sequence

from tools.deployment_proof.checks import MODEL
from tools.deployment_proof.podman import Podman
from tools.deployment_proof.report import ProofError, say

HEALTHY_LIMIT_S = 90
LOOK_EVERY_S = 0.5


def described(podman: Podman, image: str) -> str:
    found = podman.inspect("image", image)
    config = found["Config"]
    return f"{found['Size'] / 1e9:.2f} GB; user {config['User']}, {config['Entrypoint']}, {config['StopSignal']}"


def fetch_weights(podman: Podman, image: str, volumes: Sequence[str], packages: Sequence[str]) -> None:
    """Into the volumes. packages: options by which the package index is reached."""
    options = ["--rm", "--network=host", "--entrypoint=python", "--env=MODEL_SOURCES=package-index"]
    mounted = [f"--volume={volume}" for volume in volumes]
    podman.run([*options, *mounted, *packages], image, "-m", "tools.fetch_model", MODEL)


def wait_until_healthy(podman: Podman, container: str, image: str) -> None:
    """By the command that the image names. Raises ProofError."""
    kind, *command = podman.inspect("image", image)["Healthcheck"]["Test"]
    if kind != "CMD":
        raise ProofError(f"the health check is {kind}, so it needs a shell")
    began = time.monotonic()
    while not podman.succeeds("exec", container, *command):
        if time.monotonic() - began > HEALTHY_LIMIT_S:
            raise ProofError(f"not healthy after {HEALTHY_LIMIT_S} s:\n{podman('logs', container)}")
        time.sleep(LOOK_EVERY_S)
    say(f"healthy after {time.monotonic() - began:.1f} s")


def stop(podman: Podman, container: str, codes: Sequence[int] = (0,)) -> None:
    """As long as its recipe allows; Podman kills after that, which shows in the exit code. Raises ProofError."""
    began = time.monotonic()
    podman("stop", container)
    code = podman.inspect("container", container)["State"]["ExitCode"]
    say(f"exit code {code} after {time.monotonic() - began:.1f} s")
    if code not in codes:
        raise ProofError(f"it did not end by itself:\n{podman('logs', container)}")
