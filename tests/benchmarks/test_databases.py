"""The table of SQLite beside PostgreSQL: medians, what memory has grown by, and the ratio of the two."""

from __future__ import annotations

from dataclasses import asdict

from benchmarks.scheduling.databases import Found, database_table


def test_each_figure_stands_beside_the_other_database_s_with_its_ratio() -> None:
    sqlite = Found("SQLite", 1.0, [1.0, 3.0, 2.0], [4.0], 50_000_000, 100_000_000, [1.0, 9.0], [2.0])
    other = Found("PostgreSQL", 1.0, [4.0], [8.0, 6.0, 2.0], 50_000_000, 75_000_000, [3.0], [5.0])
    document = {
        "machine": "M", "date": "D", "command": "C", "version": "15", "waiting": 1000,
        "found": [asdict(sqlite), asdict(other)],
    }  # fmt: skip
    lines = database_table(document).splitlines()
    assert lines[2] == "|  | SQLite | PostgreSQL 15 | PostgreSQL beside SQLite |"
    figures = [line.rstrip("| ").rsplit(" | ", 3)[1:] for line in lines[4:]]
    assert figures == [
        ["4.00", "6.00", "1.50 ×"],
        ["2.00", "4.00", "2.00 ×"],
        ["50", "25", "0.50 ×"],
        ["1.0", "3.0", "3.00 ×"],
        ["9.0", "3.0", "0.33 ×"],
        ["2.0", "5.0", "2.50 ×"],
        ["2.0", "5.0", "2.50 ×"],
    ]
