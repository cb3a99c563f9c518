"""The settings of what happens without a click or leads to other machines: webhooks, links, metrics, a watched folder.

Part of `config.Settings`.
"""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as Base64Error
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr
from pydantic_settings import BaseSettings

from errors import InvalidOptionError
from optimizer.common.addresses import checked_url
from setting_values import account_or_none
from whisper_core.common.extensions import Seam, installed, path_of
from whisper_core.text.formats import FORMATS

SECRET_PREFIX = "whsec_"  # noqa: S105 - says what follows
_SECRET_BYTES = range(24, 65)
WATCH = "watch"


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
    """Raises ValueError, which never quotes an address."""
    try:
        for entry in parse_entries(text):
            checked_url(entry, allow_private=True, field="webhook_urls")
    except InvalidOptionError:
        raise ValueError(
            "must be addresses such as https://example.org/hook, without a user name or a password, separated by commas"
        ) from None
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


def parse_formats(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(None, (entry.strip().lower() for entry in text.split(",")))))


def _known_formats(text: str) -> str:
    formats = parse_formats(text)
    if not formats or not set(formats) <= set(FORMATS):
        raise ValueError(f"must be formats, separated by commas: {', '.join(FORMATS)}")
    return text


def parse_options(text: str) -> list[tuple[str, str]]:
    """Name and text of each entry. Raises ValueError."""
    entries = [entry.partition("=") for entry in filter(None, (entry.strip() for entry in text.split(";")))]
    if not all(equals for _, equals, _ in entries):
        raise ValueError("must be options as NAME=VALUE, separated by semicolons")
    return [(name.strip(), value.strip()) for name, _, value in entries]


def _readable_options(text: str) -> str:
    parse_options(text)
    return text


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

    enable_links: bool = Field(
        False,
        description="an upload may be an address (url) in place of a file, which the server fetches; public ones only",
    )
    link_allow_private: bool = Field(False, description="links may also lead to private addresses and to this machine")

    enable_metrics: bool = Field(
        True,
        description="GET /metrics tells Prometheus how the server does; with accounts only admin may ask",
    )

    extra_metrics: Annotated[str, AfterValidator(_known_metrics)] = Field(
        "",
        description="metrics of other packages, each a line at /metrics and a plot in the System view: names of"
        " installed ones, or module:name, comma-separated (docs/extending.md)",
    )

    watch_dir: str = Field(
        "", description="folder whose recordings become tasks, with all that is below it; empty: none is watched"
    )
    output_dir: str = Field(
        "",
        description="where the transcripts of recordings in WATCH_DIR go, in the same folders as there; empty: beside"
        " the recordings",
    )
    watch_formats: Annotated[str, AfterValidator(_known_formats)] = Field(
        "txt,srt", description="formats of those transcripts, comma-separated"
    )
    watch_options: Annotated[str, AfterValidator(_readable_options)] = Field(
        "",
        description="options of tasks from WATCH_DIR as in the HTTP API, with semicolons: model=turbo; language=de",
    )
    watch_when_done: Literal["keep", "move", "delete"] = Field(
        "keep",
        description="what becomes of a recording in WATCH_DIR once its transcripts are on the disk; move: into the"
        " folder done in WATCH_DIR",
    )
    watch_keep_tasks: bool = Field(
        True,
        description="False: tasks from WATCH_DIR, with the server's copies of the recordings, are deleted once their"
        " transcripts are on the disk",
    )
    watch_owner: Annotated[str, AfterValidator(account_or_none)] = Field(
        "", description="account that tasks from WATCH_DIR belong to; needed where there are accounts"
    )
    watch_interval: float = Field(5, ge=0.1, le=86_400, description="seconds between two looks into WATCH_DIR")
    watch_settled: float = Field(
        10, ge=0, le=86_400, description="seconds for which a file in WATCH_DIR has not changed before it is taken"
    )

    @property
    def extra_metric_names(self) -> tuple[str, ...]:
        return parse_entries(self.extra_metrics)

    @property
    def watched_folder(self) -> Path | None:
        return Path(self.watch_dir) if self.watch_dir else None

    @property
    def owner_of_watched(self) -> str:
        """Whose the tasks of the watched folder are; without accounts the folder has a share as a person has."""
        return self.watch_owner or WATCH

    @property
    def webhook_addresses(self) -> tuple[str, ...]:
        return parse_entries(self.webhook_urls)

    @property
    def sends_webhooks(self) -> bool:
        return self.enable_webhooks or bool(self.webhook_addresses)
