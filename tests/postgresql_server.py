"""A PostgreSQL server for the tests: Debian's, in a folder of its own, on 127.0.0.1, with a database for each test."""

from __future__ import annotations

import itertools
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from optimizer.storage.schema import SCHEMA_REVISION, metadata
from tests.leaks import outliving_tests

USER, PASSWORD = "whisper", "not-a-secret-4711"
TEMPLATE = "with_tables"
COPY = "copy"
START_LIMIT_S = 30
_FOLDERS = Path("/usr/lib/postgresql")  # where Debian has a folder for each version
_ARE_TABLES_OURS = f"""
    SELECT count(*) FROM information_schema.tables, alembic_version
    WHERE table_schema = 'public' AND table_name <> 'search_index' AND version_num = '{SCHEMA_REVISION}'
"""  # noqa: S608
# Nothing here has to survive a power cut.
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "100",
    "shared_buffers": "32MB",
    "autovacuum": "off",
}


def missing() -> str | None:
    """Why there can be no server, None where there can be."""
    if _program("postgres") is None:
        return "PostgreSQL is not installed: tools/ensure_postgresql.sh does that"
    try:
        import psycopg  # noqa: F401
    except ImportError:
        return "psycopg is not installed: see requirements-postgresql.txt"
    return None


class PostgresqlServer:
    """Runs until the end of `running`."""

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        """settings: of the server, before those that all have here."""
        self.folder = folder
        self._settings = {**_SETTINGS, **(settings or {})}
        self.port = free_port()
        self._numbers = itertools.count(1)
        self._free: list[str] = []
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> psutil.Process:
        assert self._process is not None
        return psutil.Process(self._process.pid)

    def url(self, database: str = "postgres", *, password: str = PASSWORD) -> str:
        return f"postgresql://{USER}:{password}@127.0.0.1:{self.port}/{database}"

    def make_cluster(self) -> None:
        password = self.folder / "password"
        password.write_text(PASSWORD)
        give_away(self.folder)
        # A language's order of texts, which is another one than that of their bytes.
        order = ["--locale-provider=icu", "--icu-locale=en-US"] if _major() >= 15 else []
        self.run("initdb", "-D", self.data, "-U", USER, f"--pwfile={password}", "--auth=password", "--no-sync",
                  "--encoding=UTF8", "--locale=C.UTF-8", *order)  # fmt: skip

    def make_copy(self, of: PostgresqlServer, port: int | None = None) -> None:
        """In place of make_cluster: from its start on it follows that server, by the name of COPY there. port: of
        127.0.0.1, where another one than the server's own leads there."""
        give_away(self.folder)
        address = of.url("").replace(f":{of.port}/", f":{port or of.port}/")
        self.run("pg_basebackup", "-D", self.data, "--write-recovery-conf", "--checkpoint=fast",
                 "-d", f"{address}?application_name={COPY}")  # fmt: skip

    def promote(self) -> None:
        """Of a copy: it follows nobody any more. Waits until it can be written."""
        self.execute("SELECT pg_promote()")

    @property
    def data(self) -> str:
        return str(self.folder / "data")

    def start(self) -> None:
        settings = [f"--{name}={value}" for name, value in {**self._settings, "port": str(self.port)}.items()]
        with open(self.folder / "log", "ab") as log:
            self._process = subprocess.Popen(
                [str(_program("postgres")), "-D", self.data, *settings], stdout=log, stderr=log, **as_ordinary_user()
            )
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        pause = threading.Event()
        for _ in range(START_LIMIT_S * 50):
            with suppress(OSError):
                self.execute("SELECT 1")
                return
            pause.wait(0.02)
        raise AssertionError((self.folder / "log").read_text()[-2000:])

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT: open connections are closed. SIGQUIT: at once, as by a crash."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(START_LIMIT_S)
            self._process = None

    def execute(self, statement: str, *values: object, database: str = "postgres") -> list[Any]:
        """The rows, if there are any. Raises OSError when the server cannot be reached."""
        with self.connected(database) as connection:
            cursor = connection.execute(statement.encode(), values or None)
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def connected(self, database: str) -> Iterator[Any]:
        """A connection of psycopg's. Raises OSError when the server cannot be reached."""
        import psycopg

        try:
            with psycopg.connect(self.url(database), autocommit=True, connect_timeout=5) as connection:
                yield connection
        except psycopg.OperationalError as error:
            raise OSError(str(error)) from None

    def database(self) -> str:
        """The name of one with this version's tables, and nothing in them."""
        return self._free.pop() if self._free else self.new_database(TEMPLATE)

    def new_database(self, template: str = "template0") -> str:
        """The name of one that is made, without any table unless the template has them."""
        name = f"t{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def give_back(self, name: str) -> None:
        """Emptied, which takes a fifth of what making one takes. Whoever still has it open loses it."""
        self.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", name)
        if self.execute(_ARE_TABLES_OURS, database=name) != [(len(metadata.tables) + 1,)]:
            self.drop(name)
            return
        self.execute("DROP TABLE IF EXISTS search_index", database=name)
        self.execute(f"TRUNCATE {', '.join(metadata.tables)} RESTART IDENTITY", database=name)
        self.execute("INSERT INTO arrivals (id, last_seq) VALUES (1, 0)", database=name)
        self._free.append(name)

    def drop(self, name: str) -> None:
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def run(self, program: str, *arguments: str) -> None:
        """One of PostgreSQL's own programs, as the server's user, who may write into `folder`."""
        command = [str(_program(program)), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **as_ordinary_user())
        assert done.returncode == 0, done.stderr


@contextmanager
def running() -> Iterator[PostgresqlServer]:
    from optimizer.storage.store import TaskStore

    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
    server = PostgresqlServer(folder)
    try:
        server.make_cluster()
        server.start()
        server.execute(f"CREATE DATABASE {TEMPLATE} TEMPLATE template0")
        store = TaskStore(folder, server.url(TEMPLATE))
        store.open()
        store.close()
        yield server
    finally:
        server.stop(signal.SIGQUIT)
        shutil.rmtree(folder)


@contextmanager
def following(server: PostgresqlServer, port: int | None = None) -> Iterator[PostgresqlServer]:
    """A copy by streaming; see make_copy."""
    copy = PostgresqlServer(Path(tempfile.mkdtemp(prefix="postgresql-copy-")))
    try:
        copy.make_copy(server, port)
        copy.start()
        yield copy
    finally:
        copy.stop(signal.SIGQUIT)
        shutil.rmtree(copy.folder)


@contextmanager
def outliving(server: PostgresqlServer) -> Iterator[None]:
    """The server may be there when a test in the block ends. Again after each start."""
    with outliving_tests(server.process):
        yield


def _program(name: str) -> Path | None:
    folders = sorted(_FOLDERS.glob("*/bin"), key=lambda folder: int(re.sub(r"\D", "", folder.parent.name) or 0))
    found = shutil.which(name, path=os.pathsep.join(map(str, reversed(folders)))) or shutil.which(name)
    return Path(found) if found else None


def _major() -> int:
    said = subprocess.run([str(_program("postgres")), "--version"], capture_output=True, text=True, check=True).stdout
    return int(re.findall(r"\d+", said)[0])


def _ordinary_user() -> pwd.struct_passwd | None:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    names = {user.pw_name: user for user in pwd.getpwall()}
    return names.get("postgres") or names["nobody"]


def as_ordinary_user() -> dict[str, Any]:
    user = _ordinary_user()
    own: dict[str, Any] = {"env": {**os.environ, "LC_ALL": "C", "LANG": "C"}}
    return own if user is None else {**own, "user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def give_away(folder: Path) -> None:
    user = _ordinary_user()
    if user is not None:
        for path in (folder, *folder.iterdir()):
            os.chown(path, user.pw_uid, user.pw_gid)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
