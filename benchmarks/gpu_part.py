"""What every part of the measurements on a GPU works with: a report, and the time that it may take.

A part runs in a process of its own. What it finds is printed and kept as it comes, row by row, since a card may be
taken back at any moment.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from benchmarks.document import table

Cell = str | int | float | None
Line = Mapping[str, Any]
"""Of a report's file: {"part", "title", "row": {head: cell}} or {"part", "text"}."""


class Report:
    """One part's. file: a line of JSON is appended for each row and each remark."""

    def __init__(self, part: str, file: Path) -> None:
        self._part = part
        self._file = file
        self._printed: tuple[str, tuple[str, ...]] | None = None

    def row(self, title: str, cells: Mapping[str, Cell]) -> None:
        """One row of the table with this title, by the columns' heads."""
        if self._printed != (title, tuple(cells)):
            self._printed = title, tuple(cells)
            print(f"\n#### {title}\n\n{as_table([cells])}", flush=True)
        else:
            print(as_table([cells]).splitlines()[-1], flush=True)
        self._keep({"part": self._part, "title": title, "row": cells})

    def text(self, text: str) -> None:
        self._printed = None
        print(f"\n{text}", flush=True)
        self._keep({"part": self._part, "text": text})

    def left_out(self, what: str) -> None:
        self.text(f"Left out for lack of time: {what}.")

    def _keep(self, line: Line) -> None:
        with self._file.open("a") as file:
            file.write(json.dumps(line) + "\n")


class WarningsInReport(logging.Handler):
    """What the engine warns of, such as `event=kernels_off`, belongs to the figures."""

    def __init__(self, report: Report) -> None:
        super().__init__(logging.WARNING)
        self._report = report

    def emit(self, record: logging.LogRecord) -> None:
        self._report.text(f"Logged: {record.getMessage()}")


@dataclass
class Budget:
    """Seconds that a part may take, counted from now on."""

    seconds: float
    clock: Callable[[], float] = time.monotonic
    _began: float = field(init=False)

    def __post_init__(self) -> None:
        self._began = self.clock()

    @property
    def left_s(self) -> float:
        return self.seconds - (self.clock() - self._began)

    def allows(self, seconds: float) -> bool:
        return seconds <= self.left_s


@dataclass(frozen=True)
class Part:
    """is_trial: on the CPU, with tiny networks, to see that everything runs; its figures mean nothing.

    recordings: a folder with real speech. scratch: an empty folder. models: whose speed is measured.
    """

    report: Report
    budget: Budget
    is_trial: bool
    recordings: Path
    scratch: Path
    models: tuple[str, ...]

    @property
    def device(self) -> str:
        return "cpu" if self.is_trial else "cuda:0"


def as_table(rows: Sequence[Mapping[str, Cell]]) -> str:
    """Rows of the same columns."""
    return table(list(rows[0]), [[shown(cell) for cell in row.values()] for row in rows])


def shown(cell: Cell) -> str:
    """Three digits of a fraction, or all before the point."""
    if cell is None:
        return "–"
    if not isinstance(cell, float):
        return f"{cell:,}" if isinstance(cell, int) else cell
    digits = next((digits for digits, least in enumerate((100, 10, 1)) if abs(cell) >= least), None)
    return f"{cell:.3g}" if digits is None else f"{cell:,.{digits}f}"


def read_lines(file: Path) -> list[Line]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def as_document(lines: Sequence[Line]) -> str:
    """All of them in Markdown; rows of one title that follow each other are one table."""
    pieces = []
    for _, same in groupby(lines, key=_table_of):
        of_table = list(same)
        if "row" in of_table[0]:
            pieces += [f"#### {of_table[0]['title']}", as_table([line["row"] for line in of_table])]
        else:
            pieces += [line["text"] for line in of_table]
    return "\n\n".join(pieces)


def _table_of(line: Line) -> tuple[Any, ...]:
    return line["part"], line.get("title"), tuple(line.get("row", ()))
