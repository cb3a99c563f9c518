"""Whether the search's index has the words of `task_texts`, all of them and nothing else."""

from __future__ import annotations

from sqlalchemy import Connection

from optimizer.storage.search_index import index_of


def agrees(connection: Connection) -> bool:
    """Also where there is no index. Changes nothing; reads all texts and the whole index."""
    index = index_of(connection)
    return index is None or index.agrees(connection)
