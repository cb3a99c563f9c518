"""What the index of the search is to the rest of the storage: SQLite's in `fts5_index`, PostgreSQL's in
`tsvector_index`. It says which tasks have a word, or two words beside each other, without reading their texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from sqlalchemy import ColumnElement, Connection, Select

from optimizer.storage.search_words import Phrase


class Terms(NamedTuple):
    """What the index has of a task at a place of the queue, and should have."""

    task_id: str
    seq: object  # an int but in a damaged row, which `doctor` reports
    before: set[str]
    after: set[str]


class WordIndex(Protocol):
    """Within a transaction of whoever calls. None of it keeps anything in memory."""

    def change(self, connection: Connection, changes: Sequence[Terms]) -> None:
        """Of different tasks."""

    def move(self, connection: Connection, changes: Sequence[Terms]) -> None:
        """Tasks have other places in the queue: of each first what is removed at the earlier, then what is added."""

    def matches(self, phrases: Sequence[Phrase], owner: str | None) -> Select[Any]:
        """By what the index knows tasks, of those that have all words and pairs of words of the phrases."""

    def is_found(
        self, connection: Connection, phrases: Sequence[Phrase], owner: str | None, *, is_in_order: bool
    ) -> ColumnElement[bool]:
        """The condition for these tasks. is_in_order: they are read in order of arrival."""

    def prepare(self, connection: Connection) -> bool:
        """Returns False where there is no index that can be read."""

    def rebuild(self, connection: Connection) -> None:
        """An empty one, whatever was there."""

    def agrees(self, connection: Connection) -> bool:
        """Whether it has the words of `task_texts`, all of them and nothing else. Reads all of both."""
