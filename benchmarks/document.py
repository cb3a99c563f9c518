"""Tables of figures, and their place in a document between two markers; the prose around them stays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first column is text, the others are figures."""
    lines = [heads, ["---", *("---:" for _ in heads[1:])], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def replace_between_markers(path: Path, name: str, content: str) -> None:
    """Raises ValueError when the document lacks `<!-- name:begin -->` or `<!-- name:end -->`."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    document = path.read_text()
    before, found_begin, rest = document.partition(begin)
    _, found_end, after = rest.partition(end)
    if not (found_begin and found_end):
        raise ValueError(f"{path.name} needs {begin} and {end}")
    path.write_text(f"{before}{begin}\n{content}\n{end}{after}")
