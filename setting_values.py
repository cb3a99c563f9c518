"""What the text of a setting must look like, where its type does not say so.

Each check raises ValueError, whose message never quotes a secret.
"""

from __future__ import annotations

import ipaddress
import re

from pydantic import SecretStr, ValidationInfo

from whisper_core.common.extensions import Seam, installed, path_of
from whisper_core.models.catalogue import ALIASES, MODEL_CHOICES, MODELS, weights_name_of
from whisper_core.models.registry import ModelRegistry
from whisper_core.text.languages import language_code

AUTO_LANGUAGE = "auto"
MIN_SECRET_CHARACTERS = 32
DEFAULT_ENGINE = "batch"
ENGINES = (DEFAULT_ENGINE, "reference", "ctranslate2")  # of the server's own
DEFAULT_POLICY = "fair"
POLICIES = (DEFAULT_POLICY, "fcfs")  # of the server's own
ADMIN = "admin"  # the account that sees everything

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_ACCOUNT_NAME = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,63}")
_OPAQUE_OWNER = re.compile(r"[0-9a-f]{16}")  # what web/http/owner.py calls a browser: no account may be called so
_KEY = re.compile(r"[!-+\--~]+")  # printable, without blanks and commas


def account_name(text: str) -> str:
    """The name in lower case, as an account is known. Raises ValueError when no account can be called so."""
    name = text.strip().lower()
    if not _ACCOUNT_NAME.fullmatch(name) or _OPAQUE_OWNER.fullmatch(name):
        raise ValueError("an account's name is 1 to 64 letters a to z, digits and . _ @ + -, as in alice@example.org")
    return name


def account_or_none(text: str) -> str:
    return account_name(text) if text.strip() else ""


def known_model(name: str, fields: ValidationInfo) -> str:
    """One of openai-whisper's, or one in MODELS_DIR. Raises ValueError."""
    models_dir = fields.data.get("models_dir")  # absent when it is not readable itself
    if name in MODELS:
        return name
    registry = ModelRegistry(models_dir)
    if name in ALIASES or registry.find(name) is None:
        broken = {each.name: each.reason for each in registry.broken_models()}
        reason = broken.get(weights_name_of(name))
        raise ValueError(f"must be {MODEL_CHOICES}, or a model in MODELS_DIR. {reason or ''}".rstrip(" ."))
    return name


def known_policy(name: str) -> str:
    """One of the server's own, or one that another package brings. Raises ValueError."""
    return _known_extension(Seam.POLICY, name, POLICIES)


def known_engine(name: str) -> str:
    """As known_policy."""
    return _known_extension(Seam.ENGINE, name, ENGINES)


def _known_extension(seam: Seam, name: str, own: tuple[str, ...]) -> str:
    if name in own or path_of(seam, name) is not None:
        return name
    others = [f"{name}, which is installed" for name in sorted(installed(seam))]
    raise ValueError(f"must be {', '.join([*own, *others])}, or module:name of one that can be imported")


def known_language(text: str) -> str:
    if text.strip().lower() == AUTO_LANGUAGE:
        return AUTO_LANGUAGE
    code = language_code(text)
    if code is None:
        raise ValueError("must be auto or a language code such as en, zh, es")
    return code


def known_database(url: SecretStr) -> SecretStr:
    """Raises ValueError, which does not quote what may have a password."""
    text = url.get_secret_value()
    if text and not text.startswith(("postgresql://", "postgresql+psycopg://", "sqlite:///")):
        raise ValueError("must be postgresql://USER:PASSWORD@HOST/NAME, sqlite:///PATH, or empty")
    return url


def long_enough(secret: SecretStr) -> SecretStr:
    if 0 < len(secret.get_secret_value()) < MIN_SECRET_CHARACTERS:
        raise ValueError(f"must have at least {MIN_SECRET_CHARACTERS} characters, or be empty")
    return secret


def readable_keys(secret: SecretStr) -> SecretStr:
    """Raises ValueError, which never quotes a key."""
    keys = [key for _, key in parse_keys(secret.get_secret_value())]
    if len(set(keys)) < len(keys):
        raise ValueError("has a key twice")
    return secret


def parse_keys(text: str) -> list[tuple[str, str]]:
    """Name and key of each entry. Raises ValueError."""
    found = []
    for entry in filter(None, (entry.strip() for entry in text.split(","))):
        name, colon, key = entry.partition(":")
        if not colon:
            raise ValueError("each entry must be NAME:KEY, and entries are separated by commas")
        if len(key) < MIN_SECRET_CHARACTERS or not _KEY.fullmatch(key):
            raise ValueError(f"each key must have at least {MIN_SECRET_CHARACTERS} characters, without blanks")
        found.append((account_name(name), key))
    return found


def known_networks(text: str) -> str:
    parse_networks(text)
    return text


def parse_networks(text: str) -> tuple[Network, ...]:
    """Raises ValueError."""
    entries = filter(None, (entry.strip() for entry in text.split(",")))
    try:
        return tuple(ipaddress.ip_network(entry, strict=False) for entry in entries)
    except ValueError:
        raise ValueError("must be addresses or networks, such as 127.0.0.1,10.0.0.0/8") from None
