"""The image with Ray: a node as deploy/compose.node.yaml says, and a head with a server that uses it."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from tools.deployment_proof import compose_options
from tools.deployment_proof.checks import MODEL, RECORDING, ROOT, check_answer
from tools.deployment_proof.client import ask
from tools.deployment_proof.container_steps import LOOK_EVERY_S, described, fetch_weights, stop
from tools.deployment_proof.network import Place, network_of_two
from tools.deployment_proof.podman import Podman
from tools.deployment_proof.report import ProofError, say, step

IMAGE = "localhost/whisper-scheduler:cpu-cluster"
HEAD, NODE = "head", "node"
NODE_NAME = "gpu2"
DEVICE = f"{NODE_NAME}-cpu"
RAY_PORT, PORT = 6379, 5552
JOIN_LIMIT_S = 180
STOPPED = (1,)  # what Ray says when it is stopped
# As docs/cluster.md starts it, beside the server, because the two must see the same /tmp.
START = (
    f"ray start --head --port={RAY_PORT} --num-cpus=0 --include-dashboard=false --disable-usage-stats"
    " && exec python main.py"
)


class ClusterProof:
    """packages: options by which the package index is reached."""

    def __init__(self, folder: Path, podman: Podman, packages: Sequence[str]) -> None:
        self._folder = folder
        self._podman = podman
        self._packages = packages
        self._key, self._token = secrets.token_hex(32), secrets.token_hex(32)
        self._compose = compose_options.service(ROOT / "deploy/compose.node.yaml", "cpu")

    def run(self) -> None:
        with step("build, TORCH_VARIANT=cpu WITH_RAY=1"):
            options = ["--build-arg=TORCH_VARIANT=cpu", "--build-arg=WITH_RAY=1", *self._packages]
            self._podman.build(ROOT, IMAGE, options, self._folder / "build-cluster.log")
            say(described(self._podman, IMAGE))
        with step(f"weights of {MODEL} into both volumes"):
            for volume in ("head-data:/data", "node-data:/data"):
                fetch_weights(self._podman, IMAGE, [volume], self._packages)
        with network_of_two(HEAD, NODE) as (head, node):
            with step("a head, and a server without a device of its own"):
                self._start_head(head)
            with step("start a node as deploy/compose.node.yaml says, until the server has its device"):
                self._start_node(head, node)
                self._wait_until("the device", lambda: self._devices(head).get(DEVICE) == "ready")
            with step("transcribe on it"):
                self._transcribe(head)
            with step("stop the node, until its device is gone"):
                stop(self._podman, NODE, STOPPED)
                self._wait_until("no device", lambda: DEVICE not in self._devices(head))

    def _start_head(self, place: Place) -> None:
        settings = {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": self._token,
            "RAY_ADDRESS": f"{place.address}:{RAY_PORT}",
            "EXECUTOR": "ray",
            "DEVICES": "none",
            "MODEL_SOURCES": "local",
            "API_KEYS": f"admin:{self._key}",
        }
        variables = [f"--env={name}={value}" for name, value in settings.items()]
        own = [*_placed(HEAD, place), "--volume=head-data:/data", "--shm-size=1g", "--entrypoint=/bin/sh"]
        self._podman.run([*own, *variables], IMAGE, "-c", START)
        self._wait_until("an answer", lambda: self._answers(place))

    def _start_node(self, head: Place, place: Place) -> None:
        """With what its node.env would have."""
        settings = {**self._compose, "volumes": ["node-data:/data"]}
        options = compose_options.run_options(settings)
        say("options: " + " ".join(options))
        program, *words = compose_options.entrypoint(self._compose)
        given = {
            "RAY_ADDRESS": f"{head.address}:{RAY_PORT}",
            "RAY_AUTH_TOKEN": self._token,
            "NODE_NAME": NODE_NAME,
            "MODEL_SOURCES": "local",
        }
        variables = [f"--env={name}={value}" for name, value in given.items()]
        own = [*_placed(NODE, place), f"--entrypoint={program}"]
        self._podman.run([*own, *variables, *options], IMAGE, *words)

    def _transcribe(self, head: Place) -> None:
        answer = json.loads(ask(head.enter, PORT, "transcribe", str(RECORDING), MODEL, key=self._key))
        check_answer(answer)
        if answer["device"] != DEVICE:
            raise ProofError(f"it should have been done by {DEVICE}, not by {answer['device']}")

    def _answers(self, head: Place) -> bool:
        with suppress(RuntimeError):
            ask(head.enter, PORT, "devices", key=self._key)
            return True
        return False

    def _devices(self, head: Place) -> dict[str, str]:
        found: dict[str, str] = json.loads(ask(head.enter, PORT, "devices", key=self._key))
        return found

    def _wait_until(self, what: str, is_true: Callable[[], bool]) -> None:
        began = time.monotonic()
        while not is_true():
            if time.monotonic() - began > JOIN_LIMIT_S:
                logs = "\n".join(self._podman("logs", "--tail=40", name) for name in (HEAD, NODE))
                raise ProofError(f"waited in vain for {what}:\n{logs}")
            time.sleep(LOOK_EVERY_S)
        say(f"{what} after {time.monotonic() - began:.1f} s")


def _placed(name: str, place: Place) -> list[str]:
    """A name server would be waited for in vain."""
    return ["--detach", f"--name={name}", f"--hostname={name}", f"--network=ns:{place.path}", "--dns=127.0.0.1"]
