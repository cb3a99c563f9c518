"""The unit of systemd, installed as docs/deploy.md says into a bare Debian, and that Debian booted."""

from __future__ import annotations

import re
import socket
from pathlib import Path

from tools.deployment_proof.checks import MODEL, RECORDING, ROOT, check_answer, check_kept, check_page_files
from tools.deployment_proof.client import Client
from tools.deployment_proof.debian import PROGRAM_FOLDER, Debian
from tools.deployment_proof.namespaces import own_cgroup
from tools.deployment_proof.report import begin, say, step

UNIT = "whisper-scheduler"
SETTINGS_FILE = Path("etc/whisper-scheduler.env")
BAD_SETTINGS = 2  # the server's exit code

LIMITS = """\
What this does not show: NVIDIA cards, a machine's own kernel settings, and limits of memory and processes, since the
Debian is a container of systemd-nspawn without controllers of control groups. Weights come from the package index."""


class ServiceProof:
    REQUIRED = ("debootstrap", "systemd-nspawn", "systemctl", "nsenter", "git")

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._debian = Debian(folder, UNIT)
        self._port = free_port()
        self._client = Client(self._port)

    def run(self) -> None:
        begin("deploy/whisper-scheduler.service", LIMITS)
        with step("a bare Debian with systemd"):
            self._debian.make()
        with own_cgroup(self._folder.name):
            with step("install"):
                self._install()
            with self._debian.booted():
                self._check_service()

    def _install(self) -> None:
        self._debian.copy_program()
        self._debian.run("make", "-C", f"/{PROGRAM_FOLDER}", "page")
        settings = (ROOT / ".env.sample").read_text()
        self._write_settings(re.sub(r"(?m)^PORT=.*$", f"PORT={self._port}", settings) + "MODEL_SOURCES=package-index\n")
        self._debian.install_unit()

    def _write_settings(self, text: str) -> None:
        (self._debian.tree / SETTINGS_FILE).write_text(text)

    def _check_service(self) -> None:
        debian = self._debian
        with step("boot, until the service is ready"):
            self._wait_until_ready()
            say(debian.inside("systemctl", "--no-pager", "--lines=0", "status", UNIT))
            debian.check_confinement()
        with step("the page's files"):
            check_page_files(self._client.page_file_sizes())
        with step(f"fetch {MODEL} and transcribe"):
            answer = self._client.transcribe(RECORDING, MODEL)
            check_answer(answer)
        with step("systemctl restart"):
            debian.inside("systemctl", "restart", UNIT)
            self._wait_until_ready()
            check_kept(self._client.text(answer["id"]), answer)
        with step("kill the server's first process: systemd starts it again"):
            debian.inside("systemctl", "kill", "--signal=KILL", "--kill-whom=main", UNIT)
            debian.wait_until("one restart", lambda: debian.property("NRestarts") == "1")
            self._wait_until_ready()
            check_kept(self._client.text(answer["id"]), answer)
        with step("systemctl stop"):
            debian.inside("systemctl", "stop", UNIT)
            debian.expect(ActiveState="inactive", Result="success", ExecMainStatus="0")
        with step("a bad setting: the start fails once and is not repeated"):
            self._write_settings("MAX_BATCH_SIZE=none\n")
            debian.inside("systemctl", "start", UNIT)
            debian.wait_until("failure", lambda: debian.property("ActiveState") == "failed")
            debian.expect(ActiveState="failed", ExecMainStatus=str(BAD_SETTINGS), NRestarts="0")

    def _wait_until_ready(self) -> None:
        self._debian.wait_until("ready", self._client.is_ready)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
