"""Which files the page consists of: the modules in static/, or the few bundles that `make page` made of them.

A browser would have to fetch more than a hundred modules and sheets, six at a time. The bundles carry a hash of their
content in their names, so they may be kept for ever, and lie there compressed as well. They are used only as long as
they are made of what is in static/ now: whoever edits a module sees it after the next start, with or without a bundler.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from errors import StartError

IMPORT_MAP = "vendor/importmap.json"  # below static/
BUILT = "built"  # below static/
MANIFEST = "manifest.json"  # below static/built/
COMPRESSED = ".gz"
# Below static/; everything else is imported by these.
ENTRIES = ("app.js", "first-paint.js", "shared.js", "page.css", "login.css", "shared.css")
BUILDING = ".building"  # below static/: where bundles are made
_MADE = frozenset({BUILT, BUILDING})
_SOURCES = frozenset({".js", ".mjs", ".css"})
_RUN_MAKE_PAGE = "Run `make page` once and start again."


@dataclass(frozen=True, slots=True)
class PageFiles:
    """Addresses below static/, as the templates name them."""

    addresses: dict[str, str]  # of every entry
    import_map: dict[str, Any] | None = None  # which file each library is; None: they are in the bundles
    preloaded: tuple[str, ...] = ()  # modules that app.js imports before it does anything
    hashed: frozenset[str] = field(default_factory=frozenset)  # files whose content never changes under their name

    def __getitem__(self, entry: str) -> str:
        return self.addresses[entry]

    @property
    def is_built(self) -> bool:
        return self.import_map is None


def read_page_files(static_folder: Path) -> PageFiles:
    """The bundles if they are up to date, else the modules.

    Raises StartError when a library is missing or the bundles are damaged.
    """
    return _read_built(static_folder) or PageFiles(
        {entry: entry for entry in ENTRIES}, import_map=read_import_map(static_folder)
    )


def _read_built(static_folder: Path) -> PageFiles | None:
    try:
        manifest = json.loads((static_folder / BUILT / MANIFEST).read_text(encoding="utf-8"))
        if manifest["sources"] != digest_of_sources(static_folder):
            return None
        return PageFiles(
            {entry: f"{BUILT}/{manifest['entries'][entry]}" for entry in ENTRIES},
            preloaded=tuple(f"{BUILT}/{name}" for name in manifest["preloaded"]),
            hashed=frozenset(f"{BUILT}/{name}" for name in manifest["files"]),
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StartError(f"The page's bundles in static/{BUILT} are damaged. {_RUN_MAKE_PAGE}") from error


def read_import_map(static_folder: Path) -> dict[str, Any]:
    """Which file each of the page's libraries is. Raises StartError when one of them is missing."""
    try:
        import_map: dict[str, Any] = json.loads((static_folder / IMPORT_MAP).read_text(encoding="utf-8"))
        addresses = import_map["imports"].values()
        missing = [address for address in addresses if not _module_path(static_folder, address).is_file()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StartError(f"The page's libraries are not in static/vendor yet. {_RUN_MAKE_PAGE}") from error
    if missing:
        raise StartError(f"The page's library {missing[0]} is missing. {_RUN_MAKE_PAGE}")
    return import_map


def _module_path(static_folder: Path, address: str) -> Path:
    return static_folder / address.removeprefix(".").removeprefix("/").removeprefix("static/")


def digest_of_sources(static_folder: Path) -> str:
    """One hash of every module and sheet, by name and content, and of the import map."""
    digest = hashlib.sha256()
    for path in sorted(static_folder.rglob("*")):
        name = path.relative_to(static_folder)
        is_source = path.suffix in _SOURCES or name.as_posix() == IMPORT_MAP
        if is_source and name.parts[0] not in _MADE and path.is_file():
            digest.update(f"{name.as_posix()}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
