"""The image on a PostgreSQL server of this machine's, which it reaches over a network."""

from __future__ import annotations

import json
import os
import pwd
import re
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tools.deployment_proof import compose_options
from tools.deployment_proof.checks import MODEL, RECORDING, check_answer, check_kept
from tools.deployment_proof.client import ask
from tools.deployment_proof.container_steps import LOOK_EVERY_S, stop, wait_until_healthy
from tools.deployment_proof.network import Place, network_of_two
from tools.deployment_proof.podman import Podman
from tools.deployment_proof.report import ProofError, run_logged, say, step

CONTAINER = "whisper-scheduler-postgresql"
PORT = 5552
USER = NAME = "whisper"
LIMIT_S = 120


class DatabaseProof:
    """After the proof with SQLite, on the same volume."""

    def __init__(self, folder: Path, podman: Podman, compose: dict[str, Any], image: str) -> None:
        self._folder = folder
        self._podman = podman
        self._options = [*compose_options.run_options(compose), "--dns=127.0.0.1"]
        self._image = image
        self._key, self._password = secrets.token_hex(32), secrets.token_hex(16)

    def run(self, before: dict[str, Any]) -> None:
        """before: what was transcribed with SQLite."""
        with network_of_two("server", "database") as (server, place):
            with step("a PostgreSQL server, on an address of its own"):
                postgresql = Postgresql(self._folder / "postgresql", place, self._password)
                postgresql.make()
            with postgresql.running():
                self._check(server, postgresql, before)

    def _check(self, server: Place, postgresql: Postgresql, before: dict[str, Any]) -> None:
        network, key = f"--network=ns:{server.path}", f"--env=API_KEYS=admin:{self._key}"
        with step("migrate-to: the tasks of before into PostgreSQL"):
            say(self._podman.run([*self._options, "--rm", network], self._image, "migrate-to", postgresql.url))
        with step("start with DATABASE_URL"):
            own = ["--detach", f"--name={CONTAINER}", network, key, "--env=MODEL_SOURCES=local"]
            self._podman.run([*own, f"--env=DATABASE_URL={postgresql.url}", *self._options], self._image)
            wait_until_healthy(self._podman, CONTAINER, self._image)
            check_kept(ask(server.enter, PORT, "text", before["id"], key=self._key), before)
        with step("transcribe"):
            answer = json.loads(ask(server.enter, PORT, "transcribe", str(RECORDING), MODEL, key=self._key))
            check_answer(answer)
            found = postgresql.ask("SELECT status, count(*) FROM tasks GROUP BY status")
            say(f"in PostgreSQL: {found}")
            if found != "completed|2":
                raise ProofError("both tasks should be there")
        with step("stop"):
            stop(self._podman, CONTAINER)


class Postgresql:
    """By Debian's programs, in a folder of its own."""

    def __init__(self, folder: Path, place: Place, password: str) -> None:
        self._folder = folder
        self._place = place
        self._password = password
        self._user = pwd.getpwnam("postgres")
        self._environment = {**os.environ, "PGPASSWORD": password, "LC_ALL": "C.UTF-8"}

    @property
    def url(self) -> str:
        return f"postgresql://{USER}:{self._password}@{self._place.address}/{NAME}"

    def make(self) -> None:
        self._folder.parent.chmod(0o711)
        self._folder.mkdir()
        secret = self._folder / "password"
        secret.write_text(self._password)
        for path in (self._folder, secret):
            os.chown(path, self._user.pw_uid, self._user.pw_gid)
        options = ["-D", self._data, "-U", USER, f"--pwfile={secret}", "--auth=scram-sha-256", "--encoding=UTF8"]
        run_logged([*self._as_user, program("initdb"), *options], self._folder / "initdb.log", LIMIT_S)
        with open(f"{self._data}/pg_hba.conf", "a") as rules:
            rules.write("host all all 192.0.2.0/24 scram-sha-256\n")

    @contextmanager
    def running(self) -> Iterator[None]:
        settings = ["-D", self._data, "-c", f"listen_addresses={self._place.address}", "-c", "unix_socket_directories="]
        with open(self._folder / "log", "wb") as log:
            command = [*self._place.enter, *self._as_user, program("postgres"), *settings]
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            self._wait_until_ready()
            self._client("createdb", "--template=template0", NAME)
            say(self.ask("SELECT version()").partition(" (")[0])
            yield
        finally:
            process.terminate()
            process.wait(LIMIT_S)

    def _wait_until_ready(self) -> None:
        began = time.monotonic()
        while True:
            try:
                self._client("pg_isready", "--quiet", "--dbname=postgres")
                return
            except subprocess.CalledProcessError as error:
                if time.monotonic() - began > LIMIT_S:
                    raise ProofError((self._folder / "log").read_text()) from error
            time.sleep(LOOK_EVERY_S)

    def ask(self, statement: str) -> str:
        return self._client("psql", "--no-align", "--tuples-only", f"--dbname={NAME}", f"--command={statement}")

    def _client(self, name: str, *arguments: str) -> str:
        where = [f"--host={self._place.address}", f"--username={USER}"]
        done = subprocess.run(
            [*self._place.enter, program(name), *where, *arguments],
            env=self._environment, stdout=subprocess.PIPE, text=True, check=True, timeout=LIMIT_S,
        )  # fmt: skip
        return done.stdout.strip()

    @property
    def _data(self) -> str:
        return str(self._folder / "data")

    @property
    def _as_user(self) -> list[str]:
        return ["setpriv", f"--reuid={self._user.pw_uid}", f"--regid={self._user.pw_gid}", "--clear-groups"]


def program(name: str) -> str:
    """Debian's newest. Raises ProofError."""
    folders = Path("/usr/lib/postgresql").glob("*/bin")
    newest = sorted(folders, key=lambda folder: int(re.sub(r"\D", "", folder.parent.name) or 0), reverse=True)
    found = shutil.which(name, path=os.pathsep.join(map(str, newest)))
    if found is None:
        raise ProofError(f"{name} of PostgreSQL is not installed")
    return found
