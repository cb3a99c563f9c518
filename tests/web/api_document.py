"""docs/api.md, taken apart: its sections, tables and examples."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

PATH = Path(__file__).resolve().parent.parent.parent / "docs" / "api.md"

_HEADING = re.compile(r"^(#+) (.*)$", re.MULTILINE)
_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_OPERATION = re.compile(r"(GET|HEAD|POST|PUT|PATCH|DELETE) /\S*")

Row = tuple[str, ...]


@dataclass(frozen=True)
class Section:
    """From its heading to the next one of its level or above, so with its subsections."""

    title: str
    text: str

    @cached_property
    def prose(self) -> str:
        """Without examples."""
        return _FENCE.sub("", self.text)

    def examples(self, language: str) -> list[str]:
        return [match[2] for match in _FENCE.finditer(self.text) if match[1] == language]

    def table(self, first_heading: str) -> list[Row]:
        """The rows of the table whose first column has that heading; each once. Empty when there is none."""
        tables = [rows for rows in _tables(self.prose) if rows[0][0] == first_heading]
        assert len(tables) <= 1, f"{self.title}: {len(tables)} tables of {first_heading}"
        return _unique(tables[0][1:], self.title) if tables else []


class Document:
    def __init__(self, text: str) -> None:
        self.text = text
        self._sections = _sections(text)

    def section(self, title: str) -> Section:
        (found,) = (section for section in self._sections if section.title == title)
        return found

    def operations(self) -> list[Section]:
        return self._titled(lambda title: _OPERATION.fullmatch(title) is not None)

    def live(self, kind: str) -> dict[str, Section]:
        """kind: Command or Event. By name."""
        found = self._titled(lambda title: title.startswith(f"{kind} `"))
        return {section.title.split("`")[1]: section for section in found}

    def marked(self, what: str) -> list[Row]:
        """The table behind the comment `what`."""
        parts = self.text.split(f"<!-- {what} -->\n")
        assert len(parts) == 2, f"{len(parts) - 1} tables of {what}"
        return _unique(_tables(parts[1])[0][1:], what)

    def marks(self, start: str) -> list[str]:
        """What the comments say that begin so, without that beginning."""
        return re.findall(rf"^<!-- {start} (.*) -->$", self.text, re.MULTILINE)

    def _titled(self, is_wanted: Callable[[str], bool]) -> list[Section]:
        return [section for section in self._sections if is_wanted(section.title)]


def codes(cell: str) -> list[str]:
    """What stands in it as code."""
    return re.findall(r"`([^`]+)`", cell)


def _sections(text: str) -> list[Section]:
    blank = _FENCE.sub(lambda fence: re.sub(r"[^\n]", " ", fence[0]), text)  # a # in an example is no heading
    headings = list(_HEADING.finditer(blank))
    sections = []
    for index, heading in enumerate(headings):
        ends = (later.start() for later in headings[index + 1 :] if len(later[1]) <= len(heading[1]))
        sections.append(Section(heading[2].strip(), text[heading.end() : next(ends, len(text))]))
    return sections


def _tables(text: str) -> list[list[Row]]:
    """Each with its headings as the first row."""
    tables = re.findall(r"(?:^\|.*\|$\n?)+", text, re.MULTILINE)
    return [[_cells(line) for index, line in enumerate(table.splitlines()) if index != 1] for table in tables]


def _cells(line: str) -> Row:
    return tuple(cell.strip() for cell in line.strip("|").split("|"))


def _unique(rows: list[Row], where: str) -> list[Row]:
    firsts = [row[0] for row in rows]
    twice = {first for first in firsts if firsts.count(first) > 1}
    assert not twice, f"{where}: {twice} twice"
    return rows
