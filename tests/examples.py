"""The packages in examples/, installed for one test: as pip would, but without a copy."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tests.paths import ROOT

EXTENSIONS = ROOT / "examples" / "extensions"


def install_extensions(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """folder: an empty one, for what pip would note of the package."""
    project = tomllib.loads((EXTENSIONS / "pyproject.toml").read_text())["project"]
    install(folder, monkeypatch, project["name"], project["entry-points"])
    monkeypatch.syspath_prepend(EXTENSIONS)


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, entry_points: dict[str, dict[str, str]]) -> None:
    """A package whose modules lie in `folder`. entry_points: by group and name."""
    note = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    note.mkdir(parents=True)
    (note / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = []
    for group, entries in entry_points.items():
        lines += [f"[{group}]", *(f"{entry} = {path}" for entry, path in entries.items())]
    (note / "entry_points.txt").write_text("\n".join(lines) + "\n")
    monkeypatch.syspath_prepend(folder)
