"""PostgreSQL by TLS alone: a server that proves who it is gets the password, any other one does not."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import postgresql_server
from tests.postgresql_server import PASSWORD, PostgresqlServer
from tests.server.client import Client
from tests.server.conftest import StartServer
from tests.server.test_kills import expected_text

pytestmark = pytest.mark.server

NAME = "localhost"


class Authority:
    """Whose certificate is in `file`."""

    def __init__(self, folder: Path, name: str) -> None:
        self.file, self._key = folder / f"{name}.pem", folder / f"{name}.key"
        openssl("req", "-x509", *new_key(self._key), "-subj", f"/CN={name}", "-days", "2", "-out", str(self.file))

    def certify(self, folder: Path, name: str) -> None:
        """Puts server.crt and server.key for this host's name into the folder."""
        request, names = folder / "request", folder / "names"
        openssl("req", *new_key(folder / "server.key"), "-subj", f"/CN={name}", "-out", str(request))
        names.write_text(f"subjectAltName=DNS:{name}")
        openssl("x509", "-req", "-in", str(request), "-CA", str(self.file), "-CAkey", str(self._key), "-CAcreateserial",
                "-days", "2", "-extfile", str(names), "-out", str(folder / "server.crt"))  # fmt: skip


def new_key(file: Path) -> list[str]:
    return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(file)]


def openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], capture_output=True, check=True, timeout=60)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    return Authority(tmp_path_factory.mktemp("authority"), "ours")


@pytest.fixture(scope="module")
def database(authority: Authority) -> Iterator[PostgresqlServer]:
    """Which takes no connection without TLS."""
    if (reason := postgresql_server.missing()) is not None:
        pytest.skip(reason)
    with postgresql_server.running() as server, postgresql_server.outliving(server):
        data = Path(server.data)
        authority.certify(data, NAME)
        for path in (data / "server.crt", data / "server.key"):
            os.chown(path, data.stat().st_uid, data.stat().st_gid)
            path.chmod(0o600)
        (data / "pg_hba.conf").write_text("hostssl all all all password\n")
        server.execute("ALTER SYSTEM SET ssl = on")
        server.execute("SELECT pg_reload_conf()")
        server.wait_until_ready()
        yield server


def verified(server: PostgresqlServer, certificates: Path, host: str = NAME) -> str:
    """Its address for who wants proof."""
    url = server.url(server.database()).replace("@127.0.0.1:", f"@{host}:")
    return f"{url}?sslmode=verify-full&sslrootcert={certificates}"


def test_every_connection_of_a_server_is_encrypted_and_a_recording_is_transcribed(
    start_server: StartServer, five_minutes: Path, database: PostgresqlServer, authority: Authority
) -> None:
    with start_server(DATABASE_URL=verified(database, authority.file)) as server:
        client = Client(server)
        task_id = client.upload(five_minutes)["id"]
        client.wait_for(task_id, "completed")
        assert client.transcript(task_id)["text"] == expected_text(five_minutes)
        kinds = database.execute(
            "SELECT ssl, count(*) > 1 FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) "
            "WHERE application_name = 'whisper-scheduler' GROUP BY ssl"
        )
        assert kinds == [(True, True)]
        server.send(signal.SIGTERM)
        assert server.wait() == 0


def test_a_database_server_without_proof_is_not_told_the_password_and_the_start_says_why(
    start_server: StartServer, database: PostgresqlServer, authority: Authority, tmp_path: Path
) -> None:
    other = Authority(tmp_path, "another")
    plain = database.url() + "?sslmode=disable"
    for url, message in (
        (verified(database, other.file), "of no authority in the file that sslrootcert names"),
        (verified(database, authority.file, host="127.0.0.1"), "for another name than the one that DATABASE_URL has"),
        (verified(database, tmp_path / "nowhere.pem"), "is missing or has no certificates"),
        (plain, "it does not take connections like this one"),
    ):
        server = start_server(DATABASE_URL=url)
        assert server.wait() == 2
        said = "".join(server.lines)
        assert message in said
        assert not any(secret in said for secret in (PASSWORD, str(tmp_path), str(authority.file.parent)))
