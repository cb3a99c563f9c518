"""The settings of a server that uses the devices of other machines, through Ray.

Part of `config.Settings`. Whoever reaches a Ray cluster without authentication can run anything on every machine of it
(CVE-2023-48022), so a cluster that other machines can reach is used with a token only.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings

TOKEN_MODE = "token"  # noqa: S105 - what Ray calls the mode
MIN_TOKEN_CHARACTERS = 16
NO_DEVICES = "none"  # of a server that leaves all work to other machines: the value of DEVICES

_ADDRESS = re.compile(r"(?P<host>[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\]):(?P<port>\d{1,5})")


def host_of(address: str) -> str:
    """Of `host:port`. Raises ValueError."""
    match = _ADDRESS.fullmatch(address)
    if match is None or not 0 < int(match["port"]) < 65536:
        raise ValueError("EXECUTOR=ray needs the address of Ray's head as host:port, as in 192.0.2.10:6379")
    return match["host"].strip("[]")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


class ClusterSettings(BaseSettings):
    executor: Literal["local", "ray"] = Field(
        "local",
        description="local: this machine's devices; ray: also those of the other nodes of a Ray cluster (needs"
        " requirements-cluster.txt; docs/cluster.md)",
    )
    shared_dir: str = Field(
        "",
        description="folder that every node of the cluster has under the same path, with DATA_DIR in it: nodes read"
        " samples there in place of getting them sent; empty: there is none",
    )
    ray_auth_token: SecretStr = Field(
        SecretStr(""), description="the cluster's token, which every node must have; empty: it is in a file"
    )
    ray_auth_token_path: str = Field(
        "", description="file with the cluster's token, in place of RAY_AUTH_TOKEN; empty: ~/.ray/auth_token"
    )
    ray_auth_mode: str = Field(
        "", description="token: Ray asks everybody for the token; needed for a cluster that other machines can reach"
    )
    # The last, because it is checked together with those above.
    ray_address: str = Field("", description="address of the cluster's head, as host:port")

    @field_validator("ray_address", mode="after")
    @classmethod
    def _cluster_is_protected(cls, address: str, fields: ValidationInfo) -> str:
        """Raises ValueError, which never quotes the token."""
        if fields.data.get("executor") != "ray":
            return address
        if not is_loopback(host_of(address)):
            if fields.data.get("ray_auth_mode", "").lower() != TOKEN_MODE:
                raise ValueError(
                    "other machines can reach that address: without RAY_AUTH_MODE=token, on every node, anybody among"
                    " them could run programs here"
                )
            token, path = fields.data.get("ray_auth_token"), fields.data.get("ray_auth_token_path", "")
            if not _is_given(token) and _may_anybody_read(_token_file(path)):
                raise ValueError("every user of this machine may read the file with the cluster's token: chmod 600 it")
            if len(_token(token, path)) < MIN_TOKEN_CHARACTERS:
                raise ValueError(
                    f"other machines can reach that address: RAY_AUTH_TOKEN, or the file RAY_AUTH_TOKEN_PATH, must have"
                    f" a token of at least {MIN_TOKEN_CHARACTERS} characters"
                )
        return address

    @property
    def ray_token(self) -> str:
        """Which is secret. Empty: there is none."""
        return _token(self.ray_auth_token, self.ray_auth_token_path)

    @property
    def uses_ray_token(self) -> bool:
        return self.ray_auth_mode.lower() == TOKEN_MODE


def _token(token: SecretStr | None, path: str) -> str:
    if token is not None and _is_given(token):
        return token.get_secret_value().strip()
    try:
        return _token_file(path).read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _is_given(token: SecretStr | None) -> bool:
    return token is not None and bool(token.get_secret_value().strip())


def _token_file(path: str) -> Path:
    return Path(path).expanduser() if path else Path.home() / ".ray" / "auth_token"


def _may_anybody_read(file: Path) -> bool:
    """False also for one that is not there."""
    try:
        return bool(file.stat().st_mode & 0o004)
    except OSError:
        return False
