"""Whether two checkouts have the same code: the version alone says so only of releases."""

from __future__ import annotations

import hashlib
from pathlib import Path

PACKAGES = ("optimizer", "whisper_core")  # and the modules beside them: what runs on a node


def code_digest(checkout: Path) -> str:
    """Of the modules, by name and content."""
    found = [*checkout.glob("*.py"), *(path for name in PACKAGES for path in (checkout / name).rglob("*.py"))]
    digest = hashlib.sha256()
    for path in sorted(found):
        digest.update(f"{path.relative_to(checkout)}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
