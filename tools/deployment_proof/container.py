"""The Dockerfile built, and its image run as compose.yaml says."""

from __future__ import annotations

import json
import secrets
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tools.deployment_proof import base_tree, compose_options, package_access
from tools.deployment_proof.checks import MODEL, RECORDING, ROOT, check_answer, check_kept, check_page_files
from tools.deployment_proof.client import ask
from tools.deployment_proof.container_cluster import ClusterProof
from tools.deployment_proof.container_database import DatabaseProof
from tools.deployment_proof.container_steps import described, fetch_weights, stop, wait_until_healthy
from tools.deployment_proof.podman import Podman
from tools.deployment_proof.report import ProofError, begin, say, step

IMAGE = "localhost/whisper-scheduler:cpu"
CONTAINER = "whisper-scheduler"
PORT = 5552
PARTS = ("postgresql", "ray")
BAD_SETTINGS = 2  # the server's exit code

LIMITS = """\
What this does not show: Docker itself (Podman builds and runs), the official Python image (its place is taken by
Debian's own Python in a tree made by debootstrap), the CUDA variant and the GPU profile, and what is left to the
engine: publishing the port, restarting, turning over the logs, asking for the health on a timer. Weights come from the
package index. The container has a network of its own with nothing on it; requests are sent from inside that."""

# What the container's first process may do, as it sees itself.
CONFINEMENT = """
import json, os
status = dict(line.split(":\\t", 1) for line in open("/proc/1/status").read().splitlines())
try:
    os.close(os.open("/app/written", os.O_CREAT | os.O_WRONLY))
    root = "writable"
except OSError as error:
    root = os.strerror(error.errno)
program = open("/proc/1/cmdline").read().split("\\0")[:-1]
print(json.dumps({"user": os.stat("/proc/1").st_uid, "capabilities": int(status["CapBnd"], 16), "root": root,
                  "no_new_privileges": status["NoNewPrivs"], "program": program}))
"""
CONFINED = {
    "user": 10001,
    "capabilities": 0,
    "root": "Read-only file system",
    "no_new_privileges": "1",
    "program": ["python", "main.py"],
}


class ContainerProof:
    REQUIRED = ("debootstrap", "podman", "crun", "nsenter")

    def __init__(self, folder: Path, parts: Sequence[str] = ()) -> None:
        """parts: of PARTS."""
        self._folder = folder
        self._parts = parts
        self._podman = Podman(folder)
        self._packages = [f"--volume={mount.source}:{mount.target}:ro" for mount in package_access.mounts(folder)]
        self._key = secrets.token_hex(32)
        self._compose = compose_options.service(ROOT / "compose.yaml", "cpu")

    def run(self) -> None:
        begin(f"Dockerfile and compose.yaml, {self._podman('--version')}", LIMITS)
        with step("base image"):
            self._make_base()
        with step("build, TORCH_VARIANT=cpu"):
            options = ["--build-arg=TORCH_VARIANT=cpu", *self._packages]
            self._podman.build(ROOT, IMAGE, options, self._folder / "build.log")
            say(described(self._podman, IMAGE))
        with step(f"weights of {MODEL} into the volume"):
            self._fetch_weights()
        with step("start without accounts: the server refuses, and says what to do"):
            self._check_refusal()
        with step("start as compose.yaml says and with a key, until the image's own health check passes"):
            self._start()
            self._check_confinement()
        with step("the page's files"):
            check_page_files(json.loads(self._client("page-files")))
        with step("transcribe"):
            answer = json.loads(self._client("transcribe", str(RECORDING), MODEL))
            check_answer(answer)
        with step("stop"):
            self._stop()
        with step("start again on the same volume"):
            self._podman("start", CONTAINER)
            self._wait_until_healthy()
            check_kept(self._client("text", answer["id"]), answer)
        with step("stop"):
            self._stop()
        if "postgresql" in self._parts:
            DatabaseProof(self._folder, self._podman, self._compose, IMAGE).run(answer)
        if "ray" in self._parts:
            ClusterProof(self._folder, self._podman, self._packages).run()

    def _make_base(self) -> None:
        base = base_tree.BaseImage.of(ROOT / "Dockerfile")
        tree = self._folder / "tree"
        base_tree.make_tree(tree, base.suite, self._folder / "debootstrap.log")
        self._podman.import_tree(tree, base.name)
        version = self._podman.run(["--rm", "--network=none"], base.name, "python", "--version")
        say(f"{base.name.rpartition('/')[2]} is played by Debian {base.suite} with its own {version}")

    def _fetch_weights(self) -> None:
        fetch_weights(self._podman, IMAGE, self._compose["volumes"], self._packages)

    def _start(self) -> None:
        options = compose_options.run_options(self._compose)
        say("options: " + " ".join(options))
        own = ["--detach", f"--name={CONTAINER}", "--network=none", "--env=MODEL_SOURCES=local"]
        own.append(f"--env=API_KEYS=admin:{self._key}")
        self._podman.run([*own, *options], IMAGE)
        self._wait_until_healthy()

    def _check_refusal(self) -> None:
        options = [*compose_options.run_options(self._compose), "--rm", "--network=none"]
        try:
            self._podman.run(options, IMAGE)
        except subprocess.CalledProcessError as error:
            said = error.stdout or ""
            say(f"exit code {error.returncode}")
            if error.returncode == BAD_SETTINGS:
                return
            raise ProofError(f"the server ended otherwise: {said}") from error
        raise ProofError("the server started without accounts")

    def _wait_until_healthy(self) -> None:
        wait_until_healthy(self._podman, CONTAINER, IMAGE)

    def _check_confinement(self) -> None:
        found: dict[str, Any] = json.loads(self._podman("exec", CONTAINER, "python", "-c", CONFINEMENT))
        say(f"process 1: {found}")
        if found != CONFINED:
            raise ProofError(f"it should be {CONFINED}")

    def _client(self, *arguments: str) -> str:
        """Runs beside the server in its network, on this machine's own Python."""
        process_id = self._podman.inspect("container", CONTAINER)["State"]["Pid"]
        return ask(["nsenter", f"--target={process_id}", "--net"], PORT, *arguments, key=self._key)

    def _stop(self) -> None:
        stop(self._podman, CONTAINER)
