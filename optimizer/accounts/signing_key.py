"""What sessions are signed with: SECRET_KEY, or a random one that is made once and kept in the data folder."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path

from config import Settings
from optimizer.common.atomic_files import write_durably

FILE = "secret_key"
_KEY = re.compile(rb"[0-9a-f]{64}")


def signing_key(settings: Settings) -> bytes:
    """At least 32 bytes. Raises DiskFullError or OSError when a new one cannot be kept."""
    given = settings.secret_key.get_secret_value()
    return given.encode() if given else _kept(settings.data_dir / FILE)


def _kept(path: Path) -> bytes:
    """A file that is not as this wrote it is replaced, which only logs everybody out."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return _new(path)
    with open(descriptor, "rb") as file:
        key = file.read(65)
    return key if _KEY.fullmatch(key) else _new(path)


def _new(path: Path) -> bytes:
    key = secrets.token_hex(32).encode()
    write_durably(path, key, steps="secret")
    return key
