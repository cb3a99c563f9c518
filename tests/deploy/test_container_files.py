"""Dockerfile and compose.yaml: what makes the container safe and reachable is in them, and they belong together."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from config import Settings
from tests.paths import ROOT

COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES = ["cpu", "gpu"]
# gunicorn's graceful_timeout in the server: then it kills its worker itself.
SERVER_STOPS_WITHIN_S = 25


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions with their arguments, in order."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.lstrip().startswith("#")]
    whole = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in whole.splitlines() if line)]


def final_stage() -> list[tuple[str, str]]:
    found = instructions()
    last = max(index for index, (name, _) in enumerate(found) if name == "FROM")
    return found[last:]


def one(name: str) -> str:
    (argument,) = [argument for found, argument in final_stage() if found == name]
    return argument


def image_environment() -> dict[str, str]:
    words = " ".join(argument for name, argument in final_stage() if name == "ENV").split()
    return dict(word.split("=", 1) for word in words)


def health_check() -> list[str]:
    command: list[str] = json.loads(one("HEALTHCHECK").partition("CMD ")[2])
    return command


@contextmanager
def server_that_answers(status: int) -> Iterator[HTTPServer]:
    """Every path but /readyz is not found."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/readyz" else 404)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            return

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def run_health_check(port: int) -> int:
    program, *arguments = health_check()
    assert program == "python"
    done = subprocess.run([sys.executable, *arguments], env={"PORT": str(port)}, capture_output=True, timeout=30)
    return done.returncode


def test_the_server_is_no_root_and_gets_signals_itself() -> None:
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", one("USER"))
    assert json.loads(one("ENTRYPOINT")) == ["python", "main.py"]
    assert one("STOPSIGNAL") == "SIGTERM"


def test_the_image_keeps_its_data_in_the_volume_and_serves_on_the_port_it_exposes() -> None:
    environment = image_environment()
    assert json.loads(one("VOLUME")) == [environment["DATA_DIR"]]
    assert environment["MODELS_DIR"].startswith(environment["DATA_DIR"] + "/")
    assert one("EXPOSE") == environment["PORT"]


@pytest.mark.parametrize(("status", "is_healthy"), [(200, True), (503, False)])
def test_the_health_check_follows_readiness(status: int, is_healthy: bool) -> None:
    with server_that_answers(status) as server:
        assert (run_health_check(server.server_port) == 0) is is_healthy


def test_a_server_that_does_not_listen_is_unhealthy() -> None:
    with server_that_answers(200) as server:
        port = server.server_port
    assert run_health_check(port) != 0


def test_every_package_of_the_program_is_in_the_image() -> None:
    copied = {word for name, argument in instructions() if name == "COPY" for word in argument.split()[:-1]}
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "benchmarks", "tools"}
    assert {"whisper_core", "optimizer", "web"} <= packages
    assert packages | {"templates", "static", "*.py"} <= copied


def test_only_what_is_copied_can_reach_the_builder() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    copied = {
        word.partition("/")[0]
        for name, argument in instructions()
        if name == "COPY" and "--from" not in argument
        for word in argument.split()[:-1]
    }
    assert {rule[1:] for rule in rules if rule.startswith("!")} == copied
    assert {"static/vendor", "static/built", "**/__pycache__"} <= set(rules)


@pytest.mark.parametrize("name", SERVICES)
def test_only_this_machine_reaches_the_published_port(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["ports"] == [f"127.0.0.1:${{PORT:-5552}}:{image_environment()['PORT']}"]
    assert "network_mode" not in service


@pytest.mark.parametrize("name", SERVICES)
def test_data_is_in_a_named_volume_whatever_the_settings_file_says(name: str) -> None:
    service = COMPOSE["services"][name]
    volume, _, place = service["volumes"][0].partition(":")
    assert volume in COMPOSE["volumes"]
    wanted = {key: image_environment()[key] for key in ("HOST", "PORT", "DATA_DIR", "MODELS_DIR")}
    assert service["environment"] == wanted
    assert place == wanted["DATA_DIR"]
    assert {key.lower() for key in service["environment"]} <= set(Settings.model_fields)


@pytest.mark.parametrize("name", SERVICES)
def test_the_container_may_do_nothing_that_the_server_does_not_need(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert service["tmpfs"] == ["/tmp"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert "user" not in service  # the image's own


@pytest.mark.parametrize("name", SERVICES)
def test_the_container_comes_back_and_may_stop_in_peace(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["restart"] == "unless-stopped"
    assert int(service["stop_grace_period"].removesuffix("s")) > SERVER_STOPS_WITHIN_S


def test_profiles_choose_between_the_cpu_and_all_cards() -> None:
    assert {name: service["profiles"] for name, service in COMPOSE["services"].items()} == {
        name: [name] for name in SERVICES
    }
    (device,) = COMPOSE["services"]["gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}
    assert COMPOSE["services"]["gpu"]["build"]["args"]["TORCH_VARIANT"] == "cuda"


@pytest.fixture
def torch_choice(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the Dockerfile's step that installs packages, with commands that only say how they were called."""
    (step,) = [argument for name, argument in instructions() if name == "RUN" and "TORCH_VARIANT" in argument]
    (tmp_path / "requirements.txt").write_text((ROOT / "requirements.txt").read_text())
    for name in ("pip", "python"):
        program = tmp_path / name
        program.write_text(f'#!/bin/sh\necho {name} "$@"\ntest "$1 $2" != "$PIP_FAILS"\n')
        program.chmod(0o755)

    def run(**arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", **arguments}
        return subprocess.run(
            ["sh", "-c", step], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=30
        )

    return run


def test_ray_comes_only_where_it_is_asked_for(torch_choice: Any) -> None:
    done = torch_choice(TORCH_VARIANT="cuda", WITH_RAY="1")
    assert done.returncode == 0
    assert done.stdout.splitlines()[1:] == ["pip install -r requirements-postgresql.txt -r requirements-cluster.txt"]


@pytest.mark.parametrize("variant", ["cuda", ""])
def test_by_default_torch_comes_with_the_other_packages(torch_choice: Any, variant: str) -> None:
    done = torch_choice(TORCH_VARIANT=variant)
    assert done.returncode == 0
    assert done.stdout.splitlines()[1:] == ["pip install -r requirements-postgresql.txt"]


def test_the_cpu_build_comes_first_and_alone_from_the_index_that_was_named(torch_choice: Any, tmp_path: Path) -> None:
    done = torch_choice(TORCH_VARIANT="cpu", TORCH_INDEX_URL="http://index.test/cpu")
    assert done.stdout.splitlines()[1:] == [
        "pip install --no-deps --index-url http://index.test/cpu -r torch-cpu.txt",
        "pip install -r requirements-postgresql.txt",
        "pip uninstall --yes triton",
    ]
    (pinned,) = re.findall(r"(?m)^torch==.*$", (ROOT / "requirements.txt").read_text())
    assert (tmp_path / "torch-cpu.txt").read_text() == f"{pinned}+cpu\n"


def test_without_a_cpu_build_the_image_is_not_built_with_another(torch_choice: Any) -> None:
    done = torch_choice(TORCH_VARIANT="cpu", PIP_FAILS="install --no-deps")
    assert done.returncode != 0
    assert "TORCH_INDEX_URL" in done.stderr
    assert "-r requirements" not in done.stdout


def test_an_unknown_variant_is_refused(torch_choice: Any) -> None:
    done = torch_choice(TORCH_VARIANT="rocm")
    assert done.returncode != 0
    assert "rocm" in done.stderr
