"""The database's tables. A change here needs a migration in migrations/versions and a new SCHEMA_REVISION.

Times are ISO 8601 text in UTC and documents are JSON text. Both are decoded row by row in `mapping`, so that a damaged
value costs one task and not the whole page it is on.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

SCHEMA_REVISION = "0019"


class IndexForm(IntEnum):
    """How `task_texts` has a task."""

    RAW = 0  # name and text, folded, as releases before the index wrote them
    WORDS = 1  # `spaced` words: of the text in the first line, of its names in the others
    INDEXED = 2  # likewise, and in the index


metadata = MetaData()


def _where(condition: str) -> dict[str, Any]:
    """Of an index on some of the rows."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


tasks = Table(
    "tasks",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("filename", Text, nullable=False),
    Column("status", String(16), nullable=False),
    Column("options", Text, nullable=False),  # TaskOptions as JSON
    Column("model", String(64), nullable=False),  # from the options, to filter by
    Column("priority", Integer, nullable=False),
    Column("requested_device", String(32), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("created_at", String(40), nullable=False),
    Column("max_attempts", Integer, nullable=False),
    Column("language", String(16)),
    Column("audio_seconds", Double),
    Column("is_truncated", Integer, nullable=False, server_default="0"),  # 0 or 1
    Column("declared_seconds", Double),
    Column("tracks", Text),  # a JSON list of SoundTrack; NULL in rows from before there was this column
    Column("late_seconds", Double),
    Column("is_silent", Integer, nullable=False, server_default="0"),  # 0 or 1; 0 before there was this column
    Column("progress", Double, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("interrupts", Integer, nullable=False),
    Column("uncharged", Integer, key="free_attempts", nullable=False),  # attempts that are not charged
    Column("device", String(32)),
    Column("lease_token", String(64)),
    Column("lease_owner", String(64)),
    Column("not_before", String(40)),
    Column("windows_done", Integer, nullable=False),
    Column("estimated_bytes", BigInteger),
    Column("predicted_bytes", BigInteger),
    Column("reserved_bytes", BigInteger),
    Column("peak_bytes", BigInteger, key="measured_bytes"),
    Column("errors", Text, nullable=False),  # a JSON list of ErrorInfo that only grows
    Column("started_at", String(40)),
    Column("finished_at", String(40)),
    Column("result_sha256", String(64)),
    Column("idempotency_key", Text),
    Column("owner", String(64), nullable=False, server_default=""),  # see web/http/owner.py
    Column("title", Text),  # what its owner calls it
    Column("note", Text, nullable=False, server_default=""),
    Column("tags", Text, nullable=False, server_default="[]"),  # a JSON list, as in `task_tags`
    Column("batch_id", String(64)),  # of several uploads that belong together, chosen by who sent them
    Column("batch_name", Text),
    Column("media_removed_at", String(40)),  # when KEEP_MEDIA_DAYS had its recording removed
    Column("arranged", Double),  # see queue/arrangement.py
    Column("name_key", Text, nullable=False, server_default=""),  # title or file name, folded, to sort by
    UniqueConstraint("seq", name="uq_tasks_seq"),
    UniqueConstraint("owner", "idempotency_key", name="uq_tasks_owner_idempotency_key"),
    Index("ix_tasks_status_seq", "status", "seq"),  # counts, pages of one state, the waiting tasks at a start
    Index("ix_tasks_model_seq", "model", "seq"),
    Index("ix_tasks_owner_seq", "owner", "seq"),  # pages of one owner
    # The list by each of its orders, of all and of one owner. Where everybody has the same value, `seq` decides.
    Index("ix_tasks_created_at", "created_at", "seq"),
    Index("ix_tasks_finished_at", "finished_at", "seq"),
    Index("ix_tasks_audio_seconds", "audio_seconds", "seq"),
    Index("ix_tasks_name_key", "name_key", "seq"),
    Index("ix_tasks_owner_status", "owner", "status", "seq"),  # also counts of one owner
    Index("ix_tasks_owner_model", "owner", "model", "seq"),
    Index("ix_tasks_owner_created_at", "owner", "created_at", "seq"),
    Index("ix_tasks_owner_finished_at", "owner", "finished_at", "seq"),
    Index("ix_tasks_owner_audio_seconds", "owner", "audio_seconds", "seq"),
    Index("ix_tasks_owner_name_key", "owner", "name_key", "seq"),
    Index("ix_tasks_batch", "batch_id", "owner", "seq", **_where("batch_id IS NOT NULL")),
    Index("ix_tasks_kept_media", "finished_at", **_where("media_removed_at IS NULL")),
    Index("ix_tasks_sha256", "sha256", "seq"),  # whether somebody's file was sent before
)

# The tags of tasks, to look tasks up by. `tag` is folded, `name` is as it was written.
task_tags = Table(
    "task_tags",
    metadata,
    Column("task_id", String(64), ForeignKey("tasks.id", ondelete="CASCADE"), nullable=False),
    Column("tag", Text, nullable=False),
    Column("name", Text, nullable=False),
    PrimaryKeyConstraint("task_id", "tag", name="pk_task_tags"),
    Index("ix_task_tags_tag", "tag", "task_id"),
)

# What the search looks through, see `search_index`. Not in `tasks`, so that lists never read whole transcripts.
task_texts = Table(
    "task_texts",
    metadata,
    Column("task_id", String(64), ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True),
    Column("folded_text", Text, nullable=False),
    Column("index_form", Integer, nullable=False, server_default="0"),  # IndexForm
    Column("sentences", Text),  # what a hit shows, as `search_index.pack` writes it; None: nobody has looked yet
    Index("ix_task_texts_index_form", "index_form"),  # those that are not in the index yet
)

# One row: how many times words were removed from the index whose traces are still in its file, see `search_erasure`.
search_removals = Table(
    "search_removals",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("count", BigInteger, nullable=False),
)

# One row per finished window, written once: a long recording is not rewritten at each of its windows.
windows = Table(
    "windows",
    metadata,
    Column("task_id", String(64), ForeignKey("tasks.id", ondelete="CASCADE"), nullable=False),
    Column("window_index", Integer, nullable=False),
    Column("segments", Text, nullable=False),  # a JSON list of Segment
    Column("checkpoint", Text, nullable=False),  # Checkpoint as JSON
    PrimaryKeyConstraint("task_id", "window_index", name="pk_windows"),
)

# One row: the last `seq` given out. A counter, because max(seq) would give a deleted task's number out again.
arrivals = Table(
    "arrivals",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("last_seq", BigInteger, nullable=False),
)

# A task's timeline: what happened to it, and when. Written in the transaction of the change, where there is one.
task_events = Table(
    "task_events",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("task_id", String(64), ForeignKey("tasks.id", ondelete="CASCADE"), nullable=False),
    Column("at", String(40), nullable=False),
    Column("code", String(32), nullable=False),
    Column("data", Text, nullable=False),  # the event's figures as a JSON object
    Index("ix_task_events_task", "task_id", "id"),
)

# What people changed in a transcript, step by step; see whisper_core/editing. Rows are only ever added: to undo a step
# is a step, too. The transcript itself, as it was made, stays in its file.
transcript_edits = Table(
    "transcript_edits",
    metadata,
    Column("task_id", String(64), ForeignKey("tasks.id", ondelete="CASCADE"), nullable=False),
    Column("number", Integer, nullable=False),  # from 1
    Column("author", String(64), nullable=False),  # an account; "": the server itself, or nobody knows
    Column("at", String(40), nullable=False),
    Column("kind", String(16), nullable=False),  # of its edit; `several`, `undo` or `redo`
    Column("data", Text, nullable=False),  # a JSON object
    PrimaryKeyConstraint("task_id", "number", name="pk_transcript_edits"),
)

# What all those steps come to, so that nobody who reads a text has to take them again.
edited_transcripts = Table(
    "edited_transcripts",
    metadata,
    Column("task_id", String(64), ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True),
    Column("version", Integer, nullable=False),  # the last step's number
    Column("content", Text, nullable=False),  # JSON; see optimizer/editing/snapshots.py
    Column("data_bytes", BigInteger, nullable=False),  # of `data` of all steps
)

# What the system decided and changed, newest last; old rows are removed. `at` is in seconds since 1970, as in samples.
system_events = Table(
    "system_events",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", Double, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("data", Text, nullable=False),
    Index("ix_system_events_at", "at"),
)

# Keys that open the server, made by `python main.py keys add`. Of a key itself only the hash is kept.
api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("name", String(64), nullable=False),  # of the account
    Column("sha256", String(64), nullable=False),
    Column("created_at", String(40), nullable=False),
    Column("last_used_at", String(40)),  # to the hour
    Column("revoked_at", String(40)),
    UniqueConstraint("sha256", name="uq_api_keys_sha256"),
)

# Who is logged in on the page. Of a session's token only the hash is kept; it ends with its key.
sessions = Table(
    "sessions",
    metadata,
    Column("id", String(64), primary_key=True),  # the token's SHA-256
    Column("name", String(64), nullable=False),
    Column("key_id", String(16), nullable=False),  # of a row of `api_keys` or an entry of API_KEYS
    Column("ends_at", Double, nullable=False),  # seconds since 1970
)

# Who did what: logins, keys, deleted tasks. Written at once, unlike `system_events`, also by commands beside a server.
audit_events = Table(
    "audit_events",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", Double, nullable=False),  # seconds since 1970
    Column("action", String(32), nullable=False),
    Column("data", Text, nullable=False),  # a JSON object
)

# Addresses that are told of tasks' ends. The secret signs what they get, so it is kept as it is.
webhooks = Table(
    "webhooks",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("owner", String(64), nullable=False),  # "": of a server without accounts, told of every task
    Column("url", Text, nullable=False),
    Column("events", Text, nullable=False),  # separated by commas
    Column("secret", Text, nullable=False),
    Column("created_at", String(40), nullable=False),
    Column("disabled_at", String(40)),  # when the receiver said that it is gone
    Index("ix_webhooks_owner", "owner"),
)

# The address that a task itself carries.
webhook_callbacks = Table(
    "webhook_callbacks",
    metadata,
    Column("task_id", String(64), ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True),
    Column("url", Text, nullable=False),
)

# What has to be sent, and what became of it. Written in the transaction that ends the task; old rows are removed.
webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("id", String(32), primary_key=True),  # sent as `webhook-id`, the same at every attempt
    Column("webhook_id", String(32), nullable=False),  # of `webhooks`, or `callbacks` or `settings`
    Column("owner", String(64), nullable=False),
    Column("task_id", String(64), ForeignKey("tasks.id", ondelete="CASCADE")),  # None: a test
    Column("event", String(32), nullable=False),
    Column("url", Text, nullable=False),
    Column("receiver", String(300), nullable=False),  # host and port
    Column("body", Text, nullable=False),
    Column("status", String(16), nullable=False),  # pending, delivered or failed
    Column("attempts", Integer, nullable=False),
    Column("next_at", Double, nullable=False),  # seconds since 1970, of a pending one
    Column("created_at", String(40), nullable=False),
    Column("last_at", String(40)),
    Column("http_status", Integer),  # of the last attempt's answer
    Column("error", String(32)),  # why there was none
    Index("ix_webhook_deliveries_status_next", "status", "next_at"),
    Index("ix_webhook_deliveries_webhook", "webhook_id", "id"),
    Index("ix_webhook_deliveries_task", "task_id"),
)

# Links that show one transcript to whoever has them. Of a link's token only the hash is kept.
shares = Table(
    "shares",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("task_id", String(64), ForeignKey("tasks.id", ondelete="CASCADE"), nullable=False),
    Column("token_sha256", String(64), nullable=False),
    Column("created_at", String(40), nullable=False),
    Column("expires_at", String(40)),  # None: when it is revoked
    Column("has_media", Integer, nullable=False),  # 0 or 1: whether the recording can be heard, too
    UniqueConstraint("token_sha256", name="uq_shares_token_sha256"),
    Index("ix_shares_task", "task_id"),
)

# Recordings that were found in the watched folder. Their paths are there only while there is something to do.
watched_files = Table(
    "watched_files",
    metadata,
    Column("path_key", String(64), primary_key=True),  # of the path below WATCH_DIR, hashed
    Column("size", BigInteger, nullable=False),
    Column("mtime_ns", BigInteger, nullable=False),
    Column("content_key", String(64), nullable=False),  # of path and content, hashed
    Column("state", String(16), nullable=False),  # WatchState
    Column("task_id", String(64)),
    Column("details", Text),  # a JSON object: the path, and the names of what is written; None once it is done
    Column("written", Text, nullable=False),  # a JSON object: SHA-256 of what was written, by the names' hashes
    Index("ix_watched_files_task", "task_id"),
    Index("ix_watched_files_state", "state"),
)

# The monitor's samples of a week, merged as they age; a row stands for `span_seconds`.
samples = Table(
    "samples",
    metadata,
    Column("at", Double, primary_key=True),
    Column("span_seconds", Double, nullable=False),
    Column("data", Text, nullable=False),
)

# What was learned from measurements and is needed again after a restart: memory, speeds, the errors of forecasts.
learned = Table(
    "learned",
    metadata,
    Column("name", String(160), primary_key=True),
    Column("value", Text, nullable=False),  # JSON
    Column("updated_at", String(40), nullable=False),
)


def as_on_sqlite(column: Column[Any]) -> None:
    """Lets PostgreSQL keep in a column what SQLite does: texts of any length, in the order of their bytes whatever
    language the database is in, and integers of 64 bits."""
    if isinstance(column.type, String):
        column.type = type(column.type)(column.type.length).with_variant(Text(collation="C"), "postgresql")
    elif type(column.type) is Integer:
        column.type = Integer().with_variant(BigInteger(), "postgresql")


for _table in metadata.tables.values():
    for _column in _table.columns:
        as_on_sqlite(_column)

# Those with rows of a task, by name: nothing may be left in them when the task is deleted.
TABLES_OF_A_TASK = {
    table.name: table for table in metadata.sorted_tables if any(key.references(tasks) for key in table.foreign_keys)
}
