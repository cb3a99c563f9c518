"""`python main.py migrate-to URL`: moves the database of a stopped server from SQLite to PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable

import click

from config import Settings
from optimizer.storage.moving import move_database
from optimizer.storage.task_files import TaskFiles


def migrate_to_command(load: Callable[[], Settings]) -> click.Command:
    def migrate_to(url: str) -> None:
        settings = load()
        files = TaskFiles(settings.data_dir)
        files.acquire_lock()
        try:
            counts = move_database(settings.data_dir, settings.database_url.get_secret_value(), url)
        finally:
            files.release_lock()
        click.echo(f"Copied {counts['tasks']} tasks, {sum(counts.values())} rows in all, and compared each of them.")
        click.echo(
            "Set DATABASE_URL to this address and start the server. Recordings and transcripts stay in DATA_DIR; "
            "SQLite's file is as it was, and is not used any more."
        )

    return click.Command(
        "migrate-to",
        callback=migrate_to,
        params=[click.Argument(["url"])],
        help="Copy the database into an empty one of PostgreSQL: postgresql://USER:PASSWORD@HOST/NAME. Not while a "
        "server runs. Without a password in URL, PGPASSWORD or ~/.pgpass is asked.",
    )
