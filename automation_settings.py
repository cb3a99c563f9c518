"""The settings of what happens without a click: webhooks and metrics. They are part of `config.Settings`."""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as Base64Error
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr
from pydantic_settings import BaseSettings

from whisper_core.common.extensions import Seam, installed, path_of

SECRET_PREFIX = "whsec_"  # noqa: S105 - says what follows
_SECRET_BYTES = range(24, 65)


def parse_entries(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (entry.strip() for entry in text.split(","))))


def _known_metrics(text: str) -> str:
    if unknown := [name for name in parse_entries(text) if path_of(Seam.METRIC, name) is None]:
        there = ", ".join(sorted(installed(Seam.METRIC))) or "none"
        raise ValueError(
            f"names {unknown[0]}, which is not installed (installed: {there}) and is no module:name either"
        )
    return text


def _known_addresses(text: str) -> str:
    if not all(entry.startswith(("http://", "https://")) for entry in parse_entries(text)):
        raise ValueError("must be addresses such as https://example.org/hook, separated by commas")
    return text


def _usable_secret(secret: SecretStr) -> SecretStr:
    """Raises ValueError, which never quotes the secret."""
    text = secret.get_secret_value()
    try:
        is_usable = len(b64decode(text.removeprefix(SECRET_PREFIX), validate=True)) in _SECRET_BYTES
    except (Base64Error, ValueError):
        is_usable = False
    if text and not (text.startswith(SECRET_PREFIX) and is_usable):
        raise ValueError("must be whsec_ and 24 to 64 bytes in base64, or empty")
    return secret


class AutomationSettings(BaseSettings):
    enable_webhooks: bool = Field(
        False,
        description="accounts may name addresses that are told when their tasks end, and a task its own (callback_url)",
    )
    webhook_allow_private: bool = Field(
        False, description="webhooks may also go to private addresses and to this machine"
    )
    webhook_urls: Annotated[str, AfterValidator(_known_addresses)] = Field(
        "",
        description="addresses that are told of the end of every task, comma-separated; also without ENABLE_WEBHOOKS",
    )
    webhook_secret: Annotated[SecretStr, AfterValidator(_usable_secret)] = Field(
        SecretStr(""),
        description="signs what WEBHOOK_URLS get and is needed with them: whsec_ and 24 to 64 random bytes in base64",
    )

    enable_metrics: bool = Field(
        True,
        description="GET /metrics tells Prometheus how the server does; with accounts only admin may ask",
    )

    extra_metrics: Annotated[str, AfterValidator(_known_metrics)] = Field(
        "",
        description="metrics of other packages, each a line at /metrics and a plot in the System view: names of"
        " installed ones, or module:name, comma-separated (docs/extending.md)",
    )

    @property
    def extra_metric_names(self) -> tuple[str, ...]:
        return parse_entries(self.extra_metrics)

    @property
    def webhook_addresses(self) -> tuple[str, ...]:
        return parse_entries(self.webhook_urls)

    @property
    def sends_webhooks(self) -> bool:
        return self.enable_webhooks or bool(self.webhook_addresses)
