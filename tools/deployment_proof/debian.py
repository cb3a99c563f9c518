"""A Debian in a folder, and that Debian booted by systemd-nspawn."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from tools.deployment_proof import base_tree, package_access
from tools.deployment_proof.checks import ROOT
from tools.deployment_proof.report import ProofError, run_logged, say, step

PROGRAM_FOLDER = Path("usr/local/lib/whisper-scheduler")
PACKAGES = (*base_tree.PACKAGES, "systemd", "systemd-sysv", "make", "procps")
INSTALL_LIMIT_S = 1500
COMMAND_LIMIT_S = 120
WAIT_LIMIT_S = 90
STOP_LIMIT_S = 60
LOOK_EVERY_S = 0.5
POWER_OFF = 38  # SIGRTMIN+4, as systemd wants to be told
NSPAWN = ("systemd-nspawn", "--quiet", "--register=no", "--keep-unit")


class Debian:
    """With the program in it, and one unit of deploy/: `make`, `copy_program`, `run`, `install_unit`, then `booted`."""

    def __init__(self, folder: Path, unit: str) -> None:
        self.tree = folder / "tree"
        self._folder = folder
        self._unit = unit
        self._binds = [f"--bind-ro={mount.source}:{mount.target}" for mount in package_access.mounts(folder)]
        self._enter: list[str] = []

    def make(self) -> None:
        suite = base_tree.BaseImage.of(ROOT / "Dockerfile").suite
        base_tree.make_tree(self.tree, suite, self._folder / "debootstrap.log", PACKAGES)

    def copy_program(self) -> None:
        names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, timeout=60).stdout
        for name in names.decode().rstrip("\0").split("\0"):
            target = self.tree / PROGRAM_FOLDER / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target)

    def run(self, *command: str) -> None:
        """Before it is booted, with this machine's network and packages."""
        log = self._folder / f"{Path(command[0]).name}.log"
        run_logged(self.nspawn("--as-pid2", *command), log, INSTALL_LIMIT_S)

    def install_unit(self) -> None:
        shutil.copy(ROOT / f"deploy/{self._unit}.service", self.tree / "etc/systemd/system")
        subprocess.run(["systemctl", f"--root={self.tree}", "--quiet", "enable", self._unit], check=True, timeout=60)

    def nspawn(self, *arguments: str, tree: Path | None = None) -> list[str]:
        """A command with these further options and words. tree: another one than its own."""
        # bpf: by it systemd limits the devices that a service may use.
        options = [f"--directory={tree or self.tree}", "--system-call-filter=bpf", *self._binds]
        return [*NSPAWN, *options, *arguments]

    def layer(self, name: str) -> Path:
        """A tree above its own: what is changed there is not changed here."""
        tree, changes, work = (self._folder / f"{name}{part}" for part in ("", "-changes", "-work"))
        for folder in (tree, changes, work):
            folder.mkdir()
        options = f"lowerdir={self.tree},upperdir={changes},workdir={work}"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, str(tree)], check=True, timeout=60)
        return tree

    @contextmanager
    def booted(self, *options: str, tree: Path | None = None) -> Iterator[None]:
        environment = {**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}
        machine = subprocess.Popen(
            self.nspawn("--boot", "--console=pipe", *options, tree=tree),
            env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            first = _first_process(machine.pid)
            self._enter = ["nsenter", f"--target={first.pid}", "--mount", "--pid", "--uts", "--ipc", "--cgroup"]
            yield
            with step("power off"):
                first.send_signal(POWER_OFF)
                machine.wait(STOP_LIMIT_S)
        finally:
            machine.kill()
            machine.wait()

    # While it is booted

    def inside(self, *command: str) -> str:
        done = subprocess.run(
            [*self._enter, *command], stdout=subprocess.PIPE, text=True, check=True, timeout=COMMAND_LIMIT_S
        )
        return done.stdout.strip()

    def log(self, lines: int = 40) -> str:
        """The unit's."""
        return self.inside("journalctl", "--no-pager", f"--unit={self._unit}", f"--lines={lines}")

    def property(self, name: str) -> str:
        """The unit's."""
        return self.inside("systemctl", "show", f"--property={name}", "--value", self._unit)

    def expect(self, **wanted: str) -> None:
        """Raises ProofError unless the unit's properties are these."""
        found = {name: self.property(name) for name in wanted}
        say(str(found))
        if found != wanted:
            raise ProofError(f"it should be {wanted}")

    def wait_until(self, what: str, is_true: Callable[[], bool], limit_s: float = WAIT_LIMIT_S) -> None:
        began = time.monotonic()
        while not is_true():
            if time.monotonic() - began > limit_s:
                raise ProofError(f"waited in vain for {what}:\n{self.log()}")
            time.sleep(LOOK_EVERY_S)
        say(f"{what} after {time.monotonic() - began:.1f} s")

    def check_confinement(self, names: Sequence[str] = ("Uid", "CapBnd", "NoNewPrivs", "Seccomp")) -> None:
        """Of the unit's first process."""
        status = self.inside("cat", f"/proc/{self.property('MainPID')}/status")
        found = dict(line.split(":\t", 1) for line in status.splitlines())
        say("the service's process: " + ", ".join(f"{name} {found[name].split()[0]}" for name in names))
        if found["Uid"].split()[0] == "0" or int(found["CapBnd"], 16) or found["NoNewPrivs"] != "1":
            raise ProofError("it should be no root, without capabilities and without new privileges")


def _first_process(nspawn_pid: int) -> psutil.Process:
    began = time.monotonic()
    while time.monotonic() - began < WAIT_LIMIT_S:
        for child in psutil.Process(nspawn_pid).children():
            if child.name() == "systemd":
                return child
        time.sleep(LOOK_EVERY_S)
    raise ProofError("systemd did not start")
