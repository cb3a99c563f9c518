"""What the proofs read: the Dockerfile's base, compose.yaml's words, and how pip reaches its packages here."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.paths import ROOT
from tools.deployment_proof import package_access
from tools.deployment_proof.base_tree import BaseImage
from tools.deployment_proof.compose_options import entrypoint, run_options, service
from tools.deployment_proof.package_access import Mount


def test_the_base_is_the_one_that_the_dockerfile_names() -> None:
    base = BaseImage.of(ROOT / "Dockerfile")
    assert f"FROM {base.name.rpartition('/')[2]}\n" in (ROOT / "Dockerfile").read_text()
    assert base.name.endswith(f"-{base.suite}")


@pytest.mark.parametrize("lines", ["FROM debian:bookworm", "FROM python:3.11-slim-a AS x\nFROM python:3.12-slim-a"])
def test_another_base_is_refused(tmp_path: Path, lines: str) -> None:
    (tmp_path / "Dockerfile").write_text(lines + "\n")
    with pytest.raises(ValueError, match=r"python|too many"):
        BaseImage.of(tmp_path / "Dockerfile")


def test_every_word_of_compose_becomes_an_option() -> None:
    options = run_options(
        {
            "image": "not this proof's",
            "environment": {"HOST": "0.0.0.0", "PORT": "1"},
            "volumes": ["data:/data"],
            "read_only": True,
            "tmpfs": ["/tmp"],
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges:true"],
            "stop_grace_period": "35s",
            "shm_size": "1gb",
        }
    )
    assert options == [
        "--env=HOST=0.0.0.0",
        "--env=PORT=1",
        "--volume=data:/data",
        "--read-only",
        "--read-only-tmpfs=false",
        "--tmpfs=/tmp:rw,noexec,nosuid,nodev",
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges",
        "--stop-timeout=35",
        "--shm-size=1g",
    ]


@pytest.mark.parametrize("file", ["compose.yaml", "deploy/compose.node.yaml"])
def test_the_cpu_service_has_no_word_that_the_proof_would_pass_over(file: str) -> None:
    assert run_options(service(ROOT / file, "cpu"))
    with pytest.raises(KeyError, match="privileged"):
        run_options({"privileged": True})


def test_pips_files_on_this_machine_are_seen_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheels = tmp_path / "wheels"
    index = tmp_path / "index/simple"
    for folder in (wheels, index):
        folder.mkdir(parents=True)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_FIND_LINKS", f"{wheels} {tmp_path}/missing")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", f"http://index.test/simple file://{index}")
    mounts = package_access.mounts(tmp_path)
    assert Mount(wheels, wheels) in mounts
    assert Mount(index.parent, index.parent) in mounts
    configuration = next(mount.source for mount in mounts if mount.target == Path("/etc/pip.conf")).read_text()
    assert f"find-links = {wheels} {tmp_path}/missing\n" in configuration
    assert f"extra-index-url = http://index.test/simple file://{index}\n" in configuration


def test_a_variable_of_the_container_is_left_to_its_shell() -> None:
    shell, _, command = entrypoint(service(ROOT / "deploy/compose.node.yaml", "cpu"))
    assert shell == "/bin/sh"
    assert "--address=$RAY_ADDRESS --node-name=$NODE_NAME" in command
