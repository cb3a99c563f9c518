"""nginx and Caddy before a server, by the files in deploy/, with only names, ports and secrets replaced."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import socket
import ssl
import subprocess
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.paths import ROOT

HOST = "transcribe.example.org"
USER, PASSWORD = "somebody", "of this test"
# For Caddy, at bcrypt's least cost: at the one of `caddy hash-password`, every request would take a second of a core.
PASSWORD_HASH = "$2a$04$Thisisthesaltofatest..OLZ3OBJzLAhOt309YL50GNf7sOVwPBW"
START_LIMIT_S = 60
LOOK_EVERY_S = 0.05
REQUEST_LIMIT_S = 60
_SYSTEM_FOLDERS = f"{os.environ.get('PATH', '')}:/usr/sbin"


@dataclass(frozen=True)
class Proxy:
    """A running one. port: of this machine. certificate: by which it proves to be HOST."""

    port: int
    certificate: Path

    @property
    def origin(self) -> str:
        """Of its pages."""
        return f"https://{HOST}:{self.port}"

    def connect(self) -> ssl.SSLSocket:
        context = ssl.create_default_context(cafile=str(self.certificate))
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=REQUEST_LIMIT_S)
        return context.wrap_socket(plain, server_hostname=HOST)

    @contextmanager
    def http(self) -> Iterator[http.client.HTTPConnection]:
        connection = http.client.HTTPConnection(HOST, self.port)
        connection.sock = self.connect()
        try:
            yield connection
        finally:
            connection.close()

    @property
    def headers(self) -> dict[str, str]:
        """What a signed-in browser sends from the proxy's own page."""
        secret = b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        return {"Authorization": f"Basic {secret}", "Origin": self.origin}


@contextmanager
def nginx(folder: Path, server_port: int) -> Iterator[Proxy]:
    program = _program("nginx")
    port, certificate, key = _free_port(), *_make_certificate(folder)
    passwords = folder / "passwords"
    hashed = _output_of("openssl", "passwd", "-apr1", PASSWORD)
    passwords.write_text(f"{USER}:{hashed}\n")
    text = _replace(
        (ROOT / "deploy/nginx.conf").read_text(),
        {
            r"listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;",
            r"listen \[::\]:443 ssl;": "",
            r"/etc/ssl/\S+/fullchain.pem": str(certificate),
            r"/etc/ssl/\S+/privkey.pem": str(key),
            r"/etc/nginx/whisper-scheduler.htpasswd;": f"{passwords};",
            r"http://127.0.0.1:5552": f"http://127.0.0.1:{server_port}",
        },
    )
    configuration = _nginx_file(folder, text)
    with _running([program, "-p", str(folder), "-c", str(configuration)], folder, port):
        yield Proxy(port, certificate)


def _nginx_file(folder: Path, text: str) -> Path:
    """With what else nginx needs to run from a folder of its own."""
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;" if os.geteuid() == 0 else ""  # who may read the test's folder
    configuration = folder / "nginx.conf"
    configuration.write_text(
        f"daemon off; {user} pid {folder}/nginx.pid; error_log {folder}/error.log; events {{}}\n"
        f"http {{ access_log off; {temporary}\n{text}\n}}\n"
    )
    return configuration


@contextmanager
def caddy(folder: Path, server_port: int) -> Iterator[Proxy]:
    program = _program("caddy")
    port, certificate, key = _free_port(), *_make_certificate(folder)
    text = _replace(
        (ROOT / "deploy/Caddyfile").read_text(),
        {
            rf"(?m)^{re.escape(HOST)} \{{": f"{HOST}:{port} {{\n\tbind 127.0.0.1\n\ttls {certificate} {key}",
            r"\$2a\$14\$replace\S+": PASSWORD_HASH,
            r"127\.0\.0\.1:5552": f"127.0.0.1:{server_port}",
        },
    )
    configuration = folder / "Caddyfile"
    configuration.write_text(f"{{\n\tadmin off\n\tauto_https disable_redirects\n}}\n{text}")
    command = [program, "run", "--adapter", "caddyfile", "--config", str(configuration)]
    with _running(command, folder, port):
        yield Proxy(port, certificate)


@contextmanager
def nginx_below_a_path(folder: Path, server_port: int) -> Iterator[int]:
    """With the recipe of docs/deploy.md, without TLS. Gives the port."""
    program, port = _program("nginx"), _free_port()
    (connection_map,) = re.findall(r"^map .*?^}", (ROOT / "deploy/nginx.conf").read_text(), re.MULTILINE | re.DOTALL)
    locations = _recipe("nginx", server_port)
    configuration = _nginx_file(folder, f"{connection_map}\nserver {{ listen 127.0.0.1:{port};\n{locations}\n}}")
    with _running([program, "-p", str(folder), "-c", str(configuration)], folder, port):
        yield port


@contextmanager
def caddy_below_a_path(folder: Path, server_port: int) -> Iterator[int]:
    program, port = _program("caddy"), _free_port()
    configuration = folder / "Caddyfile"
    site = f"http://:{port} {{\n\tbind 127.0.0.1\n{_recipe('caddyfile', server_port)}\n}}\n"
    configuration.write_text(f"{{\n\tadmin off\n\tauto_https off\n}}\n{site}")
    with _running([program, "run", "--adapter", "caddyfile", "--config", str(configuration)], folder, port):
        yield port


@contextmanager
def nginx_before_several(folder: Path, server_ports: tuple[int, int]) -> Iterator[int]:
    """With deploy/nginx-several.conf, without TLS and password. Gives the port."""
    program, port = _program("nginx"), _free_port()
    several = (ROOT / "deploy/nginx-several.conf").read_text()
    (change,) = re.findall(r"(?m)^#   proxy_pass http://whisper_scheduler;\n#   (proxy_next_upstream .*;)$", several)
    for documented, own in zip((5552, 5553), server_ports, strict=True):
        several = _replace(several, {rf"127\.0\.0\.1:{documented}": f"127.0.0.1:{own}"})
    server = _replace(
        (ROOT / "deploy/nginx.conf").read_text(),
        {
            r"listen 443 ssl;": f"listen 127.0.0.1:{port};",
            r"listen \[::\]:443 ssl;": "",
            r"(?m)^ +ssl_certificate(_key)? .*\n +ssl_certificate_key .*$": "",
            r"(?m)^ +auth_basic .*\n +auth_basic_user_file .*$": "",
            r"proxy_pass http://127.0.0.1:5552;": f"proxy_pass http://whisper_scheduler; {change}",
        },
    )
    configuration = _nginx_file(folder, several + server)
    with _running([program, "-p", str(folder), "-c", str(configuration)], folder, port):
        yield port


BELOW_A_PATH: dict[str, Callable[[Path, int], AbstractContextManager[int]]] = {
    "nginx": nginx_below_a_path,
    "caddy": caddy_below_a_path,
}


def _recipe(language: str, server_port: int) -> str:
    (text,) = re.findall(rf"^```{language}\n(.*?)^```$", (ROOT / "docs/deploy.md").read_text(), re.M | re.S)
    return _replace(text, {r"127\.0\.0\.1:5552": f"127.0.0.1:{server_port}"})


PROXIES: dict[str, Callable[[Path, int], AbstractContextManager[Proxy]]] = {"nginx": nginx, "caddy": caddy}


def _program(name: str) -> str:
    program = shutil.which(name, path=_SYSTEM_FOLDERS)
    if program is None:
        pytest.skip(f"{name} is not installed")
    return program


def _always(replacement: str, _: re.Match[str]) -> str:
    """Taken as it is, whatever backslashes it has."""
    return replacement


def _replace(text: str, replacements: dict[str, str]) -> str:
    for pattern, replacement in replacements.items():
        text, count = re.subn(pattern, partial(_always, replacement), text)
        assert count == 1, f"{pattern} is there {count} times"
    return text


def _make_certificate(folder: Path) -> tuple[Path, Path]:
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    _output_of(
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
        "-days", "2", "-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}",
        "-keyout", str(key), "-out", str(certificate),
    )  # fmt: skip
    return certificate, key


def _output_of(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def _running(command: list[str], folder: Path, port: int) -> Iterator[None]:
    """Until the block ends; begins when the port answers."""
    log = folder / "proxy.log"
    with open(log, "w") as output:
        process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            env={**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)},
        )  # fmt: skip
        try:
            _wait_until_it_listens(process, port, log)
            yield
        finally:
            process.terminate()
            process.wait(START_LIMIT_S)


def _wait_until_it_listens(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    pause, waited_s = threading.Event(), 0.0
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except ConnectionRefusedError:
            assert process.poll() is None, log.read_text()
            assert waited_s < START_LIMIT_S, log.read_text()
            pause.wait(LOOK_EVERY_S)
            waited_s += LOOK_EVERY_S
