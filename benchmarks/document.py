"""Tables of figures, and their place in a document between two markers; the prose around them stays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first column is text, the others are figures."""
    lines = [heads, ["---", *("---:" for _ in heads[1:])], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def require_markers(path: Path, names: Sequence[str]) -> None:
    """Before hours of measuring: raises ValueError when the document lacks a marker of one of them."""
    for name in names:
        _around(path, name)


def replace_between_markers(path: Path, name: str, content: str) -> None:
    """Raises ValueError when the document lacks `<!-- name:begin -->` or `<!-- name:end -->`."""
    before, after = _around(path, name)
    path.write_text(f"{before}\n{content}\n{after}")


def _around(path: Path, name: str) -> tuple[str, str]:
    """What is before and after the content, with the markers."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    before, found_begin, rest = path.read_text().partition(begin)
    _, found_end, after = rest.partition(end)
    if not (found_begin and found_end):
        raise ValueError(f"{path.name} needs {begin} and {end}")
    return before + begin, end + after
