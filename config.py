"""The server's settings: typed, checked at the start, read from the environment and from `.env`.

`.env.sample` and docs/settings.md are made from the descriptions and limits of the fields here
(`python -m tools.settings_docs`), and tests/test_config.py fails when they differ.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Any, Literal

from dotenv import dotenv_values
from pydantic import AfterValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import SettingsConfigDict

from automation_settings import AutomationSettings
from cluster_settings import NO_DEVICES, ClusterSettings
from errors import InvalidSettingsError
from setting_values import (
    AUTO_LANGUAGE,
    DEFAULT_ENGINE,
    DEFAULT_POLICY,
    Network,
    account_or_none,
    known_database,
    known_engine,
    known_language,
    known_model,
    known_networks,
    known_policy,
    long_enough,
    parse_keys,
    parse_networks,
    readable_keys,
)
from whisper_core.models.catalogue import precision_of

AUTO_LIMIT: Literal["auto"] = "auto"
MAX_CONCURRENT_TASKS = 256
_SECRETS = (
    "secret_key", "api_keys", "database_url", "webhook_urls", "webhook_secret", "watch_options", "ray_auth_token",
)  # fmt: skip


class Settings(AutomationSettings, ClusterSettings):
    """The settings of one server. A field is named like its environment variable, in lower case.

    Made by `load_settings`. The constructor reads the environment as well; its arguments take precedence.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True, hide_input_in_errors=True)

    enable_optimization_system: bool = Field(
        True, description="False: one task at a time in order of arrival, through the same transcribe_audio"
    )
    batch_schedule_interval: float = Field(
        2, ge=0.05, le=60, description="seconds between two looks at the queue, at most"
    )
    max_task_retries: int = Field(3, ge=0, le=100, description="further attempts after the first has failed")
    memory_calibration_factor: float = Field(
        1.2,
        ge=1,
        le=4,
        description="multiplies a memory estimate that is based on fewer than five measurements;"
        " tasks that ran together count as one",
    )
    performance_monitor_interval: float = Field(30, ge=1, le=3600, description="seconds between two samples")
    enable_adaptive_optimization: bool = Field(
        True,
        description="tries other numbers of tasks at a time and per round, within the limits below, and keeps what gets"
        " more done; each change and its effect are in the log and on the page",
    )
    min_concurrent_tasks: int = Field(
        1, ge=1, le=MAX_CONCURRENT_TASKS, description="tasks that the scheduler tries to keep running, over all devices"
    )
    max_concurrent_tasks_limit: Annotated[int, Field(ge=1, le=MAX_CONCURRENT_TASKS)] | Literal["auto"] = Field(
        8,
        description="tasks that run at the same time at most, over all devices; auto: as many as the devices can run"
        " and their memory allows",
    )
    min_batch_size: int = Field(
        1, ge=1, le=64, description="tasks given to a device in one round at least, if as many are waiting"
    )
    max_batch_size: int = Field(4, ge=1, le=64, description="tasks given to a device in one round at most")

    engine: Annotated[str, AfterValidator(known_engine)] = Field(
        DEFAULT_ENGINE,
        description="batch: many tasks at once on a device; reference: openai-whisper's own functions, one task at a"
        " time (always used when ENABLE_OPTIMIZATION_SYSTEM is False); ctranslate2: faster-whisper's library,"
        " on the CPU, one task at a time (needs requirements-ctranslate2.txt); or an installed engine, or module:name"
        " (docs/extending.md)",
    )
    scheduling_policy: Annotated[str, AfterValidator(known_policy)] = Field(
        DEFAULT_POLICY,
        description="which tasks start next; fair: short ones first, but not for ever, and everybody their share; fcfs:"
        " in order of arrival; or an installed policy, or module:name (docs/extending.md)",
    )
    host: str = Field(
        "127.0.0.1",
        min_length=1,
        description="address to listen on; without accounts only one that other machines cannot reach",
    )
    port: int = Field(5552, ge=0, le=65535, description="TCP port; 0 takes a free one")
    allowed_hosts: str = Field(
        "", description="further host names, comma-separated, under which browsers may reach the server; *: any"
    )
    data_dir: Path = Field(Path("data"), description="uploads, transcripts and the database")
    models_dir: Path = Field(Path("data/models"), description="the models' weights")
    default_model: Annotated[str, AfterValidator(known_model)] = Field(
        "base",
        description="model of a task that does not name one, such as base, or base-int8 (on the CPU, with"
        " ENGINE=batch only), or a model in MODELS_DIR; fetched during set-up",
    )
    default_language: Annotated[str, AfterValidator(known_language)] = Field(
        AUTO_LANGUAGE, description="language of a task that does not name one; auto: detected"
    )
    max_upload_mb: int = Field(4096, ge=1, le=1_000_000, description="MB (10^6 bytes) of one uploaded file at most")
    max_audio_hours: float = Field(12, gt=0, le=1000, description="hours of one recording at most")
    max_queued_tasks: int = Field(
        100_000, ge=1, le=10_000_000, description="waiting tasks at most; uploads beyond that are refused"
    )
    min_free_disk_mb: int = Field(
        512, ge=0, le=1_000_000, description="MB that uploads and decoded samples leave free on the disk"
    )
    decode_ahead_mb: int = Field(
        2000,
        ge=0,
        le=100_000_000,
        description="MB of decoded samples (115 an hour of sound) that may lie on the disk for waiting tasks, half of"
        " it for one owner's; the next task's are always made",
    )
    secret_key: Annotated[SecretStr, AfterValidator(long_enough)] = Field(
        SecretStr(""),
        description="signs the sessions of those who log in; at least 32 characters; empty: a random one in DATA_DIR",
    )
    api_keys: Annotated[SecretStr, AfterValidator(readable_keys)] = Field(
        SecretStr(""),
        description="accounts as NAME:KEY, separated by commas, with keys of at least 32 characters; admin sees"
        " everything; `python main.py keys add NAME` makes a key that need not be written here",
    )
    trusted_proxies: Annotated[str, AfterValidator(known_networks)] = Field(
        "",
        description="addresses or networks of reverse proxies, comma-separated; only their X-Forwarded-For, -Proto,"
        " -Host and -Prefix are believed",
    )
    auth_header: str = Field(
        "",
        pattern=r"^([A-Za-z][A-Za-z0-9-]*)?$",
        description="header in which a single sign-on proxy names who is logged in, such as X-Remote-User; believed"
        " from TRUSTED_PROXIES only",
    )
    wyoming_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="TCP port on which Home Assistant is answered by the Wyoming protocol (docs/clients.md); 0: none",
    )
    wyoming_host: str = Field(
        "127.0.0.1",
        min_length=1,
        description="address of WYOMING_PORT; the protocol has no keys: whoever reaches it may send recordings",
    )
    wyoming_owner: Annotated[str, AfterValidator(account_or_none)] = Field(
        "", description="account whose tasks the recordings from WYOMING_PORT are; needed where there are accounts"
    )
    requests_per_minute: int = Field(
        6000, ge=0, le=1_000_000, description="requests of one account, where there are accounts; 0: no limit"
    )
    max_queued_hours_per_owner: float = Field(
        0, ge=0, le=1_000_000, description="hours of sound that one owner may have waiting or running; 0: no limit"
    )
    max_stored_mb_per_owner: int = Field(
        0, ge=0, le=100_000_000, description="MB of uploads that one owner may keep; 0: no limit"
    )
    database_url: Annotated[SecretStr, AfterValidator(known_database)] = Field(
        SecretStr(""),
        description="PostgreSQL in place of SQLite: postgresql://USER:PASSWORD@HOST/NAME (needs"
        " requirements-postgresql.txt, docs/deploy.md); empty: SQLite in DATA_DIR",
    )
    leader_election: bool = Field(
        False,
        description="several servers share DATA_DIR and a PostgreSQL DATABASE_URL on one machine: one leads, the others"
        " serve the same and take over when it ends (docs/deploy.md)",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="DEBUG, INFO, WARNING or ERROR")
    log_format: Literal["text", "json"] = Field(
        "text", description="text, or json: one object a line, for programs that collect logs"
    )
    web_threads: int = Field(
        16,
        ge=8,
        le=2048,
        description="threads for requests that read; twice as many change something, and eight times as many each wait"
        " for uploads and downloads, when there are any",
    )
    max_live_clients: int = Field(
        2000,
        ge=1,
        le=20_000,
        description="pages and scripts that follow the live feed at a time; a third of the open files that the system"
        " allows at most",
    )
    cpu_threads: int = Field(0, ge=0, le=1024, description="threads of the CPU device; 0: one per core")
    cpu_memory_mb: int = Field(
        0,
        ge=0,
        le=100_000_000,
        description="MB that tasks and models may use on the CPU; 0: what is free on the machine at the start",
    )
    devices: str = Field(
        "auto",
        pattern=r"^(auto|cpu|none|cuda:\d+(,cuda:\d+)*)$",
        description="auto, cpu, or a list such as cuda:0,cuda:1; none: only those of other machines (EXECUTOR=ray)",
    )
    out_of_memory_on_cpu: bool = Field(
        True, description="a task that runs out of memory on a GPU twice in a row continues on the CPU"
    )
    model_idle_timeout: float = Field(
        900, ge=0, le=604_800, description="seconds after which an unused model is removed from its device; 0: never"
    )
    keep_media_days: int = Field(
        0, ge=0, le=36_500, description="days after which a finished task's recording is removed; 0: never"
    )
    keep_text_days: int = Field(
        0, ge=0, le=36_500, description="days after which a finished task is deleted with its text; 0: never"
    )
    ffmpeg_binary: str = Field("", description="path of the ffmpeg to use instead of the installed package's")
    model_sources: Literal["all", "local", "official", "package-index"] = Field(
        "all", description="where weights may come from: all, local (never fetch), official or package-index"
    )

    @model_validator(mode="after")
    def _bounds_are_in_order(self) -> Settings:
        if self.max_concurrent is not None and self.min_concurrent_tasks > self.max_concurrent:
            raise ValueError("MIN_CONCURRENT_TASKS must not be above MAX_CONCURRENT_TASKS_LIMIT")
        if self.min_batch_size > self.max_batch_size:
            raise ValueError("MIN_BATCH_SIZE must not be above MAX_BATCH_SIZE")
        return self

    @model_validator(mode="after")
    def _default_model_is_offered(self) -> Settings:
        is_openai_whisper = not self.enable_optimization_system or self.engine == "reference"
        if precision_of(self.default_model) == "int8" and is_openai_whisper:
            raise ValueError(
                "DEFAULT_MODEL can be an int8 model only with the optimization system, and not with ENGINE=reference"
            )
        return self

    @model_validator(mode="after")
    def _header_has_its_proxy(self) -> Settings:
        if self.auth_header and not self.proxy_networks:
            raise ValueError("AUTH_HEADER needs TRUSTED_PROXIES: anybody else could send that header, too")
        return self

    @model_validator(mode="after")
    def _webhooks_are_signed(self) -> Settings:
        if self.webhook_addresses and not self.webhook_secret.get_secret_value():
            raise ValueError("WEBHOOK_URLS needs WEBHOOK_SECRET, which signs what is sent")
        return self

    @model_validator(mode="after")
    def _watched_folder_is_not_ours(self) -> Settings:
        watched, data = Path(self.watch_dir).resolve(), self.data_dir.resolve()
        if self.watch_dir and (watched.is_relative_to(data) or data.is_relative_to(watched)):
            raise ValueError("WATCH_DIR and DATA_DIR must be apart, not one inside the other")
        return self

    @model_validator(mode="after")
    def _wyoming_has_its_owner(self) -> Settings:
        if self.wyoming_port and self.names_accounts and not self.wyoming_owner:
            raise ValueError("WYOMING_PORT needs WYOMING_OWNER where there are accounts: the protocol has no keys")
        return self

    @model_validator(mode="after")
    def _elections_have_their_database(self) -> Settings:
        if self.leader_election and not self.database_url.get_secret_value().startswith("postgresql"):
            raise ValueError("LEADER_ELECTION needs a DATABASE_URL of PostgreSQL, whose lock says who leads")
        return self

    @model_validator(mode="after")
    def _cluster_has_its_scheduler(self) -> Settings:
        if self.executor == "ray" and not self.enable_optimization_system:
            raise ValueError("EXECUTOR=ray needs ENABLE_OPTIMIZATION_SYSTEM: the plain path has one device")
        if self.executor == "local" and self.devices == NO_DEVICES:
            raise ValueError("DEVICES=none needs EXECUTOR=ray: otherwise no device would be there")
        if self.shared_dir and not self.data_dir.resolve().is_relative_to(Path(self.shared_dir).resolve()):
            raise ValueError("DATA_DIR must be in SHARED_DIR, so that other machines find the samples there")
        return self

    @property
    def named_keys(self) -> list[tuple[str, str]]:
        """The entries of API_KEYS: name and key, which is secret."""
        return parse_keys(self.api_keys.get_secret_value())

    @property
    def proxy_networks(self) -> tuple[Network, ...]:
        return parse_networks(self.trusted_proxies)

    @property
    def names_accounts(self) -> bool:
        """Whether the settings themselves say that there are accounts; the database may have more."""
        return bool(self.named_keys or self.auth_header)

    @property
    def max_concurrent(self) -> int | None:
        """MAX_CONCURRENT_TASKS_LIMIT, or None for `auto`."""
        limit = self.max_concurrent_tasks_limit
        return None if limit == AUTO_LIMIT else limit

    @property
    def max_upload_bytes(self) -> int:
        return self.max_upload_mb * 1_000_000

    @property
    def min_free_disk_bytes(self) -> int:
        return self.min_free_disk_mb * 1_000_000

    @property
    def decode_ahead_bytes(self) -> int:
        return self.decode_ahead_mb * 1_000_000

    @property
    def max_audio_seconds(self) -> float:
        return self.max_audio_hours * 3600

    @property
    def is_public(self) -> bool:
        """Whether other machines can reach the server."""
        try:
            return not ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host.lower() != "localhost"

    def public_values(self) -> dict[str, Any]:
        """Every setting by the name of its environment variable, without secrets, paths of the machine, and what says
        whom the server believes."""
        hidden = {"secret_key", "api_keys", "trusted_proxies", "auth_header", "webhook_urls", "webhook_secret"}
        hidden |= {"database_url", "data_dir", "models_dir", "ffmpeg_binary"}
        hidden |= {"watch_dir", "output_dir", "watch_owner", "wyoming_owner"}
        hidden |= {"ray_auth_token", "ray_auth_token_path", "ray_address", "shared_dir"}
        hidden |= {"watch_options"}  # may have a callback_url, and prompts with names
        return {name.upper(): value for name, value in self.model_dump(mode="json", exclude=hidden).items()}


def load_settings(env_file: Path | None = Path(".env")) -> Settings:
    """Settings from the environment and from `env_file`; the environment takes precedence.

    Names may be in upper or lower case. An empty value means the default. CRLF and a byte order mark are accepted.
    Raises InvalidSettingsError, whose message lists every bad value.
    """
    try:
        return Settings(_env_file=env_file, _env_file_encoding="utf-8-sig")
    except ValidationError as error:
        raise InvalidSettingsError(_explain(error)) from None
    except UnicodeDecodeError as error:
        raise InvalidSettingsError(f"{env_file} is not UTF-8 text.") from error


def unknown_names(env_file: Path) -> list[str]:
    """The names in `env_file` that are no settings, which are most likely misspelt."""
    names = dotenv_values(env_file, encoding="utf-8-sig") if env_file.is_file() else {}
    return sorted(name.upper() for name in names if name.lower() not in Settings.model_fields)


def _explain(error: ValidationError) -> str:
    """One line for each bad setting. If a setting has several types, the line says what each type allows."""
    lines = ["These settings cannot be used:"]
    reasons: dict[str, list[str]] = {}
    for fault in error.errors():
        reason = fault["msg"].removeprefix("Value error, ")
        if not fault["loc"]:
            lines.append(f"  {reason}")
            continue
        name = str(fault["loc"][0])
        shown = "(hidden)" if name in _SECRETS else repr(fault["input"])
        reasons.setdefault(f"{name.upper()} = {shown}", []).append(reason)
    for setting, wanted in reasons.items():
        name = setting.partition(" = ")[0].lower()
        lines.append(f"  {setting}: {' or '.join(wanted)}. {Settings.model_fields[name].description}.")
    return "\n".join(lines)
