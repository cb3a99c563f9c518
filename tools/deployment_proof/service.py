"""The unit of systemd, installed as docs/deploy.md says into a bare Debian, and that Debian booted."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tools.deployment_proof import base_tree, package_access
from tools.deployment_proof.checks import MODEL, RECORDING, ROOT, check_answer, check_kept, check_page_files
from tools.deployment_proof.client import Client
from tools.deployment_proof.namespaces import own_cgroup
from tools.deployment_proof.report import ProofError, begin, run_logged, say, step

UNIT = "whisper-scheduler"
PROGRAM_FOLDER = Path("usr/local/lib/whisper-scheduler")
SETTINGS_FILE = Path("etc/whisper-scheduler.env")
PACKAGES = (*base_tree.PACKAGES, "systemd", "systemd-sysv", "make", "procps")
INSTALL_LIMIT_S = 1500
COMMAND_LIMIT_S = 120
READY_LIMIT_S = 90
STOP_LIMIT_S = 60
LOOK_EVERY_S = 0.5
POWER_OFF = 38  # SIGRTMIN+4, as systemd wants to be told
NSPAWN = ("systemd-nspawn", "--quiet", "--register=no", "--keep-unit")
BAD_SETTINGS = 2  # the server's exit code

LIMITS = """\
What this does not show: NVIDIA cards, a machine's own kernel settings, and limits of memory and processes, since the
Debian is a container of systemd-nspawn without controllers of control groups. Weights come from the package index."""


class ServiceProof:
    REQUIRED = ("debootstrap", "systemd-nspawn", "systemctl", "nsenter", "git")

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tree = folder / "tree"
        self._port = free_port()
        self._client = Client(self._port)
        self._binds = [f"--bind-ro={mount.source}:{mount.target}" for mount in package_access.mounts(folder)]
        self._enter: list[str] = []

    def run(self) -> None:
        begin("deploy/whisper-scheduler.service", LIMITS)
        with step("a bare Debian with systemd"):
            suite = base_tree.BaseImage.of(ROOT / "Dockerfile").suite
            base_tree.make_tree(self._tree, suite, self._folder / "debootstrap.log", PACKAGES)
        with own_cgroup(self._folder.name):
            with step("install"):
                self._install()
            with self._booted():
                self._check_service()

    def _install(self) -> None:
        self._copy_program()
        make = self._nspawn("--as-pid2", "make", "-C", f"/{PROGRAM_FOLDER}", "page")
        run_logged(make, self._folder / "make.log", INSTALL_LIMIT_S)
        shutil.copy(ROOT / f"deploy/{UNIT}.service", self._tree / "etc/systemd/system")
        settings = (ROOT / ".env.sample").read_text()
        self._write_settings(re.sub(r"(?m)^PORT=.*$", f"PORT={self._port}", settings) + "MODEL_SOURCES=package-index\n")
        subprocess.run(["systemctl", f"--root={self._tree}", "--quiet", "enable", UNIT], check=True, timeout=60)

    def _copy_program(self) -> None:
        names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, timeout=60).stdout
        for name in names.decode().rstrip("\0").split("\0"):
            target = self._tree / PROGRAM_FOLDER / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target)

    def _write_settings(self, text: str) -> None:
        (self._tree / SETTINGS_FILE).write_text(text)

    def _check_service(self) -> None:
        with step("boot, until the service is ready"):
            self._wait_until_ready()
            say(self._inside("systemctl", "--no-pager", "--lines=0", "status", UNIT))
            self._check_confinement()
        with step("the page's files"):
            check_page_files(self._client.page_file_sizes())
        with step(f"fetch {MODEL} and transcribe"):
            answer = self._client.transcribe(RECORDING, MODEL)
            check_answer(answer)
        with step("systemctl restart"):
            self._inside("systemctl", "restart", UNIT)
            self._wait_until_ready()
            check_kept(self._client.text(answer["id"]), answer)
        with step("kill the server's first process: systemd starts it again"):
            self._inside("systemctl", "kill", "--signal=KILL", "--kill-whom=main", UNIT)
            self._wait_until("one restart", lambda: self._property("NRestarts") == "1")
            self._wait_until_ready()
            check_kept(self._client.text(answer["id"]), answer)
        with step("systemctl stop"):
            self._inside("systemctl", "stop", UNIT)
            self._expect(ActiveState="inactive", Result="success", ExecMainStatus="0")
        with step("a bad setting: the start fails once and is not repeated"):
            self._write_settings("MAX_BATCH_SIZE=none\n")
            self._inside("systemctl", "start", UNIT)
            self._wait_until("failure", lambda: self._property("ActiveState") == "failed")
            self._expect(ActiveState="failed", ExecMainStatus=str(BAD_SETTINGS), NRestarts="0")

    def _check_confinement(self) -> None:
        pid = self._property("MainPID")
        status = self._inside("cat", f"/proc/{pid}/status")
        found = dict(line.split(":\t", 1) for line in status.splitlines())
        names = ("Uid", "CapBnd", "NoNewPrivs", "Seccomp")
        say("the server's process: " + ", ".join(f"{name} {found[name].split()[0]}" for name in names))
        if found["Uid"].split()[0] == "0" or int(found["CapBnd"], 16) or found["NoNewPrivs"] != "1":
            raise ProofError("it should be no root, without capabilities and without new privileges")

    def _expect(self, **wanted: str) -> None:
        found = {name: self._property(name) for name in wanted}
        say(str(found))
        if found != wanted:
            raise ProofError(f"it should be {wanted}")

    def _property(self, name: str) -> str:
        return self._inside("systemctl", "show", f"--property={name}", "--value", UNIT)

    def _inside(self, *command: str) -> str:
        done = subprocess.run(
            [*self._enter, *command], stdout=subprocess.PIPE, text=True, check=True, timeout=COMMAND_LIMIT_S
        )
        return done.stdout.strip()

    def _wait_until_ready(self) -> None:
        self._wait_until("ready", self._client.is_ready)

    def _wait_until(self, what: str, is_true: Callable[[], bool]) -> None:
        began = time.monotonic()
        while not is_true():
            if time.monotonic() - began > READY_LIMIT_S:
                log = self._inside("journalctl", "--no-pager", f"--unit={UNIT}", "--lines=40")
                raise ProofError(f"waited in vain for {what}:\n{log}")
            time.sleep(LOOK_EVERY_S)
        say(f"{what} after {time.monotonic() - began:.1f} s")

    @contextmanager
    def _booted(self) -> Iterator[None]:
        environment = {**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}
        machine = subprocess.Popen(
            self._nspawn("--boot", "--console=pipe"),
            env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            first = self._first_process(machine.pid)
            self._enter = ["nsenter", f"--target={first.pid}", "--mount", "--pid", "--uts", "--ipc", "--cgroup"]
            yield
            with step("power off"):
                first.send_signal(POWER_OFF)
                machine.wait(STOP_LIMIT_S)
        finally:
            machine.kill()
            machine.wait()

    def _nspawn(self, *arguments: str) -> list[str]:
        # bpf: by it systemd limits the devices that a service may use.
        options = [f"--directory={self._tree}", "--system-call-filter=bpf", *self._binds]
        return [*NSPAWN, *options, *arguments]

    def _first_process(self, nspawn_pid: int) -> psutil.Process:
        began = time.monotonic()
        while time.monotonic() - began < READY_LIMIT_S:
            for child in psutil.Process(nspawn_pid).children():
                if child.name() == "systemd":
                    return child
            time.sleep(LOOK_EVERY_S)
        raise ProofError("systemd did not start")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
